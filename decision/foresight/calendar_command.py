"""`nextplay playbooks calendar`: what the coming days are expected to come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import msgspec
import typer

from decision.asking import Data, Key, Url, at_hand, remote
from decision.printing import print_json
from playbooks.money import shown
from playbooks.rehearsal.calendar import Calendar
from storage.errors import ConfigurationError

_SUFFIXES = (".png", ".svg")


def calendar(
    days: Annotated[int, typer.Option(min=1, max=62, help="How far to look.")] = 14,
    sample: Annotated[int, typer.Option(min=1, max=20_000, help="Users that are simulated.")] = 1_000,
    seed: Annotated[str, typer.Option(help="Draws the users and what they get.")] = "calendar",
    plot: Annotated[
        Path | None, typer.Option(help="Also draw hours and days of each channel: a .png or .svg file.")
    ] = None,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what all live playbooks together are expected to come to in the coming days.

    Volume by channel and hour, contacts of users, spend, what breaches, plans that starve. Nothing is written
    and nobody is contacted.
    """
    if plot is not None and plot.suffix not in _SUFFIXES:
        raise ConfigurationError(f"--plot draws {' or '.join(_SUFFIXES)} files, not {plot.name!r}")
    found = _calendar({"days": days, "sample": sample, "seed": seed}, data, url, key)
    if plot is not None:
        from decision.foresight.heat_map import draw  # noqa: PLC0415 - Matplotlib, needed here only

        draw(found, plot)
    if as_json:
        print_json(found)
        return
    for line in _lines(found):
        typer.echo(line)


def _calendar(wanted: dict[str, int | str], data: Data, url: Url, key: Key) -> Calendar:
    if url is not None:
        with remote(url, data, key) as service:
            return msgspec.convert(service.ask("GET", f"/v1/library/calendar?{urlencode(wanted)}"), Calendar)
    from decision.foresight.calendars import Ahead  # noqa: PLC0415 - seconds
    from decision.foresight.standing_by import foresight_at_hand  # noqa: PLC0415

    with at_hand(data) as (settings, database, clock), foresight_at_hand(settings, database, clock) as here:
        return here.calendars.ahead(msgspec.convert(wanted, Ahead))


def _lines(one: Calendar) -> Iterator[str]:
    by = f"by {one.sampled:,} of {one.users:,} users"
    yield f"{one.begins:%Y-%m-%d %H:%M} to {one.ends:%Y-%m-%d %H:%M} UTC, {by}"
    for channel in one.channels:
        total = channel.contacts
        yield (
            f"{channel.channel}: about {total.expected:,.0f} contacts "
            f"({total.low:,.0f} to {total.high:,.0f}), "
            f"most at {channel.busiest:%Y-%m-%d %H:00} UTC ({channel.at_most:,.0f} an hour)"
        )
    for users in one.contacts:
        yield f"  {users.contacts} contacts: about {users.users:,.0f} users"
    for day in one.spend:
        worst = shown(round(day.liability), day.currency)
        yield f"  {day.day}: about {shown(round(day.expected), day.currency)}, at worst {worst}"
    for breach in one.breaches:
        first = f", first at {breach.first:%Y-%m-%d %H:%M} UTC" if breach.first else ""
        count = f" about {breach.stopped:,.0f} decisions" if breach.first else ""
        yield f"{breach.kind} {breach.rule}:{count} {breach.said}{first}"
    for plan in one.starving:
        yield f"starves: {plan.playbook}, {plan.said}"
    for rests in one.rests_on:
        yield f"  {rests.playbook}: about {rests.occasions:,.0f} occasions, from {rests.said}"
