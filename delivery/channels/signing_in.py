"""How channels reach and sign in to providers over HTTP; secrets are named, never written down."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from delivery.channels.kinds import Opening
from playbooks.document import Document
from storage.errors import ConfigurationError

_AT_HOME: Final = frozenset(("localhost", "127.0.0.1", "::1"))
# RFC 9110, section 5.5: what a header may hold.
_IN_HEADERS = re.compile(r"[\x21-\x7e][\x20-\x7e]*")


def _reachable(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"this is no URL: {error}") from error
    if not host or parts.scheme not in ("https", "http"):
        raise ValueError("write a whole URL, https://sms.example.com/v1/messages")
    if parts.username or parts.password:
        raise ValueError("credentials are not part of the URL: name them in `auth`")
    if parts.scheme == "http" and host not in _AT_HOME:
        raise ValueError("what is told of users goes over https; http is for this machine only")
    return value


Url = Annotated[str, Field(max_length=2000), AfterValidator(_reachable)]
# The name of a secret of NEXTPLAY_CHANNEL_SECRETS.
SecretName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]


class Bearer(Document):
    """A token, by the name of its secret (RFC 6750)."""

    bearer: SecretName


class Password(Document):
    """A user and a password, by the name of its secret (RFC 7617)."""

    user: Annotated[str, Field(pattern=r"^[^:\x00-\x1f\x7f]{1,200}$")]
    password: SecretName


def header_of(auth: Bearer | Password, opening: Opening) -> str:
    """Return the header `Authorization`.

    Raises:
        ConfigurationError: the secret is missing, or can't be sent.
    """
    if isinstance(auth, Bearer):
        token = opening.secret(auth.bearer)
        if not _IN_HEADERS.fullmatch(token):
            raise ConfigurationError(f"the secret {auth.bearer!r} has characters that no header can hold")
        return f"Bearer {token}"
    pair = f"{auth.user}:{opening.secret(auth.password)}"
    return f"Basic {b64encode(pair.encode()).decode()}"
