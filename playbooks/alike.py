"""Users whom matching can't tell apart at a placement, so that of a block of them one is asked; pure.

Whatever `eligible` looks at is part of what users are told apart by: as it is, or, where constraints have
rules over features, by the answers, which are found for all users at once over columns.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from datetime import datetime
from functools import cached_property, partial
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from audiences.rules import (
    Columns,
    Flags,
    Lists,
    ManyUsers,
    Moments,
    Numbers,
    OneUser,
    RuleValueError,
    Texts,
    Type,
    compile_columns,
    compile_one,
)
from audiences.rules.columns import Column
from audiences.rules.values import moment as micros_of
from playbooks.constraints.allowing import Moment
from playbooks.constraints.binding import CONTEXT, Terms
from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.counting import UNREADABLE
from playbooks.controls.models import Controls
from playbooks.eligible import place_in_group
from playbooks.holdouts import is_held_out, is_held_out_from
from playbooks.library import PublishedPlaybook
from playbooks.use_patterns import UsePatterns

# Of so many users rules are asked over columns, whose arrays cost as much as asking fewer one by one.
_COLUMNS = 48


class Case(NamedTuple):
    """A user about whom is decided: what is known of them, as `playbooks.matching.decide` takes it."""

    user_id: str
    features: Mapping[str, Any]
    audiences: Set[str]
    circumstances: Circumstances


class Known(NamedTuple):
    """What a user is known by: those with equal keys are alike to matching.

    Of these, who has equal `counts` used as much of what is counted.
    """

    key: Hashable
    counts: Hashable


class Setting:
    """What serves a placement for members of the same audiences, and what of users matters to it."""

    def __init__(
        self, playbooks: Sequence[PublishedPlaybook], terms: Sequence[Terms], seed: str, holdout: float
    ) -> None:
        """`terms` are those of the playbooks, `holdout` the universal one's share."""
        self._seed, self._holdout = seed, holdout
        self._trials = [one for one in playbooks if one.trial is not None or one.without is not None]
        documents = {one.id: one.document for one in playbooks}
        self._held_out = [one for one in documents.values() if one.holdout > 0]
        self._groups = _shared_groups(playbooks, terms)
        # Whether a hash of the user's id decides anything.
        self._hashes = bool(holdout > 0 or self._trials or self._held_out or self._groups)
        self._agreements = sorted({(need.purpose, need.channel) for one in terms for need in one.agreements})
        self._rules = [one.parsed for under in terms for one in under.conditions if one.parsed is not None]
        self._types = {name: kind for rule in self._rules for name, kind in rule.types.items()}
        # Names of the features that rules read, as records keep them.
        self.names = sorted({name for one in terms for name in one.names})
        self._patterns = UsePatterns(terms)
        # Whether users who are alike at one moment are so at any other.
        self.timeless = not any(one.ends or one.spends or one.after or one.tiring for one in terms)

    def keys(
        self,
        cases: Sequence[Case],
        read: Mapping[str, Sequence[Any]],
        placement: str,
        controls: Controls,
        now: datetime,
    ) -> list[Known]:
        """Return what each user is known by.

        Args:
            read: by name the values of the features that rules read, as they are recorded, of each user.
        """
        answers = self._answers(cases, read, placement, now)
        stopped, begins = controls.users, dict[str, list[int]]()
        found: list[Known] = []
        for one, answer in zip(cases, answers, strict=True):
            zone = one.circumstances.zone
            if zone not in begins:
                begins[zone] = self._patterns.begins(zone, now)
            pattern = self._patterns.of(one.circumstances.uses, begins[zone])
            key = (
                answer,
                one.user_id if one.user_id in stopped else None,
                self._hashed(one) if self._hashes else None,
                _circumstances(one.circumstances, self._agreements),
                pattern.limits,
            )
            found.append(Known(key, pattern.counts))
        return found

    def _hashed(self, case: Case) -> Hashable:
        """Return what hashes of the user's id decide."""
        user, seed = case.user_id, self._seed
        return (
            is_held_out(user, seed, self._holdout),
            tuple([is_held_out_from(one, user, seed) for one in self._held_out]),
            tuple([one.serves(user, case.audiences) for one in self._trials]),
            tuple(
                [
                    tuple(sorted(members, key=partial(place_in_group, seed, user, group)))
                    for group, members in self._groups
                ]
            ),
        )

    def _answers(
        self, cases: Sequence[Case], read: Mapping[str, Sequence[Any]], placement: str, now: datetime
    ) -> Sequence[Hashable]:
        if not self._rules:
            return [None] * len(cases)
        if len(cases) < _COLUMNS:
            return self._each_answers(cases, read, placement, now)
        rules = self._for_many
        try:
            return _packed(rules, self._columns(rules, cases, read, placement, now), now)
        except (RuleValueError, TypeError, ValueError, OverflowError):
            # Somebody's value is of another type than rules are read for: each is asked alone.
            return [object() for _ in cases]

    @cached_property
    def _for_one(self) -> OneUser:
        return compile_one(self._rules)

    @cached_property
    def _for_many(self) -> ManyUsers:
        return compile_columns(self._rules)

    def _each_answers(
        self, cases: Sequence[Case], read: Mapping[str, Sequence[Any]], placement: str, now: datetime
    ) -> list[Hashable]:
        """Return all rules' answers of each user, asked one by one."""
        rules, given = self._for_one, dict(read)
        if not CONTEXT.keys().isdisjoint(rules.names):
            given |= _of_moment(cases, placement, now)
        rows = zip(*[given[name] for name in rules.names], strict=True) if rules.names else repeat(())
        found: list[Hashable] = []
        for one, values in zip(cases, rows, strict=False):
            try:
                tags, audiences = one.circumstances.tags, one.audiences
                found.append(tuple(rules.row(values, tags=tags, audiences=audiences, now=now)))
            except RuleValueError:
                # Their value is of another type than rules are read for.
                found.append(object())
        return found

    def _columns(
        self,
        rules: ManyUsers,
        cases: Sequence[Case],
        read: Mapping[str, Sequence[Any]],
        placement: str,
        now: datetime,
    ) -> Columns:
        values: dict[str, Sequence[Any]] = dict(read)
        if not CONTEXT.keys().isdisjoint(rules.names):
            values |= _of_moment(cases, placement, now)
        nothing = [None] * len(cases)
        tags = {tag for one in cases for tag in one.circumstances.tags}
        audiences = {name for one in cases for name in one.audiences}
        return Columns(
            len(cases),
            {name: _column(values.get(name, nothing), self._types[name]) for name in rules.names},
            tags={tag: np.array([tag in one.circumstances.tags for one in cases]) for tag in tags},
            audiences={name: np.array([name in one.audiences for one in cases]) for name in audiences},
        )


