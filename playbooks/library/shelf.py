"""What drafts may speak of: the offers, contents and windows that were imported last."""

from __future__ import annotations

from sqlalchemy import Connection

from playbooks.content.documents import Content
from playbooks.library import repository
from playbooks.library.documents import Draft
from playbooks.models import Playbook
from playbooks.offers import Offer
from playbooks.windows import Windows

OFFERS, CONTENTS, WINDOWS = "offer", "content", "windows"


def with_shelf(connection: Connection, *playbooks: Playbook) -> Draft:
    """Return playbooks together with the offers, contents and windows there are."""
    contents = [
        Content.model_validate_json(body) for body in repository.documents(connection, CONTENTS).values()
    ]
    return Draft(
        playbooks,
        offers_of(connection),
        {one.id: one for one in contents},
        windows_of(connection),
    )


def offers_of(connection: Connection) -> dict[str, Offer]:
    """Return the offers there are, by id."""
    kept = repository.documents(connection, OFFERS)
    return {name: Offer.model_validate_json(body) for name, body in kept.items()}


def windows_of(connection: Connection) -> Windows:
    """Return the windows that hold; none where no library ever said any."""
    kept = repository.documents(connection, WINDOWS)
    return Windows.model_validate_json(kept[WINDOWS]) if kept else Windows()
