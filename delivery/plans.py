"""What delivery needs of a playbook version: its compiled flow, its offers and its contents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from sqlalchemy import Connection

from audiences.rules import OneUser, RuleError, RuleValueError, Schema, compile_one, parse
from delivery.compiled import CompiledFlow, Condition, compile_flow
from delivery.errors import FlowBroken, UnknownVersion
from delivery.people.hours import Known
from playbooks.content.documents import Content
from playbooks.flow import Issue, Reentry
from playbooks.goals import matches, parse_where
from playbooks.library import VersionBody
from playbooks.library.repository import version_body
from playbooks.models import Arm, GivenTag
from playbooks.offers import Offer

# What rules may speak of where no features are: tags and audiences.
NOTHING = Schema({})


@dataclass(frozen=True)
class Plan:
    """One immutable playbook version, ready to run. `offers` and `contents` are by id.

    `transactional` messages go before all others.
    """

    playbook: str
    version: int
    flow: CompiledFlow
    offers: Mapping[str, Offer]
    contents: Mapping[str, Content]
    trigger: str | None = None
    transactional: bool = False
    reentry: Reentry | None = None
    tags: Sequence[GivenTag] = ()

    @cached_property
    def asks(self) -> bool:
        """Whether a run asks for the user: for rules, or for when the user's day ends that a coupon lasts."""
        issues = any(isinstance(state, Issue) for state in self.flow.states.values())
        days = any(one.validity.end_of_day is not None for one in self.offers.values())
        return self.flow.asks or (issues and days)

    @classmethod
    def of(
        cls, body: VersionBody, version: int, schema: Schema = NOTHING, hours: Known | None = None
    ) -> Plan:
        """Compile a published version; `schema` is what rules over users may speak of.

        `hours` say when people work.

        Raises:
            FlowBroken: a `where` names an event property that is not declared any more, or a rule a feature.
        """
        attributes = {name for arm in body.arms for name in arm.attributes}
        goal = body.playbook.goal
        try:
            flow = compile_flow(
                body.playbook.flow,
                lambda state: condition(state.where, state.event, attributes),
                lambda text: _rule(text, schema),
                playbook=body.playbook.id,
                goal=(goal.event, condition(goal.where, goal.event, attributes)),
                hours=hours,
            )
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
            body.playbook.purpose == "transactional",
            body.playbook.flow.reentry,
            body.playbook.tags,
        )


def _rule(text: str, schema: Schema) -> OneUser:
    return compile_one([parse(text, schema)])


def condition(where: str | None, event: str, attributes: Iterable[str]) -> Condition | None:
    """Compile a `where` on an event over these attributes of arms; None when there is none.

    An event whose properties are not of their declared types does not count.
    """
    if where is None:
        return None
    rule = parse_where(where, event, attributes)

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

    def __init__(self, schema: Schema = NOTHING, hours: Known | None = None) -> None:
        """`schema` is what rules over users may speak of, `hours` say when people work."""
        self._schema, self._hours = schema, hours
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
            plan = self._plans[playbook, version] = Plan.of(body, version, self._schema, self._hours)
        return plan
