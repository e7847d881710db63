"""SMS by Twilio, or whoever speaks as its REST API does: `Messages.json` (2010-04-01).

Twilio knows no idempotency keys: whatever leaves it open whether it took a message is not tried again.
"""

from __future__ import annotations

from typing import Annotated, Any, Self
from urllib.parse import urlencode

from pydantic import Field, model_validator

from audiences.consent.models import Channel as Consent
from delivery.channels.answers import refused, told, unreadable
from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.channels.http import Http, NotReached
from delivery.channels.kinds import Kind, Opening
from delivery.channels.signing_in import Password, SecretName, Url, header_of
from delivery.errors import NotHandedOver
from delivery.models import Message
from delivery.retry import Retry
from playbooks.document import Document

# States in which a message was not taken although it has an id.
_NOT_TAKEN = frozenset(("failed", "undelivered", "canceled"))


class TwilioSettings(Document):
    """An account, and from whom its messages come: a number (or name), or a messaging service.

    `api_key` signs in instead of the account; `auth_token` names the secret of either. Twilio tells
    `status_callback` what becomes of a message.
    """

    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-fA-F]{32}$")]
    auth_token: SecretName
    api_key: Annotated[str, Field(pattern=r"^SK[0-9a-fA-F]{32}$")] | None = None
    sender: Annotated[str, Field(pattern=r"^(\+[1-9][0-9]{6,14}|[0-9]{3,8}|[A-Za-z0-9 ]{1,11})$")] | None = (
        None
    )
    messaging_service_sid: Annotated[str, Field(pattern=r"^MG[0-9a-fA-F]{32}$")] | None = None
    status_callback: Url | None = None
    url: Url = "https://api.twilio.com"
    seconds: float = Field(default=10, ge=0.1, le=60)

    @model_validator(mode="after")
    def _from_somebody(self) -> Self:
        if (self.sender is None) == (self.messaging_service_sid is None):
            raise ValueError("say from whom messages come: either `sender` or `messaging_service_sid`")
        return self


class Twilio:
    """Posts messages to an account's `Messages.json`."""

    address = Address.PHONE
    consent = Consent.SMS
    after_crash = AfterCrash.UNKNOWN
    retry = Retry()

    def __init__(self, settings: TwilioSettings, opening: Opening) -> None:
        base = settings.url.rstrip("/")
        self._url = f"{base}/2010-04-01/Accounts/{settings.account_sid}/Messages.json"
        self._host = base.split("/")[2]
        user = settings.api_key or settings.account_sid
        self._headers = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
            "authorization": header_of(Password(user=user, password=settings.auth_token), opening),
        }
        named = {
            "From": settings.sender,
            "MessagingServiceSid": settings.messaging_service_sid,
            "StatusCallback": settings.status_callback,
        }
        self._always = {name: value for name, value in named.items() if value is not None}
        self._http = Http(settings.seconds)

    def send(self, message: Message) -> Receipt:
        """Post a message; its reference is Twilio's sid.

        Raises:
            NotHandedOver: Twilio could not be reached, refused it, or said nothing that can be read.
        """
        body = message.body.encode("utf-8", "replace").decode()
        form = urlencode({"To": message.address, "Body": body, **self._always})
        try:
            reply = self._http.post(self._url, form.encode("ascii"), self._headers)
        except NotReached as error:
            raise NotHandedOver(str(error), perhaps=error.asked) from error
        said = told(reply)
        if not 200 <= reply.status < 300:
            raise refused(self._host, reply, _why(said, "code"))
        sid = said.get("sid") if isinstance(said, dict) else None
        if _is_error(said):
            raise NotHandedOver(
                f"{self._host} answered {reply.status} and refused it{_why(said, 'error_code', ': ')}",
                permanent=True,
            )
        if not isinstance(sid, str) or not sid:
            raise unreadable(self._host, reply, "no `sid`")
        return Receipt(sid)

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()


def _is_error(said: Any) -> bool:
    if not isinstance(said, dict):
        return False
    return said.get("status") in _NOT_TAKEN or said.get("error_code") is not None


def _why(said: Any, field: str, before: str = "") -> str:
    """Return Twilio's number of an error; what it writes beside it quotes the address."""
    code = said.get(field) if isinstance(said, dict) else None
    if not isinstance(code, int) or isinstance(code, bool):
        return ""
    return f"{before}error {code}, see https://www.twilio.com/docs/api/errors/{code}"


KIND = Kind(TwilioSettings, lambda settings, _name, opening: Twilio(settings, opening))
