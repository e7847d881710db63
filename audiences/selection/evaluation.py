"""Who is in which audience: definitions, users as columns, lists and what was before give bitmaps. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from audiences.definitions import AudienceSpec, Definitions
from audiences.rules import Rule
from audiences.rules.packing import Bits
from audiences.selection.bitmaps import from_bits, from_numbers, to_numbers
from audiences.selection.changes import spliced
from audiences.selection.crowds import Crowd


@dataclass(frozen=True, slots=True)
class People:
    """Users as rows: row i is the user with the number `numbers[i]`; numbers ascend.

    `everybody`: all users there are. Otherwise only some. `tags` are who carries each tag that was asked for.
    """

    crowd: Crowd
    numbers: NDArray[np.uint32]
    everybody: bool
    tags: Mapping[str, BitMap]

    def chosen(self, bits: Bits) -> BitMap:
        """The numbers of the users whose bit is set."""
        if not len(self.numbers):
            return BitMap()
        rows = np.unpackbits(bits, count=len(self.numbers), bitorder="little").view(np.bool_)
        if not self.everybody:
            return from_numbers(self.numbers[rows])
        mask = np.zeros(int(self.numbers[-1]) + 1, dtype=np.bool_)
        mask[self.numbers] = rows
        return from_bits(np.packbits(mask, bitorder="little"))

    def rows_in(self, members: BitMap) -> NDArray[np.bool_]:
        """Which rows are users of a bitmap."""
        mask = np.zeros((int(self.numbers[-1]) if len(self.numbers) else 0) + 1, dtype=np.bool_)
        numbers = to_numbers(members)
        mask[numbers[numbers < len(mask)]] = True
        return mask[self.numbers]


def evaluate(
    definitions: Definitions,
    people: People,
    lists: Mapping[str, BitMap],
    before: Mapping[str, BitMap],
    now: datetime,
) -> dict[str, BitMap]:
    """Who is in each audience. Users that `people` leaves out are where they were `before`.

    Audiences are worked out after those they are made of, so that all are of one moment.
    """
    found: dict[str, BitMap] = {}
    looked_at = from_numbers(people.numbers)

    def of(audience: str) -> BitMap:
        return found[audience] if audience in found else before.get(audience, BitMap())

    for audiences in _levels(definitions):
        ruled = [one.id for one in audiences if one.rule is not None]
        bits = _answered([definitions.rules[name] for name in ruled], people, of, now)
        for name, row in zip(ruled, bits, strict=True):
            holding = people.chosen(row)
            found[name] = (
                holding if people.everybody else spliced(before.get(name, BitMap()), looked_at, holding)
            )
        for one in audiences:
            if one.sets is not None:
                found[one.id] = one.sets.members(of)
            elif one.list:
                found[one.id] = _listed(lists.get(one.id, BitMap()), looked_at, people.everybody)
    return found


def holding(
    rules: Sequence[Rule],
    people: People,
    of: Callable[[str], BitMap],
    now: datetime,
) -> list[BitMap]:
    """For whom of `people` some rules hold, given who is in the audiences they ask for."""
    return [people.chosen(row) for row in _answered(rules, people, of, now)]


def _answered(
    rules: Sequence[Rule],
    people: People,
    of: Callable[[str], BitMap],
    now: datetime,
) -> Bits | list[Bits]:
    if not rules:
        return []
    tags = {name for rule in rules for name in rule.tags} & people.tags.keys()
    audiences = {name for rule in rules for name in rule.audiences}
    return people.crowd.answer(
        rules,
        {name: people.rows_in(people.tags[name]) for name in sorted(tags)},
        {name: people.rows_in(of(name)) for name in sorted(audiences)},
        now,
    )


def _listed(members: BitMap, looked_at: BitMap, everybody: bool) -> BitMap:
    # An uploaded user who is no longer there is not in the audience either.
    return members & looked_at if everybody else members.copy()


def _levels(definitions: Definitions) -> list[list[AudienceSpec]]:
    """The audiences in shares that need nothing of their own share."""
    level: dict[str, int] = {}
    for one in definitions.order:
        level[one.id] = 1 + max((level.get(need, 0) for need in definitions.needs(one.id)), default=0)
    ordered = sorted(definitions.order, key=lambda one: level[one.id])
    return [list(share) for _, share in groupby(ordered, key=lambda one: level[one.id])]
