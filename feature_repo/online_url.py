"""The URL of a Valkey or Redis server, as it is set, shown and handed to Feast."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit, urlunsplit

from feature_repo.errors import SpecError

_SCHEMES = ("redis", "rediss")


def shown(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}"))


def connection_string(url: str) -> str:
    """A redis:// URL as Feast's configuration writes it. Raises SpecError."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError as error:
        raise SpecError(f"the online store's URL {shown(url)!r} can't be understood ({error})") from error
    database = parts.path.strip("/") or "0"
    if parts.scheme not in _SCHEMES or not parts.hostname or not database.isdecimal():
        raise SpecError(
            f"the online store's URL {shown(url)!r} can't be understood; write redis://host:6379/0"
        )
    settings = [f"{parts.hostname}:{port}", f"db={database}"]
    if parts.scheme == "rediss":
        settings.append("ssl=true")
    if parts.username:
        settings.append(f"username={unquote(parts.username)}")
    if parts.password:
        settings.append(f"password={unquote(parts.password)}")
    return ",".join(settings)
