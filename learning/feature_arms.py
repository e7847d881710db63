"""What arms by themselves make of features: places in vocabularies, numbers, and marks of who they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning.feature_cells import Cells
from learning.feature_columns import told_of
from playbooks.models import Arm

FloatArray = NDArray[np.float64]

# Arm lists that are remembered; users of one placement share a handful of them.
_REMEMBERED_LISTS = 1024
# Cells that whatever is marked, or is not, is taken from.
_UNMARKED, _MARKED = 0, 1


class OfArms(NamedTuple):
    """What a list of arms makes of the features by itself.

    `positions` are its places in the vocabularies by attribute, those of no name behind the last. `cells` are
    numbers for columns that are the same for every user, `own` (columns, arms) where among these each is, and
    `places` (columns, arms) where each column's number is among the cells of a user with these behind.
    """

    arms: tuple[Arm, ...]
    positions: dict[str, NDArray[np.intp]]
    cells: FloatArray
    own: NDArray[np.intp]
    places: NDArray[np.intp]


class ArmColumns:
    """Works out once for each list of arms what they make of the features."""

    def __init__(self, vocabularies: Mapping[str, tuple[str, ...]]) -> None:
        """`vocabularies` are names by arm attribute."""
        self._vocabularies = vocabularies
        self._places = {
            attribute: {name: place for place, name in enumerate(names)}
            for attribute, names in vocabularies.items()
        }
        # The first column of each attribute that is marked, by one column a name or one a step.
        self._one_hots: list[tuple[int, str]] = []
        self._steps: list[tuple[int, str]] = []
        self._numbers: list[str] = []
        # Keyed by identity: hashing an arm's attributes would cost more than looking them up. The value
        # holds the arms, so an identity can't pass to another object while it is remembered.
        self._remembered: dict[tuple[int, ...] | int, OfArms] = {}

    def one_hot(self, column: int, attribute: str) -> list[str]:
        """Mark each name of an attribute from a column on; returns the columns' names."""
        self._one_hots.append((column, attribute))
        return [f"{attribute}={name}" for name in self._vocabularies[attribute]]

    def steps(self, column: int, attribute: str) -> list[str]:
        """Mark who has come to each name but the first, from a column on; returns the columns' names."""
        self._steps.append((column, attribute))
        return [f"{attribute}>={name}" for name in self._vocabularies[attribute][1:]]

    def number(self, attribute: str) -> None:
        """Have an attribute read as a number."""
        self._numbers.append(attribute)

    def freeze(
        self, columns: int, numbers: Cells, of_users: Cells, attributes: Mapping[int, str | None]
    ) -> None:
        """Say what there is to work out.

        Args:
            columns: how many there are.
            numbers: what is made of the numbers that are read, a cell each.
            of_users: what is made of the numbers of users.
            attributes: by column the attribute by which of those of a user one is taken; None: there is one.
        """
        self._columns, self._made, self._of_users, self._attributes = columns, numbers, of_users, attributes

    def of(self, arms: Sequence[Arm]) -> OfArms:
        """Return what these arms make of the features."""
        # Mostly it is the very same tuple.
        known = self._remembered.get(id(arms))
        if known is not None and known.arms is arms:
            return known
        key = tuple(map(id, arms))
        known = self._remembered.get(key)
        if known is not None:
            return known
        positions = {
            attribute: np.array(
                [places.get(arm.attributes.get(attribute, ""), len(places)) for arm in arms], dtype=np.intp
            )
            for attribute, places in self._places.items()
        }
        cells, own = self._own(arms, positions)
        places = own + self._of_users.size
        for column, start in self._of_users.made.items():
            attribute = self._attributes[column]
            places[column] = start if attribute is None else start + positions[attribute]
        if len(self._remembered) >= _REMEMBERED_LISTS:
            self._remembered = {}
        made = OfArms(tuple(arms), positions, cells, own, places)
        self._remembered[key] = self._remembered[id(made.arms)] = made
        return made

    def _own(
        self, arms: Sequence[Arm], positions: Mapping[str, NDArray[np.intp]]
    ) -> tuple[FloatArray, NDArray[np.intp]]:
        """Return the numbers for columns that depend on the arms alone, and where each column's are."""
        own = np.full((self._columns, len(arms)), _UNMARKED, dtype=np.intp)
        for start, attribute in self._one_hots:
            for arm, place in enumerate(positions[attribute]):
                if place < len(self._vocabularies[attribute]):
                    own[start + place, arm] = _MARKED
        for start, attribute in self._steps:
            for arm, place in enumerate(positions[attribute]):
                if place < len(self._vocabularies[attribute]):
                    own[start : start + place, arm] = _MARKED
        numbers = np.array([[told_of(arm, name) for name in self._numbers] for arm in arms])
        made = np.empty((len(arms), self._made.size))
        self._made.worked_out(numbers.reshape(len(arms), len(self._numbers)), made)
        for column, start in self._made.made.items():
            own[column] = 2 + np.arange(len(arms)) * self._made.size + start
        return np.concatenate([[0.0, 1.0], made.ravel()]), own
