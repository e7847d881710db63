"""Fallbacks that are shown to people whom a rule would keep from them: it is not asked then."""

from __future__ import annotations

from collections.abc import Iterator

from playbooks.fallbacks import playbook_of
from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject
from playbooks.lint.terms import terms_of

UNASKED = Code(
    "fallback-unasked",
    Severity.WARNING,
    "a placement's fallback is under an eligibility rule or needs consent, and is shown without either being "
    "asked",
)
CODES = (UNASKED,)
_ELIGIBILITY = "eligibility."


def find(subject: Subject) -> Iterator[Finding]:
    """Yield fallbacks that not everybody should see."""
    documents = {one.id: one for one in subject.draft.playbooks}
    for placement, name in subject.fallbacks.items():
        playbook = documents.get(playbook_of(name))
        if playbook is None:
            continue
        terms = terms_of(subject, playbook)
        rules = [one.rule for one in terms.conditions if one.rule.startswith(_ELIGIBILITY)]
        rules += [one.rule for one in terms.agreements]
        if rules:
            yield UNASKED.in_playbook(
                playbook.id,
                "",
                f"it is the fallback of {placement}, shown without asking, and {rules[0]} is one to be asked",
                "name a playbook that everybody may see, or exempt this one from the rule",
            )
