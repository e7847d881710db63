"""Triggers that playbooks name and nobody defines."""

from __future__ import annotations

from collections.abc import Iterator

from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject
from playbooks.suggesting import closest

UNKNOWN = Code(
    "unknown-trigger", Severity.ERROR, "a playbook names a trigger that triggers.yaml does not have"
)
CODES = (UNKNOWN,)


def find(subject: Subject) -> Iterator[Finding]:
    """Yield playbooks that nothing starts."""
    for playbook in subject.draft.playbooks:
        if playbook.trigger is not None and playbook.trigger not in subject.triggers:
            yield UNKNOWN.in_playbook(
                playbook.id,
                "trigger",
                f"there is no trigger {playbook.trigger!r}{closest(playbook.trigger, subject.triggers)}",
                "define it in triggers.yaml",
            )
