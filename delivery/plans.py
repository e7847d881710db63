"""What delivery needs of a playbook version: its compiled flow, its offers and its contents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from audiences.rules import RuleError, RuleValueError
from delivery.errors import FlowBroken, UnknownVersion
from delivery.flow import CompiledFlow, Condition, compile_flow
from playbooks.content.documents import Content
from playbooks.flow import WaitForEvent
from playbooks.goals import matches, parse_where
from playbooks.library import VersionBody
from playbooks.library.repository import version_body
from playbooks.models import Arm
from playbooks.offers import Offer


@dataclass(frozen=True, slots=True)
class Plan:
    """One immutable playbook version, ready to run. `offers` and `contents` are by id."""

    playbook: str
    version: int
    flow: CompiledFlow
    offers: Mapping[str, Offer]
    contents: Mapping[str, Content]
    trigger: str | None = None

    @classmethod
    def of(cls, body: VersionBody, version: int) -> Plan:
        """Compile a published version.

        Raises:
            FlowBroken: a `where` names an event property that is not declared any more.
        """
        attributes = {name for arm in body.arms for name in arm.attributes}
        try:
            flow = compile_flow(body.playbook.flow, lambda state: condition(state, attributes))
        except RuleError as error:
            raise FlowBroken(
                f"version {version} of the playbook {body.playbook.id!r} can't be run: {error}"
            ) from error
        return cls(
            body.playbook.id,
            version,
            flow,
            body.offers_by_id,
            {content.id: content for content in body.contents},
            body.playbook.trigger,
        )


def condition(state: WaitForEvent, attributes: Iterable[str]) -> Condition | None:
    """Compile the `where` of a state over these attributes of its arms; None when it has none.

    An event whose properties are not of their declared types does not count.
    """
    if state.where is None:
        return None
    rule = parse_where(state.where, state.event, attributes)

    def counts(properties: Mapping[str, Any], arm: Arm) -> bool:
        try:
            return matches(rule, properties, arm)
        except RuleValueError:
            return False

    return counts


class Plans(Protocol):
    """Finds the plan an enrolment pins."""

    def find(self, connection: Connection, playbook: str, version: int) -> Plan:
        """Return a plan, always the same for the same version.

        Raises:
            UnknownVersion: the library never published it.
        """
        ...


class PublishedPlans:
    """The plans of all versions the library ever published; each is read and compiled once."""

    def __init__(self) -> None:
        self._plans: dict[tuple[str, int], Plan] = {}

    def find(self, connection: Connection, playbook: str, version: int) -> Plan:
        plan = self._plans.get((playbook, version))
        if plan is None:
            body = version_body(connection, playbook, version)
            if body is None:
                raise UnknownVersion(
                    f"the library has no version {version} of the playbook {playbook!r}; "
                    "import the library that published it"
                )
            plan = self._plans[playbook, version] = Plan.of(body, version)
        return plan
