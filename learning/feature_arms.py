"""What arms by themselves make of features: places in vocabularies, numbers, and marks of who they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning.feature_columns import told_of
from playbooks.models import Arm

FloatArray = NDArray[np.float64]

# Arm lists that are remembered; users of one placement share a handful of them.
_REMEMBERED_LISTS = 1024


class OfArms(NamedTuple):
    """What a list of arms makes of the features by itself.

    `positions` in the vocabularies by attribute, numbers of attributes (features, arms), and the columns
    (columns, arms) with the marks of one-hot features and of steps.
    """

    arms: tuple[Arm, ...]
    positions: dict[str, NDArray[np.intp]]
    numbers: FloatArray
    constant: FloatArray


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
        self._remembered: dict[tuple[int, ...], OfArms] = {}

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

    def of(self, arms: Sequence[Arm], columns: int) -> OfArms:
        """Return what these arms make of the features, of which there are so many columns."""
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
        constant = np.zeros((columns, len(arms)))
        for start, attribute in self._one_hots:
            for arm, place in enumerate(positions[attribute]):
                if place < len(self._vocabularies[attribute]):
                    constant[start + place, arm] = 1.0
        for start, attribute in self._steps:
            for arm, place in enumerate(positions[attribute]):
                if place < len(self._vocabularies[attribute]):
                    constant[start : start + place, arm] = 1.0
        numbers = np.array([[told_of(arm, name) for arm in arms] for name in self._numbers])
        if len(self._remembered) >= _REMEMBERED_LISTS:
            self._remembered = {}
        made = OfArms(tuple(arms), positions, numbers.reshape(len(self._numbers), len(arms)), constant)
        self._remembered[key] = made
        return made
