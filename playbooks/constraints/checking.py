"""What is wrong with constraints: by themselves, and in what they name of the library around them; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from audiences.rules import RuleError, Schema, parse
from playbooks.constraints.binding import LAYERS
from playbooks.constraints.documents import (
    ConsentNeeded,
    Constraint,
    Fatigue,
    Group,
    Layer,
    Liability,
    MoneyBudget,
)
from playbooks.constraints.rulebook import with_context
from playbooks.constraints.scoping import Offered, cycle_in
from playbooks.models import Arm, Playbook
from playbooks.suggesting import closest

_HINT = (
    "constraints may ask for features of the service `decide`, tags, audiences and context.placement, "
    "context.hour, context.weekday, or what `context` of policy.yaml says; of what else there is make an "
    "audience and ask in_audience('…')"
)


@dataclass(frozen=True, slots=True)
class Names:
    """What constraints may name, by the field of a scope; `schema` is what their rules may speak of."""

    known: Mapping[str, Collection[str]]
    schema: Schema

    @classmethod
    def of(
        cls, playbooks: Sequence[Playbook], offers: Collection[str], channels: Collection[str], schema: Schema
    ) -> Names:
        """Return what there is of these playbooks."""
        return cls(
            {
                "playbooks": {one.id for one in playbooks},
                "labels": {label for one in playbooks for label in one.labels},
                "channels": channels,
                "offers": offers,
            },
            schema,
        )


def wrong_constraints(constraints: Sequence[Constraint]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the constraints for all playbooks by themselves, as (field, problem)."""
    groups = [one for one in constraints if isinstance(one, Group)]
    names = {one.id for one in groups}
    for place, one in enumerate(constraints):
        if isinstance(one, Group):
            for name in one.groups:
                if name not in names:
                    yield f"{place}.groups", f"there is no group {name!r}{closest(name, names)}"
    if cycle := cycle_in(groups):
        yield "", f"groups contain each other in a circle: {' → '.join(cycle)}; take one of them out"


def unknown_names(constraints: Sequence[Constraint], names: Names) -> Iterator[tuple[str, str]]:
    """Yield what constraints name that is not there, and rules that can't be read, as (field, problem)."""
    for place, one in enumerate(constraints):
        yield from ((f"{place}.{field}", problem) for field, problem in _unknown(one, names))


def unknown_in_playbook(playbook: Playbook, names: Names) -> Iterator[tuple[str, str]]:
    """Yield what the constraints and layers of a playbook name that is not there, as (field, problem)."""
    for place, one in enumerate(playbook.constraints):
        yield from ((f"constraints.{place}.{field}", problem) for field, problem in _unknown(one, names))
    for layer in LAYERS:
        if (text := getattr(playbook.rules, layer)) is not None:
            yield from _unreadable(f"rules.{layer}", text, names.schema)


def mixed_currencies(
    constraints: Sequence[Constraint], playbook: Playbook, arms: Sequence[Arm], *, own: bool = False
) -> Iterator[tuple[int, str]]:
    """Yield arms whose money a budget over them can't count, as (place of the budget, problem).

    Args:
        own: the constraints are those of the playbook itself.
    """
    offered = Offered.of(playbook, arms)
    for place, one in enumerate(constraints):
        if not isinstance(one, MoneyBudget | Liability):
            continue
        for arm in arms:
            if arm.currency and arm.currency != one.amount.currency and offered.covers(one, arm):
                whose = f"arm {arm.name}" if own else f"arm {arm.id}"
                yield (
                    place,
                    f"{whose} costs money in {arm.currency}, the amount is {one.amount}: a budget is of one "
                    "currency, take the arm out with `for` or `exempt`",
                )
                break


def _unknown(one: Constraint, names: Names) -> Iterator[tuple[str, str]]:
    if isinstance(one, Group):
        named = {"playbooks": one.playbooks, "labels": one.labels}
        yield from _not_there("", named, names)
        return
    for field, scope in (("for.", one.for_), ("exempt.", one.exempt)):
        yield from _not_there(field, scope.given, names)
    if isinstance(one, Fatigue):
        yield from _not_there("contacts.", one.contacts.given, names)
    if isinstance(one, ConsentNeeded):
        yield from _not_there("", {"channels": list(one.channels)} if _said(one) else {}, names)
    if isinstance(one, Layer):
        yield from _unreadable("rule", one.rule, names.schema)


def _said(one: ConsentNeeded) -> bool:
    """Whether the channels are written there; those that hold by default need not all exist."""
    return "channels" in one.model_fields_set


def _not_there(prefix: str, named: Mapping[str, Sequence[str]], names: Names) -> Iterator[tuple[str, str]]:
    for field, given in named.items():
        # Purposes are fixed, and wrong ones refused when they are read.
        known = names.known.get(field, given)
        for name in (one for one in given if one not in known):
            what = field.removesuffix("s")
            yield f"{prefix}{field}", f"there is no {what} {name!r}{closest(name, known)}"


def _unreadable(field: str, text: str, schema: Schema) -> Iterator[tuple[str, str]]:
    try:
        parse(text, with_context(schema))
    except RuleError as error:
        yield field, f"{error}; {_HINT}"
