"""Rules that match nobody: by themselves, with the audience they go with, or of users as they are."""

from __future__ import annotations

from collections.abc import Iterator

from audiences.rules.proofs import never
from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject

CONTRADICTION = Code(
    "contradiction",
    Severity.ERROR,
    "a rule, or a playbook's rules and audience together, can't be true of any user",
)
NOBODY = Code(
    "nobody", Severity.WARNING, "an audience is empty, or a playbook's rule holds for no user there is now"
)
CODES = (CONTRADICTION, NOBODY)


def find(subject: Subject) -> Iterator[Finding]:
    """Yield rules that match nobody."""
    yield from _audiences(subject)
    yield from _playbooks(subject)


def _audiences(subject: Subject) -> Iterator[Finding]:
    used = {playbook.audience for playbook in subject.draft.playbooks}
    for name, rule in subject.definitions.rules.items():
        if never(rule.tree, subject.audience_rules):
            yield CONTRADICTION.at(
                f"audiences/{name}",
                "rule",
                f"{rule.text!r} can't be true of anybody",
                "look for two conditions that exclude each other",
            )
        elif subject.users is not None and name in used and subject.users.size(name) == 0:
            yield NOBODY.at(
                f"audiences/{name}",
                "",
                "nobody is in it, and a playbook is for it",
                "see whether the rule is meant so: `nextplay audiences test` judges it by labelled users",
            )


def _playbooks(subject: Subject) -> Iterator[Finding]:
    for playbook in subject.draft.playbooks:
        rules = subject.rules_of(playbook)
        alone = [layer for layer, rule in rules.items() if never(rule.tree, subject.audience_rules)]
        for layer in alone:
            yield CONTRADICTION.in_playbook(
                playbook.id,
                f"rules.{layer}",
                f"{rules[layer].text!r} can't be true of anybody",
                "look for two conditions that exclude each other",
            )
        condition = subject.condition(playbook)
        if alone or condition is None:
            continue
        if rules and never(condition, subject.audience_rules):
            if playbook.audience is not None and subject.audience_is_empty(playbook.audience):
                continue
            yield CONTRADICTION.in_playbook(
                playbook.id,
                "rules",
                f"no user in the audience {playbook.audience!r} can pass the rules"
                if playbook.audience is not None
                else "the rules can't all be true of one user",
                "loosen one of them, or take another audience",
            )
            continue
        for layer, rule in rules.items():
            if subject.users is not None and subject.users.selected(rule) == 0:
                yield NOBODY.in_playbook(
                    playbook.id,
                    f"rules.{layer}",
                    f"{rule.text!r} holds for nobody now",
                    "compare its numbers with what users have; `nextplay playbooks rehearse` counts them",
                )
