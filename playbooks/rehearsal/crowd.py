"""A crowd: many users as columns of what matching looks at, and groups whom it does not tell apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from playbooks.constraints.binding import Counted, Terms
from playbooks.constraints.windows import length
from playbooks.eligible import place_in_group
from playbooks.holdouts import is_held_out, is_held_out_from
from playbooks.library import Library, PublishedPlaybook
from playbooks.library.trials import Trial
from playbooks.matching import Snapshot
from playbooks.rehearsal.groups import Groups, IntArray, Look, grouped
from playbooks.rehearsal.uses import CountedUses, Threshold
from storage.times import to_micros

Mask = NDArray[np.bool_]
_NONE = frozenset[str]()


@dataclass(frozen=True)
class Accounts:
    """Accounts of a crowd's users: `of` (users,) is each one's place, -1 without; what they used."""

    of: IntArray
    count: int
    uses: CountedUses


@dataclass(frozen=True)
class Crowd:
    """Users by place.

    `names` gives the ids of the users at some places, `inside` says for each audience that matters who is in
    it, shape (users,). `zones` are time zones, `lives` (users,) the place of each user's among them.
    `stopped` tells users apart by what stops a version of a playbook (by its key) that is not counted: rules
    over features and tags, consent, events.
    """

    size: int
    names: Callable[[IntArray], Sequence[str]]
    inside: Mapping[str, Mask]
    uses: CountedUses
    accounts: Accounts | None
    zones: Sequence[ZoneInfo]
    lives: IntArray
    stopped: Mapping[str, Look]

    def groups(self, snapshot: Snapshot, now: datetime) -> Groups:
        """Return groups of users between whom matching makes no difference for a snapshot's playbooks.

        `inside` and `stopped` must have whatever these need (see `audiences_of`, `is_looked_into`).
        """
        playbooks, rules = snapshot.library.playbooks, snapshot.library.rules
        terms = [rules.terms(one) for one in playbooks]
        looks = chain(
            (Look(self.inside[audience]) for audience in sorted(audiences_of(snapshot))),
            self._pilots(playbooks),
            self._held_out(playbooks, snapshot),
            self._controlled(snapshot),
            self._in_groups(snapshot.library, snapshot.seed),
            (self.stopped[one.key] for one in playbooks if one.key in self.stopped),
            self._used(terms, now),
        )
        return grouped(self.size, looks)

    def _pilots(self, playbooks: Sequence[PublishedPlaybook]) -> Iterator[Look]:
        for playbook in playbooks:
            for trial in trials_of([playbook]):
                taken = self._whoever(playbook, partial(trial.takes, audiences=_NONE))
                yield Look(taken if trial.audience is None else taken | self.inside[trial.audience])

    def _held_out(self, playbooks: Sequence[PublishedPlaybook], snapshot: Snapshot) -> Iterator[Look]:
        seed = snapshot.seed
        if snapshot.holdout > 0:
            yield Look(self._whoever(None, partial(is_held_out, seed=seed, universal=snapshot.holdout)))
        for one in {one.id: one for one in playbooks if one.document.holdout > 0}.values():
            yield Look(self._whoever(one, partial(is_held_out_from, one.document, seed=seed)))

    def _controlled(self, snapshot: Snapshot) -> Iterator[Look]:
        if users := snapshot.controls.users:
            yield Look(self._whoever(None, users.__contains__))

    def _in_groups(self, library: Library, seed: str) -> Iterator[Look]:
        """Tell users apart by which of a group's playbooks of one priority goes first for each of them."""
        equals: dict[tuple[str, int], set[str]] = {}
        for one in library.playbooks:
            for group in library.rules.terms(one).groups:
                equals.setdefault((group, one.document.priority), set()).add(one.id)
        for (group, _), members in equals.items():
            if len(members) > 1:
                yield self._by_order(group, sorted(members), seed)

    def _by_order(self, group: str, members: Sequence[str], seed: str) -> Look:
        orders: dict[tuple[str, ...], int] = {}
        codes = np.zeros(self.size, dtype=np.int64)
        for place, user_id in enumerate(self.names(np.arange(self.size))):
            order = sorted(members, key=partial(place_in_group, seed, user_id, group))
            codes[place] = orders.setdefault(tuple(order), len(orders))
        return Look(codes, max(1, len(orders)))

    def _used(self, terms: Sequence[Terms], now: datetime) -> Iterator[Look]:
        seen: set[tuple[Threshold, object, bool]] = set()
        for under in terms:
            for one in under.counted:
                for threshold in thresholds(under, one):
                    if (what := (threshold, one.window, one.of_account)) in seen:
                        continue
                    seen.add(what)
                    if (look := self._count(threshold, one, now)) is not None:
                        yield look

    def _count(self, threshold: Threshold, one: Counted, now: datetime) -> Look | None:
        since = np.array([to_micros(now - length(one.window, zone, now)) for zone in self.zones], np.int64)
        if not one.of_account:
            return self.uses.look(threshold, since[self.lives])
        if self.accounts is None:
            return None
        return self._count_of_accounts(self.accounts, threshold, since)

    def _count_of_accounts(self, accounts: Accounts, threshold: Threshold, since: IntArray) -> Look | None:
        """Count an account's uses in the window of each zone that its users live in."""
        belongs = np.flatnonzero(accounts.of >= 0)
        codes = np.zeros(self.size, dtype=np.int64)
        for zone in np.unique(self.lives[belongs]).tolist():
            look = accounts.uses.look(threshold, np.full(accounts.count, since[zone]))
            if look is None:
                return None
            here = belongs[self.lives[belongs] == zone]
            codes[here] = look.codes[accounts.of[here]]
        return Look(codes, threshold.limit + 1)

    def _whoever(self, playbook: PublishedPlaybook | None, is_so: Callable[[str], bool]) -> Mask:
        """Say of whom something is so that a hash of the id tells, among those a playbook is for."""
        audience = None if playbook is None else playbook.document.audience
        places = np.arange(self.size) if audience is None else np.flatnonzero(self.inside[audience])
        found = np.zeros(self.size, dtype=np.bool_)
        found[places] = [is_so(name) for name in self.names(places)]
        return found


def audiences_of(snapshot: Snapshot) -> set[str]:
    """Return the audiences that matching looks at for a snapshot's playbooks, beside their rules."""
    playbooks = snapshot.library.playbooks
    names = {one.document.audience for one in playbooks} | {trial.audience for trial in trials_of(playbooks)}
    names |= {name for guard in snapshot.guards for name in (guard.loyal, guard.newer)}
    return {name for name in names if name is not None}


def trials_of(playbooks: Iterable[PublishedPlaybook]) -> Iterator[Trial]:
    """Yield the pilots that say by whom a playbook is served."""
    for playbook in playbooks:
        for trial in (playbook.trial, playbook.without):
            if trial is not None:
                yield trial


def is_looked_into(terms: Terms) -> bool:
    """Whether constraints ask each user for more than what was used: rules, consent, events."""
    return bool(terms.conditions or terms.agreements or terms.holds or terms.after)


def thresholds(terms: Terms, one: Counted) -> set[Threshold]:
    """Return under which counters something may stop arms of a playbook, and when."""
    arms = [arm for arm in terms.arms if one.stops is None or arm.id in one.stops]
    return {Threshold(one.key(arm), one.limit) for arm in arms}
