"""`nextplay playbooks simulate`: what a flow would do with a user, and when."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from pydantic import ValidationError

from decision.asking import Data, Key, Url, at_hand, remote
from decision.foresight.content_commands import AsDraft, AsJson, Playbook, Version, path_of, shown_of
from decision.printing import print_json
from storage.errors import ConfigurationError

_STRANGER = "somebody"


def simulate(
    playbook: Playbook,
    user: Annotated[str | None, typer.Option(help="For this user, with --url; else for a stranger.")] = None,
    at: Annotated[datetime | None, typer.Option(help="When the run begins (UTC); else now.")] = None,
    variant: Annotated[str | None, typer.Option(help="Name of the variant drawn; else the first.")] = None,
    given: Annotated[
        Path | None, typer.Option(help='What happens meanwhile, JSON: [{"at": …, "event": …}].')
    ] = None,
    version: Version = None,
    draft: AsDraft = False,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Run a playbook's flow for a user and print its timeline; nothing is kept, nothing is sent."""
    begins = None if at is None else at.replace(tzinfo=at.tzinfo or UTC)
    happens = [] if given is None else _read(given)
    if url is not None:
        if user is None:
            raise ConfigurationError(
                "a running service runs the flow for one of its users: name it with --user"
            )
        wanted = {
            **shown_of(version, draft),
            "user_id": user,
            "at": begins.isoformat() if begins else None,
            "variant": variant,
            "given": happens,
        }
        with remote(url, data, key) as service:
            found = service.ask("POST", f"{path_of(playbook)}/simulate", wanted)
    elif user is not None:
        raise ConfigurationError("what is known of a user is known to a running service: ask it with --url")
    else:
        side = "draft" if draft else str(version or "served")
        found = _at_hand(playbook, side, begins, variant, happens, data)
    if as_json:
        print_json(found)
        return
    typer.echo(f"{found['playbook']}/{found['variant']} for {found['user_id']}, who lives by {found['zone']}")
    for line in found["lines"]:
        typer.echo(f"{line['at'][:19].replace('T', ' ')}  {line['text']}")


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f'{path} must be JSON like [{{"at": "…", "event": "…"}}]: {error}'
        ) from error


def _at_hand(
    playbook: str,
    side: str,
    at: datetime | None,
    variant: str | None,
    given: list[dict[str, Any]],
    data: Data,
) -> dict[str, Any]:
    from decision.files import read_files  # noqa: PLC0415 - seconds, and not needed with --url
    from decision.foresight.simulating import GivenBody, Simulations  # noqa: PLC0415
    from decision.reach import AudienceReach  # noqa: PLC0415
    from playbooks.library.service import LibraryService  # noqa: PLC0415

    with at_hand(data) as (settings, database, clock):
        library = LibraryService(database, clock, lambda _: (), AudienceReach(database))
        files = read_files(settings.library_folder)
        simulations = Simulations(library, clock, files.schema, hours=files.staff.hours)
        try:
            happens = [GivenBody.model_validate(one) for one in given]
        except ValidationError as error:
            raise ConfigurationError(f"what is given can't be used: {error}") from error
        shown = simulations.simulate(playbook, side, _STRANGER, at, variant, happens)
    return msgspec.to_builtins(shown)  # type: ignore[no-any-return]
