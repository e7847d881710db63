"""Variants that can't win, and variants that nobody can tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from playbooks.lint.conditions import arms_of
from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject
from playbooks.lint.terms import terms_of
from playbooks.models import Arm, Playbook

TWINS = Code(
    "twin-variants",
    Severity.WARNING,
    "two variants give the same offer with the same content on the same channel: what is learned of one is "
    "not learned of the other",
)
POWERLESS = Code(
    "unreachable-variant",
    Severity.WARNING,
    "a variant is always stopped, by a ceiling or a budget, or its playbook's weight is 0 and it never wins",
)
CODES = (TWINS, POWERLESS)


def find(subject: Subject) -> Iterator[Finding]:
    """Yield variants that are there for nothing."""
    for playbook in subject.draft.playbooks:
        arms = arms_of(subject, playbook)
        yield from _twins(playbook, arms)
        for one in terms_of(subject, playbook).spends:
            never = [arm.name for arm in arms if one.is_full(arm, 0)]
            if never:
                yield POWERLESS.in_playbook(
                    playbook.id,
                    "variants",
                    f"{', '.join(never)}: one use takes more than {one.rule} has in all",
                    "raise that limit, or take a cheaper offer",
                )
        if playbook.weight == 0 and not subject.is_fallback(playbook):
            yield POWERLESS.in_playbook(
                playbook.id,
                "weight",
                "with weight 0 none of its variants is ever worth more than doing nothing",
                "pause the playbook, or give it a weight above 0",
            )


def _twins(playbook: Playbook, arms: Sequence[Arm]) -> Iterator[Finding]:
    alike: dict[tuple[str, str, str], list[str]] = {}
    for arm in arms:
        alike.setdefault((arm.offer, arm.channel, arm.content), []).append(arm.name)
    for names in alike.values():
        if len(names) > 1:
            yield TWINS.in_playbook(
                playbook.id,
                "variants",
                f"{', '.join(names)} are the same offer, channel and content",
                "keep one of them",
            )
