"""Addresses of other systems that flows tell something."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

_AT_HOME = ("localhost", "127.0.0.1", "::1")


def _reachable(value: str) -> str:
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError as error:
        raise ValueError(f"this is no URL: {error}") from error
    if not host or parts.scheme not in ("https", "http"):
        raise ValueError("write a whole URL, https://crm.example/hooks/nextplay")
    if parts.scheme == "http" and host not in _AT_HOME:
        raise ValueError("what is told of users goes over https; http is for this machine only")
    return value


# Where a signed request goes.
WebhookUrl = Annotated[str, Field(max_length=2000), AfterValidator(_reachable)]
