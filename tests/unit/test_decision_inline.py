"""Messages of answers that are shown at once."""

from __future__ import annotations

from collections.abc import Set

from decision.inline import InlineMessages, MessageShown
from delivery.recipients import Occasion
from delivery.testing import arms_of, version_body
from playbooks.content.names import Recipient
from storage.errors import NextplayError


class Known:
    """Knows a city, or can't be asked."""

    def __init__(self, *, reachable: bool = True) -> None:
        self.reachable, self.asked = reachable, list[tuple[Set[str], Occasion]]()

    def of(self, user_id: str, roots: Set[str], occasion: Occasion) -> Recipient:
        self.asked.append((roots, occasion))
        if not self.reachable:
            raise NextplayError("nobody answers")
        return Recipient(user_id, user={"city": "Ulm"})


def message(body: str, known: Known) -> MessageShown:
    version = version_body(body=body)
    return InlineMessages(known).of(version.published(1), arms_of(version)["milk"], "ann")


def test_the_content_is_filled_for_the_user() -> None:
    known = Known()
    shown = message("{{ offer.name }} in {{ user.city }}", known)
    assert shown == MessageShown("10 % off milk for you", "10 % off milk in Ulm")
    assert known.asked == [(frozenset({"offer", "user"}), Occasion(None, ""))]


def test_what_can_not_be_filled_says_why() -> None:
    assert "user.town is not known" in message("{{ user.town }}", Known()).problem
    assert message("{{ user.city }}", Known(reachable=False)) == MessageShown(problem="nobody answers")