def _of_moment(cases: Sequence[Case], placement: str, now: datetime) -> dict[str, list[Any]]:
    """Return by name what rules may ask of the moment, of each user by their own clock."""
    moments: dict[str, Mapping[str, Any]] = {}
    for one in cases:
        if one.circumstances.zone not in moments:
            moments[one.circumstances.zone] = Moment(now, placement, {}, set(), one.circumstances).values
    return {name: [moments[one.circumstances.zone][name] for one in cases] for name in CONTEXT}


def _shared_groups(
    playbooks: Sequence[PublishedPlaybook], terms: Sequence[Terms]
) -> list[tuple[str, list[str]]]:
    members: dict[str, set[str]] = {}
    for one, under in zip(playbooks, terms, strict=True):
        for group in under.groups:
            members.setdefault(group, set()).add(one.id)
    return [(group, sorted(some)) for group, some in sorted(members.items()) if len(some) > 1]


def _circumstances(of: Circumstances, agreements: Sequence[tuple[str, Any]]) -> Hashable:
    """Return what of a user's circumstances matching looks at; how full budgets are is the same for all."""
    return (
        of.zone,
        of.account,
        of.tags,
        tuple([of.agreed(*need) for need in agreements]) if agreements else (),
        tuple(sorted(of.events.items())) if of.events else (),
        of.uses is UNREADABLE,
    )


def _packed(rules: ManyUsers, columns: Columns, now: datetime) -> list[bytes]:
    """Return all rules' answers of each user."""
    bits = rules(columns, now=now)
    answers = np.unpackbits(bits, axis=1, count=columns.length, bitorder="little")
    return [row.tobytes() for row in np.packbits(answers.T, axis=1)]


# Of what class values are that both ways of asking rules take for the same.
_CLASSES: Mapping[Type, tuple[type, ...]] = {
    Type.NUMBER: (float, int, bool),
    Type.TEXT: (str,),
    Type.BOOL: (bool,),
    Type.TIMESTAMP: (datetime,),
    Type.TEXTS: (list,),
    Type.NUMBERS: (list,),
}


def _column(values: Sequence[Any], kind: Type) -> Column:
    """Return users' values as a column.

    Raises:
        RuleValueError, TypeError, ValueError, OverflowError: one is of another type.
    """
    known = [value for value in values if value is not None]
    if not all(isinstance(value, _CLASSES[kind]) for value in known):
        raise RuleValueError(f"not every value is {kind.phrase}")
    valid = np.array([value is not None for value in values], dtype=np.bool_)
    match kind:
        case Type.NUMBER:
            return Numbers.of(np.array([np.nan if one is None else float(one) for one in values]))
        case Type.TEXT:
            return Texts.of(values)
        case Type.BOOL:
            return Flags.of([bool(one) for one in values], valid)
        case Type.TIMESTAMP:
            micros = [0 if one is None else micros_of("", one) for one in values]
            return Moments.of(np.array(micros, dtype=np.int64), valid)
        case _:
            return Lists.of(values)
