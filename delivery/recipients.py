"""Who a message is for, as contents may speak of them; whoever stands above knows users."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

import msgspec

from playbooks.content.names import Recipient


class Occasion(msgspec.Struct, frozen=True, gc=False):
    """Why a user gets a message: the playbook's trigger, if it has one, the decision, and the run it began.

    Without a recorded decision it is that of this moment.
    """

    trigger: str | None
    decision_id: str
    run: str = ""


class Recipients(Protocol):
    """Tells of users what contents speak of."""

    def of(self, user_id: str, roots: Set[str], occasion: Occasion) -> Recipient:
        """Return a user with the language they read, and what the `roots` of a content name.

        Args:
            roots: `user`, `trait`, `account`, `trigger`, `coupon`, and `language` where contents are worded
                in several; of others nothing needs to be known.

        Raises:
            NextplayError: it can't be read; `retry` says whether it may be later.
        """
        ...


class Strangers:
    """Knows nothing of anybody but the id."""

    def of(self, user_id: str, roots: Set[str], occasion: Occasion) -> Recipient:
        return Recipient(user_id)
