"""The constraints that a playbook is under, as the library that lint looks at has them."""

from __future__ import annotations

from playbooks.constraints.binding import Terms
from playbooks.library.grid import used_offers
from playbooks.library.values import with_values
from playbooks.lint.conditions import arms_of
from playbooks.lint.subject import Subject
from playbooks.models import Playbook


def terms_of(subject: Subject, playbook: Playbook) -> Terms:
    """Return the terms of a playbook."""
    own = {one.id: one for one in used_offers(playbook, subject.draft.offers)}
    offers = tuple(with_values(playbook, own).values())
    constraints = subject.draft.constraints or ()
    return Terms(playbook, arms_of(subject, playbook), constraints, subject.known, offers=offers)
