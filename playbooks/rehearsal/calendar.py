"""What simulated days come to: volume, contacts of users, spend, breaches, plans that starve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, tzinfo

import msgspec
import numpy as np

from playbooks.library import Library
from playbooks.rehearsal.expecting import Expected, expect
from playbooks.rehearsal.simulation import Contact, Played, Sending

# Rules of what all users share: when one of these stops something, a budget, a stock or a quota is used up.
_SHARED = ("budget.", "stock.", "quota.", "liability.", "max_liability.")
_CAPPED = ("cap.", "cool_down.", "group.")


class Cell(msgspec.Struct, frozen=True):
    """How many contacts are expected on a channel in the hour that begins at `hour` (UTC)."""

    channel: str
    hour: datetime
    expected: float


class ChannelVolume(msgspec.Struct, frozen=True):
    """All contacts on a channel, and the hour with most of them."""

    channel: str
    contacts: Expected
    busiest: datetime
    at_most: float


class UsersWith(msgspec.Struct, frozen=True):
    """How many users are expected to be contacted so often."""

    contacts: int
    users: float


class DaySpend(msgspec.Struct, frozen=True):
    """What arms given on a day (UTC) are expected to cost, and may cost at worst, in minor units."""

    day: str
    currency: str
    expected: float
    liability: float


class Breach(msgspec.Struct, frozen=True):
    """What does not hold, and for how many decisions or messages of all users, the first at `first`.

    `kind`: a `budget`, stock or quota used up, a `cap` that stops, an `approval` needed; of messages a
    `window` outside of which they never go out, a channel's `rate` or `daily` quota, above which they wait.
    """

    kind: str
    rule: str
    stopped: float
    first: datetime | None
    said: str


class Starving(msgspec.Struct, frozen=True):
    """A playbook that nobody gets: in how many decisions it might have competed, did, and why it did not."""

    playbook: str
    considered: float
    competed: float
    said: str


class Rests(msgspec.Struct, frozen=True):
    """What the occasions of a playbook rest on, and how many there are for all users."""

    playbook: str
    occasions: float
    said: str


class Calendar(msgspec.Struct, frozen=True):
    """The days from `begins` to `ends`, simulated for `sampled` of `users` users, drawn by `seed`."""

    begins: datetime
    ends: datetime
    users: int
    sampled: int
    seed: str
    rests_on: Sequence[Rests]
    channels: Sequence[ChannelVolume]
    volume: Sequence[Cell]
    contacts: Sequence[UsersWith]
    spend: Sequence[DaySpend]
    breaches: Sequence[Breach]
    starving: Sequence[Starving]


def volume(sent: Iterable[Sending], weight: float) -> list[Cell]:
    """Return what is expected on each channel in each hour, hours without anything left out."""
    found = Counter((one.channel, one.at.replace(minute=0, second=0, microsecond=0)) for one in sent)
    return [Cell(channel, hour, round(count * weight, 2)) for (channel, hour), count in sorted(found.items())]


def channels(sent: Sequence[Sending], cells: Sequence[Cell], sampled: int, users: int) -> list[ChannelVolume]:
    """Return what is expected on each channel in all."""
    listed = []
    for channel in sorted({cell.channel for cell in cells}):
        counts = np.bincount([one.user for one in sent if one.channel == channel], minlength=sampled).astype(
            np.float64
        )
        busiest = max((cell for cell in cells if cell.channel == channel), key=lambda cell: cell.expected)
        # Decisions come by chance: what a user gets varies like a count.
        total = expect(counts, counts, users, float(len(sent)))
        listed.append(ChannelVolume(channel, total, busiest.hour, busiest.expected))
    return listed


def contacts_per_user(sent: Sequence[Sending], sampled: int, weight: float) -> list[UsersWith]:
    """Return how many users are contacted how often, those who are not among them."""
    counts = np.bincount([one.user for one in sent], minlength=sampled)
    numbers, users = np.unique(counts, return_counts=True)
    return [UsersWith(int(n), round(float(u) * weight, 2)) for n, u in zip(numbers, users, strict=True)]


def spend(contacts: Iterable[Contact], weight: float) -> list[DaySpend]:
    """Return what each day is expected to cost; arms without money are left out."""
    costs: Counter[tuple[str, str]] = Counter()
    worst: Counter[tuple[str, str]] = Counter()
    for one in contacts:
        if one.arm.currency:
            key = (one.at.date().isoformat(), one.arm.currency)
            costs[key] += one.arm.cost
            worst[key] += one.arm.liability
    return [
        DaySpend(*key, round(costs[key] * weight, 2), round(worst[key] * weight, 2)) for key in sorted(costs)
    ]


def breaches(played: Played, weight: float) -> Iterator[Breach]:
    """Yield the caps and budgets that stop something, those that stop most first."""
    by_rule: Counter[str] = Counter()
    for (_, rule), count in played.stopped.items():
        by_rule[rule] += count
    for rule, count in by_rule.most_common():
        kind = "budget" if rule.startswith(_SHARED) else "cap" if rule.startswith(_CAPPED) else ""
        if kind:
            stops = sorted({playbook for playbook, one in played.stopped if one == rule})
            yield Breach(
                kind, rule, round(count * weight, 2), played.first_stop[rule], f"stops {', '.join(stops)}"
            )


def skipped(skips: Mapping[str, Sequence[datetime]], weight: float) -> Iterator[Breach]:
    """Yield the windows outside of which messages are skipped, given the moments at which each skips one."""
    for rule, moments in sorted(skips.items(), key=lambda one: -len(one[1])):
        said = "messages fall outside of it and never go out"
        yield Breach("window", rule, round(len(moments) * weight, 2), min(moments), said)


def crowded(
    cells: Sequence[Cell], hourly: Mapping[str, float], daily: Mapping[str, tuple[int, tzinfo]]
) -> Iterator[Breach]:
    """Yield the channels that more messages are due on than they take.

    Args:
        hourly: how many messages a channel takes in an hour.
        daily: how many it takes in a day, and where its day begins.
    """
    for channel, most in hourly.items():
        due = [(one.hour, one.expected - most) for one in cells if one.channel == channel]
        over = [(hour, number) for hour, number in due if number > 0]
        if over:
            said = f"{channel} takes {most:,.0f} messages an hour; those above wait"
            yield Breach("rate", f"rate.{channel}", round(sum(n for _, n in over), 2), over[0][0], said)
    for channel, (limit, zone) in daily.items():
        days: dict[date, list[Cell]] = {}
        for one in cells:
            if one.channel == channel:
                days.setdefault(one.hour.astimezone(zone).date(), []).append(one)
        sums = [(day[0].hour, sum(one.expected for one in day)) for day in days.values()]
        full = [(hour, number - limit) for hour, number in sums if number > limit]
        if full:
            said = f"{channel} may send {limit:,} messages a day; those above wait"
            yield Breach("daily", f"quota.{channel}", round(sum(n for _, n in full), 2), full[0][0], said)


def starving(library: Library, played: Played, weight: float) -> Iterator[Starving]:
    """Yield the playbooks that are served and that nobody gets."""
    given = {one.arm.playbook for one in played.contacts}
    for playbook in sorted({one.id for one in library.playbooks} - given):
        stops = {rule: count for (name, rule), count in played.stopped.items() if name == playbook}
        competed = played.competed[playbook]
        considered = competed + max(stops.values(), default=0)
        if not considered:
            said = "it is considered in no decision: nothing begins it, or nobody is in its audience"
        elif not competed:
            rule = max(sorted(stops), key=lambda name: stops[name])
            said = f"it never competes; {rule} stops it most often"
        else:
            said = "it competes and is never drawn"
        yield Starving(playbook, round(considered * weight, 2), round(competed * weight, 2), said)
