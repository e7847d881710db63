"""The command line of the tracking plan: `nextplay plan validate|test`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import msgspec
import typer

from audiences.errors import FileUnreadable, PlanError
from audiences.events import Event, MessageType
from audiences.machines.definitions import read_machines
from audiences.plan.documents import FOLDER, read_plan
from audiences.plan.plan import Verdict
from decision.settings import load_settings

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

# As `audiences.events` names what is not tracked under a name of its own.
_NAMES = {"page": "page_viewed", "screen": "screen_viewed"}
_SHOWN = 20


@app.command()
def validate(
    path: Annotated[Path, typer.Argument(help="A library folder, or its folder of the tracking plan.")],
) -> None:
    """Read a tracking plan and say what is wrong with it, with file and line; exit code 1 if anything is."""
    folder = _folder(path)
    plan = read_plan(folder)
    read_machines(folder)
    strict = sum(one.mode == "strict" for one in plan.planned.values())
    unknown = "set aside" if plan.refuses_unknown else "taken as they are"
    typer.echo(
        f"the plan is right: {len(plan.planned)} events, {strict} of them strict; unknown ones are {unknown}"
    )


@app.command("test")
def try_(
    events: Annotated[
        Path, typer.Argument(help="Messages as they are sent, one a line; - for standard input.")
    ],
    plan: Annotated[Path | None, typer.Option(help="Plan to try, if not that of the library.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")] = None,
    library: Annotated[Path | None, typer.Option(help="Library folder, if not <data>/library.")] = None,
) -> None:
    """Say what a tracking plan would accept, bring into shape and set aside. Records nothing."""
    settings = load_settings(data=data, library=library)
    folder = settings.library_folder / FOLDER if plan is None else _folder(plan)
    tried = read_plan(folder, settings.phone_region or None)
    numbers: Counter[tuple[str, Verdict]] = Counter()
    told = 0
    for line, event in _events(events):
        verdict, fitted, problem = tried.judge(event)
        numbers[event.name, verdict] += 1
        if verdict is Verdict.ACCEPTED or told == _SHOWN:
            continue
        told += 1
        said = problem or _changes(event.properties, fitted.properties)
        typer.echo(f"line {line}\t{event.name}\t{verdict}\t{said}")
    if told == _SHOWN:
        typer.echo(f"…\tonly the first {_SHOWN} are told")
    for (name, verdict), number in sorted(numbers.items()):
        typer.echo(f"{name}\t{verdict}\t{number}")


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise PlanError(f"there is no folder {path}: name a library, or the folder of its tracking plan")
    return path / FOLDER if (path / FOLDER).is_dir() else path


def _events(path: Path) -> Iterator[tuple[int, Event]]:
    now = datetime.now(UTC)
    try:
        lines = sys.stdin.buffer.readlines() if str(path) == "-" else path.read_bytes().splitlines()
    except OSError as error:
        raise FileUnreadable(f"{path}: can't be read: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            message = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FileUnreadable(f"{path}, line {number}: not a message: {error}") from error
        yield number, _event(message, now)


def _event(message: Mapping[str, Any], now: datetime) -> Event:
    said = message.get("type")
    type_: MessageType = cast(MessageType, said) if said in get_args(MessageType) else "track"
    name = message.get("event") if type_ == "track" else _NAMES.get(type_, type_)
    properties = message.get("traits" if type_ in ("identify", "group") else "properties")
    return Event(
        str(message.get("messageId", "")),
        str(message.get("userId", "")),
        str(name or ""),
        properties if isinstance(properties, dict) else {},
        now,
        now,
        type=type_,
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    changed = []
    for name, value in before.items():
        if name not in after:
            changed.append(f"{name}: null left out")
        elif after[name] != value or type(after[name]) is not type(value):
            old, new = msgspec.json.encode(value).decode(), msgspec.json.encode(after[name]).decode()
            changed.append(f"{name}: {old} → {new}")
    return "; ".join(changed)
