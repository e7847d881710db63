"""What drafts may speak of: the offers and contents that were imported last."""

from __future__ import annotations

from sqlalchemy import Connection

from playbooks.content.documents import Content
from playbooks.library import repository
from playbooks.library.documents import Draft
from playbooks.models import Playbook
from playbooks.offers import Offer

OFFERS, CONTENTS = "offer", "content"


def with_shelf(connection: Connection, *playbooks: Playbook) -> Draft:
    """Return playbooks together with the offers and contents there are."""
    offers = [Offer.model_validate_json(body) for body in repository.documents(connection, OFFERS).values()]
    contents = [
        Content.model_validate_json(body) for body in repository.documents(connection, CONTENTS).values()
    ]
    return Draft(playbooks, {one.id: one for one in offers}, {one.id: one for one in contents})
