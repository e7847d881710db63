"""What a decider needs around it, in its simplest form, and playbooks to decide on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
from sqlalchemy import Connection

from audiences.features import Features
from playbooks.constraints.documents import Cap
from playbooks.decision import Decision
from playbooks.flow import Flow
from playbooks.goal_documents import Goal
from playbooks.models import Arm, Playbook, VariantSet
from playbooks.policy import FloatArray, Stakes

WEEK = timedelta(days=7)


class Even:
    """A policy to which all arms are equal."""

    version = "even@1"
    inputs: frozenset[str] = frozenset()

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        return np.ones(len(arms))

    def deviations(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray | None:
        return None

    def explore(self, stakes: Stakes) -> FloatArray:
        vector = np.zeros(len(stakes.values))
        # "Do nothing" is last and never drawn while there is another.
        vector[: max(1, len(vector) - 1)] = 1 / max(1, len(vector) - 1)
        return vector


class Known:
    """Features of users of whom all that is known is that they exist."""

    types: Mapping[str, Any] = MappingProxyType({})

    def read(self, user_id: str) -> Features:
        return Features({}, missing=False, as_of=None)

    def read_many(self, user_ids: Sequence[str]) -> list[Features]:
        return [self.read(user) for user in user_ids]


class Everywhere:
    def of(self, user_id: str) -> frozenset[str]:
        return frozenset()


class Started:
    def refuses(self, connection: Connection, decision: Decision, arm: Arm) -> str | None:
        return None

    def start(self, connection: Connection, decided: Sequence[tuple[Decision, Arm]]) -> None:
        return None


def playbook(name: str, *caps: Cap, priority: int = 0) -> Playbook:
    return Playbook(
        id=name,
        name=name,
        placement="home",
        priority=priority,
        goal=Goal(event="order_completed", window=WEEK),
        variants=[VariantSet(group="g", channel="mailbox", content="notice")],
        constraints=list(caps),
        flow=Flow.model_validate({"start": "x", "states": {"x": {"kind": "end", "result": "r"}}}),
    )
