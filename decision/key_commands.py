"""The command line of keys: `nextplay keys create|list|rotate|revoke|generate`.

Where a service runs, the commands ask it (`--url`, and an admin key in `--key` or NEXTPLAY_KEY). They may
open the database themselves (`--data`) on Postgres, and on SQLite while no service runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from pydantic import TypeAdapter, ValidationError

from decision.asking import Data, Url, at_hand, unanswered
from decision.auth.errors import KeyServiceRefused
from decision.auth.models import Scope, mint
from decision.auth.service import GRACE, Keys
from decision.auth.views import KeyView, NewKey, view, view_new
from storage.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

AdminKey = Annotated[
    str | None, typer.Option(envvar="NEXTPLAY_KEY", help="A key with the scope admin, with --url.")
]
KeyId = Annotated[str, typer.Argument(help="Id of the key: what comes after np_, up to the next _.")]

_COMMAND_LINE = "command line"
_REQUEST_SECONDS = 30
_duration = TypeAdapter(timedelta)
_listed = TypeAdapter(list[KeyView])


class _Place(Protocol):
    """Where keys are kept: in a database at hand, or behind a service."""

    def create(
        self, name: str, scopes: list[Scope], lifetime: timedelta | None, person: str | None
    ) -> NewKey: ...

    def all(self) -> list[KeyView]: ...

    def rotate(self, key_id: str, grace: timedelta) -> NewKey: ...

    def revoke(self, key_id: str) -> KeyView: ...


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it allows; may be given several times.")],
    expires: Annotated[str | None, typer.Option(help="After this it ends, for example P90D.")] = None,
    person: Annotated[str | None, typer.Option(help="Whose of the staff it is, by people.yaml.")] = None,
    data: Data = None,
    url: Url = None,
    key: AdminKey = None,
) -> None:
    """Make a key and print it; it is not shown again."""
    lifetime = None if expires is None else _parsed(expires, "--expires")
    with _place(data, url, key) as place:
        _show(place.create(name, scope, lifetime, person))


@app.command("list")
def list_keys(data: Data = None, url: Url = None, key: AdminKey = None) -> None:
    """Print every key there ever was, oldest first, without its secret."""
    with _place(data, url, key) as place:
        views = place.all()
    typer.echo("id\tstate\tscopes\tname\tcreated\texpires\tlast used")
    for one in views:
        times = [
            f"{at:%Y-%m-%d %H:%M}" if at else "-" for at in (one.created_at, one.expires_at, one.last_used_at)
        ]
        typer.echo("\t".join([one.id, one.state, ",".join(one.scopes), one.name, *times]))


@app.command()
def rotate(
    key_id: KeyId,
    grace: Annotated[
        str | None, typer.Option(help="For how long the old one still counts: PT1H, PT0S.")
    ] = None,
    data: Data = None,
    url: Url = None,
    key: AdminKey = None,
) -> None:
    """Make a successor of a key and print it; the old one ends after --grace, a day unless said otherwise."""
    period = GRACE if grace is None else _parsed(grace, "--grace")
    with _place(data, url, key) as place:
        _show(place.rotate(key_id, period))


@app.command()
def revoke(key_id: KeyId, data: Data = None, url: Url = None, key: AdminKey = None) -> None:
    """Take a key back, at once."""
    with _place(data, url, key) as place:
        revoked = place.revoke(key_id)
    typer.echo(f"{revoked.id} ({revoked.name}) is revoked")


@app.command()
def generate() -> None:
    """Print the text of a new key for NEXTPLAY_ADMIN_KEY; it opens nothing until a service starts with it."""
    typer.echo(str(mint()))


class _Direct:
    """Keys in a database that this process has opened."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def create(
        self, name: str, scopes: list[Scope], lifetime: timedelta | None, person: str | None
    ) -> NewKey:
        return view_new(*self._keys.create(name, scopes, lifetime, by=_COMMAND_LINE, person=person))

    def all(self) -> list[KeyView]:
        return [view(key, self._keys.now()) for key in self._keys.all()]

    def rotate(self, key_id: str, grace: timedelta) -> NewKey:
        return view_new(*self._keys.rotate(key_id, grace, by=_COMMAND_LINE))

    def revoke(self, key_id: str) -> KeyView:
        return view(self._keys.revoke(key_id, by=_COMMAND_LINE), self._keys.now())


class _Remote:
    """Keys of a running service."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def create(
        self, name: str, scopes: list[Scope], lifetime: timedelta | None, person: str | None
    ) -> NewKey:
        wish = {
            "person": person,
            "name": name,
            "scopes": scopes,
            "expires_in": None if lifetime is None else lifetime.total_seconds(),
        }
        return NewKey.model_validate_json(self._ask("POST", "/v1/keys", wish))

    def all(self) -> list[KeyView]:
        return _listed.validate_json(self._ask("GET", "/v1/keys"))

    def rotate(self, key_id: str, grace: timedelta) -> NewKey:
        answer = self._ask("POST", f"/v1/keys/{key_id}/rotate", {"grace": grace.total_seconds()})
        return NewKey.model_validate_json(answer)

    def revoke(self, key_id: str) -> KeyView:
        return KeyView.model_validate_json(self._ask("DELETE", f"/v1/keys/{key_id}"))

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        import httpx2  # noqa: PLC0415 - as in `_place`

        try:
            response = self._http.request(method, path, json=body)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise KeyServiceRefused(unanswered(str(self._http.base_url), error)) from error
        if response.is_success:
            return response.content
        raise KeyServiceRefused(f"the service refused: {_detail(response)}")


@contextmanager
def _place(data: Path | None, url: str | None, key: str | None) -> Iterator[_Place]:
    if url is not None:
        if data is not None:
            raise ConfigurationError(
                "--url asks a running service, --data opens its database: give one of them"
            )
        if key is None:
            raise ConfigurationError(
                "--url needs a key with the scope admin: give it in NEXTPLAY_KEY or --key"
            )
        import httpx2  # noqa: PLC0415 - an HTTP client, needed here only

        headers = {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=url, headers=headers, timeout=_REQUEST_SECONDS) as http:
            yield _Remote(http)
        return
    with at_hand(data, "admin") as (_settings, database, clock):
        yield _Direct(Keys(database, clock))


def _show(new: NewKey) -> None:
    typer.echo(new.key)
    until = f"until {new.expires_at:%Y-%m-%d %H:%M} UTC" if new.expires_at else "without end"
    typer.echo(f"{new.name}: {', '.join(new.scopes)}, {until}. Keep it now, it is not shown again.", err=True)


def _parsed(text: str, option: str) -> timedelta:
    try:
        return _duration.validate_python(text)
    except ValidationError as error:
        raise ConfigurationError(
            f"{option} {text!r} is no duration: write it as ISO 8601 does, for example P90D or PT1H"
        ) from error


def _detail(response: httpx2.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}; is {response.url} a nextplay service?"
