"""SMS and push by any provider that takes messages as JSON over HTTP; how its fields are called is set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from jmespath.exceptions import JMESPathError
from pydantic import Field, field_validator

from audiences.consent.models import Channel as Consent
from audiences.crm.definitions import JsonPath, compiled
from delivery.channels.answers import refused, told, unreadable
from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.channels.http import Http, NotReached
from delivery.channels.kinds import Kind, Opening
from delivery.channels.signing_in import Bearer, Password, Url, header_of
from delivery.errors import NotHandedOver
from delivery.models import Message
from delivery.retry import Retry
from playbooks.document import Document
from playbooks.suggesting import closest

_PLACE = re.compile(r"\{([^{}]*)\}")
_FIELDS: Final = ("address", "body", "subject", "key", "user_id")
_HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"
# What is told of a refusal is kept with the message: enough to know why.
_TOLD = 200


class Answer(Document):
    """Where an answer of the class 2xx says what the provider calls the message, and that it is an error.

    Without `id` any such answer will do.
    """

    id: JsonPath | None = None
    error: JsonPath | None = None


class GatewaySettings(Document):
    """How to reach a provider, and what to tell it.

    `request` is the JSON that is posted; in its texts `{address}`, `{body}`, `{subject}`, `{key}` and
    `{user_id}` stand for what the message says. `key_header` is the header by which the provider knows a
    repeat, None if it knows none.
    """

    url: Url
    request: Mapping[str, Any]
    auth: Bearer | Password | None = None
    headers: Mapping[
        Annotated[str, Field(pattern=_HEADER_NAME)], Annotated[str, Field(pattern=r"^[ -~]{1,1000}$")]
    ] = {}
    key_header: Annotated[str, Field(pattern=_HEADER_NAME)] | None = "Idempotency-Key"
    answer: Answer = Answer()
    seconds: float = Field(default=10, ge=0.1, le=60)

    @field_validator("request")
    @classmethod
    def _known_places(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        named = [name for text in _texts(value) for name in _PLACE.findall(text)]
        if unknown := [name for name in named if name not in _FIELDS]:
            raise ValueError(f"a message has no {unknown[0]!r}{closest(unknown[0], _FIELDS)}")
        if missing := [name for name in ("address", "body") if name not in named]:
            raise ValueError(f"{{{missing[0]}}} is nowhere in it, so the provider would not be told")
        return value


class Gateway:
    """Posts messages to a provider as JSON.

    After a crash: `repeat` if the provider knows keys; else `unknown`.
    """

    def __init__(
        self, settings: GatewaySettings, opening: Opening, address: Address, consent: Consent
    ) -> None:
        self.address, self.consent = address, consent
        self.after_crash = AfterCrash.REPEAT if settings.key_header else AfterCrash.UNKNOWN
        self.retry = Retry()
        self._settings = settings
        self._host = settings.url.split("/")[2].rpartition("@")[2]
        self._headers = {"content-type": "application/json", "accept": "application/json", **settings.headers}
        if settings.auth is not None:
            self._headers["authorization"] = header_of(settings.auth, opening)
        self._http = Http(settings.seconds)

    def send(self, message: Message) -> Receipt:
        """Post a message (see `delivery.channels.answers`).

        Raises:
            NotHandedOver: the provider could not be reached, refused it, or said nothing that can be read.
        """
        headers = dict(self._headers)
        if self._settings.key_header:
            headers[self._settings.key_header] = message.key
        content = msgspec.json.encode(_filled(self._settings.request, message))
        try:
            reply = self._http.post(self._settings.url, content, headers)
        except NotReached as error:
            raise NotHandedOver(str(error), perhaps=error.asked) from error
        said = told(reply)
        error_said = self._found(self._settings.answer.error, said)
        why = "" if error_said is None else _short(error_said, message)
        if not 200 <= reply.status < 300:
            raise refused(self._host, reply, why)
        if why:
            raise NotHandedOver(f"{self._host} answered {reply.status} and refused it: {why}", permanent=True)
        return Receipt(self._reference(reply, said))

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _reference(self, reply: Any, said: Any) -> str:
        path = self._settings.answer.id
        if path is None:
            if not reply.whole:
                raise unreadable(self._host, reply, "")
            return ""
        found = self._found(path, said)
        if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
            raise unreadable(self._host, reply, f"no `{path}`")
        return str(found)

    @staticmethod
    def _found(path: str | None, said: Any) -> Any:
        if path is None or said is None:
            return None
        try:
            return compiled(path).search(said) or None
        except JMESPathError:
            return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _filled(value: Any, message: Message) -> Any:
    if isinstance(value, str):
        # In one go: what a user wrote is not looked through for places again.
        return (
            _PLACE.sub(lambda found: str(getattr(message, found[1])), value)
            .encode("utf-8", "replace")
            .decode()
        )
    if isinstance(value, Mapping):
        return {name: _filled(inner, message) for name, inner in value.items()}
    return [_filled(inner, message) for inner in value] if isinstance(value, list) else value


def _short(said: Any, message: Message) -> str:
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    text = " ".join(text.split())
    return (text.replace(message.address, "…") if message.address else text)[:_TOLD]


SMS = Kind(
    GatewaySettings, lambda settings, _name, opening: Gateway(settings, opening, Address.PHONE, Consent.SMS)
)
PUSH = Kind(
    GatewaySettings, lambda settings, _name, opening: Gateway(settings, opening, Address.DEVICE, Consent.PUSH)
)
