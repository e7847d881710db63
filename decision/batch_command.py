"""`nextplay decide-batch`: decides for the members of an audience."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decision.logs import configure
from decision.settings import load_settings
from storage.errors import ConfigurationError

if TYPE_CHECKING:
    from decision.wiring import Service

# Members whose ids are looked up at a time.
_IDS = 500


def decide_batch(
    audience: Annotated[str, typer.Argument(help="Id of the audience.")],
    placement: Annotated[str, typer.Option(help="The decision point.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write; it must not be there yet.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of a service that does not run, or runs on Postgres.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Name of this batch; called again, it goes on where it stopped.")
    ] = None,
) -> None:
    """Decide for every member of an audience, durably, and write the answers to a Parquet file."""
    from decision.batch import decide_to_parquet  # noqa: PLC0415 - PyArrow and Feast, seconds
    from decision.in_process import opened_service  # noqa: PLC0415

    configure(load_settings(data=data).log_level)
    with opened_service(data) as service:
        done = decide_to_parquet(service.decider, _members(service, audience), placement, out, key=key)
    typer.echo(
        f"{done.decisions} decisions in {done.seconds:.1f} s, {done.offers} with an offer, written to {out}"
    )
    for reason, number in sorted(done.fallbacks.items()):
        typer.echo(f"  {number} fallbacks: {reason}")


def _members(service: Service, audience: str) -> Iterator[str]:
    """Return the ids of an audience's members, read piece by piece.

    Raises:
        ConfigurationError: it was never evaluated.
    """
    from audiences.selection.repository import ids_of  # noqa: PLC0415 - as above
    from playbooks.suggesting import closest  # noqa: PLC0415

    memberships = service.audiences.memberships
    if audience not in memberships.live:
        raise ConfigurationError(
            f"no audience {audience!r} was evaluated{closest(audience, memberships.live)}; "
            "`POST /v1/jobs/audiences` evaluates them"
        )
    numbers = list(memberships.members(audience))

    def pieces() -> Iterator[str]:
        for start in range(0, len(numbers), _IDS):
            with service.database.read() as connection:
                yield from ids_of(connection, numbers[start : start + _IDS])

    return pieces()
