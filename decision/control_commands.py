"""The command line of controls: `nextplay controls pause|drain|resume|list`."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Protocol
from urllib.parse import urlencode

import typer

from decision.asking import Data, Key, Remote, Url, at_hand, remote
from decision.librarian.desk import By
from decision.printing import print_json
from playbooks.controls import Mode, Scope

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

What = Annotated[Scope, typer.Argument(help="What to stop or resume.")]
Target = Annotated[str, typer.Argument(help="Its id; none for everything.")]
Why = Annotated[str, typer.Option(help="Why; it is kept with the change.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@app.callback()
def _controls() -> None:
    """What can be stopped."""


@app.command()
def pause(
    what: What,
    target: Target = "",
    *,
    why: Why,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    by: By = None,
) -> None:
    """Pause a playbook, a channel, a user or everything: nothing goes out, and all waits."""
    with _desk(data, url, key, by) as here:
        _told(here.stop(what, target, Mode.PAUSE, why))


@app.command()
def drain(
    what: What,
    target: Target = "",
    *,
    why: Why,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    by: By = None,
) -> None:
    """Begin nothing new, and let what is under way go on to its end."""
    with _desk(data, url, key, by) as here:
        _told(here.stop(what, target, Mode.DRAIN, why))


@app.command()
def resume(
    what: What,
    target: Target = "",
    why: Why = "",
    data: Data = None,
    url: Url = None,
    key: Key = None,
    by: By = None,
) -> None:
    """Let what was stopped go on where it was."""
    with _desk(data, url, key, by) as here:
        _told(here.resume(what, target, why))


@app.command("list")
def list_(data: Data = None, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """List what is stopped, since when, by whom and why, and how much waits because of it."""
    with _desk(data, url, key, None) as here:
        found = here.list()
    if as_json:
        print_json(found)
        return
    for one in found:
        waiting = one["waiting"]
        typer.echo(
            f"{_name(one)}\t{one['mode']}\tsince {one['at']} by {one['by']}\t{one['why']}\t"
            f"{waiting['messages']} messages and {waiting['runs']} runs wait"
        )
    if not found:
        typer.echo("nothing is stopped")


class _Desk(Protocol):
    def stop(self, scope: Scope, target: str, mode: Mode, why: str) -> Any: ...
    def resume(self, scope: Scope, target: str, why: str) -> Any: ...
    def list(self) -> Any: ...


class _OverHttp:
    def __init__(self, service: Remote) -> None:
        self._ask = service.ask

    def stop(self, scope: Scope, target: str, mode: Mode, why: str) -> Any:
        body = {"scope": scope.value, "target": target, "mode": mode.value, "why": why}
        return self._ask("POST", "/v1/controls", body)

    def resume(self, scope: Scope, target: str, why: str) -> Any:
        query = urlencode({"scope": scope.value, "target": target, "why": why})
        return self._ask("DELETE", f"/v1/controls?{query}")

    def list(self) -> Any:
        return self._ask("GET", "/v1/controls")["controls"]


@contextmanager
def _desk(data: Any, url: str | None, key: str | None, by: str | None) -> Iterator[_Desk]:
    if url is not None:
        with remote(url, data, key) as service:
            yield _OverHttp(service)
        return
    with at_hand(data) as (settings, database, clock):
        from audiences.identity.service import IdentityService  # noqa: PLC0415 - not needed with --url
        from decision.stopping import open_controls  # noqa: PLC0415
        from delivery.channels.documents import read_channels  # noqa: PLC0415
        from delivery.controls_api import listing, view  # noqa: PLC0415

        identity = IdentityService(database, settings.identities, phone_region=settings.phone_region)
        channels = read_channels(settings.library_folder)
        controls = open_controls(database, clock, identity.people.canonical, channels=channels)
        who = by or getpass.getuser()

        class AtHand:
            def stop(self, scope: Scope, target: str, mode: Mode, why: str) -> Any:
                return view(controls.stop(scope, target, mode, by=who, why=why))

            def resume(self, scope: Scope, target: str, why: str) -> Any:
                return view(controls.resume(scope, target, by=who, why=why))

            def list(self) -> Any:
                return listing(database, clock, controls)

        yield AtHand()


def _told(one: Any) -> None:
    typer.echo(f"{_name(one)}: {one['mode']}")


def _name(one: Any) -> str:
    return f"{one['scope']} {one['target']}".strip()
