"""Pairs of playbooks that are in each other's way for everybody: one is always outranked, or excluded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from audiences.rules.proofs import implies, mentioned
from audiences.rules.tree import Node
from playbooks.constraints.binding import LAYERS, Terms
from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject
from playbooks.lint.terms import terms_of
from playbooks.models import Playbook

OUTRANKED = Code(
    "always-outranked",
    Severity.WARNING,
    "whoever a playbook is for is also in one of higher priority at the same placement that nothing stops, "
    "so it never wins",
)
EXCLUDED = Code(
    "always-excluded",
    Severity.WARNING,
    "two playbooks of one exclusive group, at one placement and priority, are for the same users: each takes "
    "the other's place",
)
CODES = (OUTRANKED, EXCLUDED)

# Pairs of rules that are compared; of the pairs beyond, in a library of many hundreds, nothing is said.
_PROOFS = 20_000


def find(subject: Subject) -> Iterator[Finding]:
    """Yield pairs of playbooks that always collide."""
    covering = _Covering(subject)
    for rivals in _contests(subject.draft.playbooks):
        for one in rivals:
            above = (
                other
                for other in rivals
                if other.priority > one.priority and _never_stopped(terms_of(subject, other))
            )
            if not subject.is_fallback(one):
                yield from _outranked(covering, one, above)
        for one, other in combinations(rivals, 2):
            if one.priority == other.priority and _one_group(one, other) and covering.same(one, other):
                yield EXCLUDED.in_playbook(
                    one.id,
                    "exclusive_group",
                    f"it and {other.id!r} are for the same users and in the exclusive group "
                    f"{one.exclusive_group!r}: of each user only the one drawn first has a turn",
                    "make them variants of one playbook if they are to be compared, or part their audiences",
                )


def _contests(playbooks: Iterable[Playbook]) -> Iterable[Sequence[Playbook]]:
    """Return the playbooks that meet each other: of one placement, started by the same."""
    meeting: dict[tuple[str, str | None], list[Playbook]] = {}
    for playbook in playbooks:
        meeting.setdefault((playbook.placement, playbook.trigger), []).append(playbook)
    return meeting.values()


def _outranked(covering: _Covering, one: Playbook, above: Iterable[Playbook]) -> Iterator[Finding]:
    for other in above:
        if why := covering.why(one, other):
            yield OUTRANKED.in_playbook(
                one.id,
                "priority",
                f"{why} {other.id!r}, which has priority {other.priority} and nothing that stops it, so "
                f"this one with {one.priority} never wins",
                f"give both one priority, or give {other.id!r} a cap, a rule or a narrower audience",
            )
            # Another one that also outranks it would not be news.
            return


def _one_group(one: Playbook, other: Playbook) -> bool:
    return one.exclusive_group is not None and one.exclusive_group == other.exclusive_group


def _never_stopped(terms: Terms) -> bool:
    """Whether no constraint ever keeps a playbook from those it is for; its own rules are part of whom."""
    others = (terms.holds, terms.agreements, terms.after, terms.counted, terms.groups, terms.spends)
    layers = len(terms.conditions) - sum(getattr(terms.playbook.rules, one) is not None for one in LAYERS)
    return not any(others) and not layers and terms.playbook.pilot is None


class _Covering:
    """Whether whom one playbook is for are all among whom another is for."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._conditions = {one.id: subject.condition(one) for one in subject.draft.playbooks}
        self._mentioned = {
            name: mentioned(condition, subject.audience_rules)
            for name, condition in self._conditions.items()
            if condition is not None
        }
        self._proved: dict[tuple[Node, Node], bool] = {}

    def same(self, one: Playbook, other: Playbook) -> bool:
        """Whether two playbooks are for the same users."""
        return bool(self.why(one, other)) and bool(self.why(other, one))

    def why(self, one: Playbook, other: Playbook) -> str:
        """Say why everybody whom `one` is for is one whom `other` is for, '' if that is not known."""
        ours, theirs = self._conditions[one.id], self._conditions[other.id]
        if theirs is None:
            return "everybody is in"
        if ours is None:
            return ""
        if ours == theirs:
            return "the same users are in"
        if self._mentioned[one.id] & self._mentioned[other.id] and self._follows(ours, theirs):
            return "by their rules all its users are also in"
        return "all its users of now are also in" if self._now(one, other) else ""

    def _follows(self, ours: Node, theirs: Node) -> bool:
        if (ours, theirs) not in self._proved:
            if len(self._proved) >= _PROOFS:
                return False
            self._proved[ours, theirs] = implies(ours, theirs, self._subject.audience_rules)
        return self._proved[ours, theirs]

    def _now(self, one: Playbook, other: Playbook) -> bool:
        users = self._subject.users
        if users is None or one.audience is None or other.audience is None or self._subject.rules_of(other):
            return False
        return bool(users.size(one.audience)) and users.within(one.audience, other.audience) is True
