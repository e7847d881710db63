"""Offers and contents that no playbook uses."""

from __future__ import annotations

from collections.abc import Iterator

from playbooks.library.grid import used_offers
from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject

OFFER = Code("unused-offer", Severity.NOTE, "no playbook gives an offer")
CONTENT = Code("unused-content", Severity.NOTE, "no playbook uses a content")
CODES = (OFFER, CONTENT)


def find(subject: Subject) -> Iterator[Finding]:
    """Yield what could be taken out of the library."""
    draft = subject.draft
    offers = {offer.id for one in draft.playbooks for offer in used_offers(one, draft.offers)}
    for name in draft.offers.keys() - offers:
        yield OFFER.at(f"offers/{name}", "", "no playbook gives it", "take it out, or name it in a variant")
    contents = {content.id for one in draft.playbooks for content in draft.body(one).contents}
    for name in draft.contents.keys() - contents:
        yield CONTENT.at(
            f"contents/{name}", "", "no playbook uses it", "take it out, or name it in a variant"
        )
