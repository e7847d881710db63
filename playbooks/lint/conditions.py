"""For which variants a condition on events can be true at all: what an arm is stands in place of `arm.…`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from audiences.rules import Rule, RuleError
from audiences.rules.proofs import never
from playbooks.goals import parse_where
from playbooks.library.grid import expand
from playbooks.lint.subject import Subject
from playbooks.models import ARM_ATTRIBUTES, Arm, Playbook

_ARM = "arm."


def arms_of(subject: Subject, playbook: Playbook) -> tuple[Arm, ...]:
    """Return the arms of a playbook of the library."""
    return expand(playbook, subject.draft.offers)


def arms_never(subject: Subject, arms: Iterable[Arm], event: str, where: str | None) -> Sequence[Arm]:
    """Return the arms for which no event of a name can fulfil a condition."""
    rule = _parsed(subject, event, where)
    if rule is None:
        return ()
    asked = [name for name in rule.names if name.startswith(_ARM)]
    found: dict[tuple[str | None, ...], bool] = {}
    result = []
    for arm in arms:
        values = {name: arm.attributes.get(name.removeprefix(_ARM)) for name in asked}
        key = tuple(values.values())
        if key not in found:
            found[key] = never(rule.tree, values=values)
        if found[key]:
            result.append(arm)
    return result


def holds_of_no_arm(subject: Subject, playbook: Playbook, event: str, where: str | None) -> bool:
    """Whether no event of a name can fulfil a condition, whatever the arm."""
    arms = arms_of(subject, playbook)
    return bool(arms) and len(arms_never(subject, arms, event, where)) == len(arms)


def _parsed(subject: Subject, event: str, where: str | None) -> Rule | None:
    if where is None:
        return None
    attributes = {name for offer in subject.draft.offers.values() for name in offer.attributes}
    try:
        return parse_where(where, event, attributes | set(ARM_ATTRIBUTES))
    except RuleError:
        # For validation to say.
        return None
