"""`nextplay doctor`: looks at everything a service needs, one thing after the other, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from decision.observe.findings import Check, Finding, Subject, Verdict, fail
from decision.printing import print_json
from decision.settings import load_settings
from storage.errors import NextplayError

Data = Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")]
_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}
_WIDTH = 13


class Examined(msgspec.Struct, frozen=True):
    """One check and what came of it; `seconds` is how long it took."""

    check: str
    verdict: Verdict
    said: str
    todo: str
    seconds: float


def doctor(
    data: Data = None,
    url: Annotated[str | None, typer.Option(help="Where the service runs, if not on this machine.")] = None,
    key: Annotated[str | None, typer.Option(envvar="NEXTPLAY_KEY", help="A key to try there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
) -> None:
    """Check everything the service needs, say what is wrong and what to do. Changes nothing."""
    subject = Subject(load_settings(data=data), url, key)
    found = []
    for one in examine(subject, checks()):
        found.append(one)
        if not as_json:
            _tell(one)
    worst = worst_of(found)
    if as_json:
        document = {"verdict": worst, "checks": found}
        print_json(document)
    if worst is Verdict.FAIL:
        raise typer.Exit(1)


def checks() -> Mapping[str, Check]:
    """Return all checks by name, in their order: what others lean on comes first."""
    # Here, because they import Feast and the databases' drivers: seconds that other commands can do without.
    from decision.observe import machine, served, shown, stores  # noqa: PLC0415

    return {
        "python": machine.python,
        "packages": machine.packages,
        "zones": machine.zones,
        "clock": machine.clock,
        "data folder": machine.data_folder,
        "disk": machine.disk,
        "library": served.library,
        "retention": served.retention,
        "owner": stores.owner,
        "database": stores.database,
        "integrity": stores.integrity,
        "readers": stores.readers,
        "deliveries": stores.deliveries,
        "controls": stores.controls,
        "audiences": stores.audiences,
        "policies": stores.policies,
        "fallbacks": shown.fallbacks,
        "feeds": stores.feeds,
        "snapshots": stores.snapshots,
        "online store": stores.online_store,
        "learner": machine.learner,
        "port": served.port,
        "key": served.key,
    }


def examine(subject: Subject, by_name: Mapping[str, Check]) -> Iterator[Examined]:
    """Yield what each check finds; one that can't be made is a failure and does not stop the others."""
    for name, check in by_name.items():
        started = time.monotonic()
        finding = _found(check, subject)
        seconds = round(time.monotonic() - started, 3)
        yield Examined(name, finding.verdict, finding.said, finding.todo, seconds)


def worst_of(found: list[Examined]) -> Verdict:
    """Return the worst verdict."""
    order = list(Verdict)
    return max((one.verdict for one in found), key=order.index, default=Verdict.OK)


def _found(check: Check, subject: Subject) -> Finding:
    try:
        return check(subject)
    except NextplayError as error:
        # Our own errors say what to do themselves.
        return fail(str(error), "")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the check found
        return fail(f"{type(error).__name__}: {error}", "this check could not be made; see what it says")


def _tell(one: Examined) -> None:
    verdict = typer.style(f"{one.verdict:<5}", fg=_COLOURS[one.verdict])
    typer.echo(f"{verdict} {one.check:<{_WIDTH}} {one.said}")
    if one.todo:
        typer.echo(f"{'':<{_WIDTH + 6}} → {one.todo}")
