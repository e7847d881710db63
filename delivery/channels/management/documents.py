"""What is said of a channel's management in channels.yaml."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from playbooks.document import Document

# More requests at once than one process serves well, and than providers allow.
MOST_AT_ONCE: Final = 64


class Management(Document):
    """How a channel is used.

    `concurrency` is how many messages each process hands over at once.
    """

    concurrency: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 4


# Of channels that no file says anything of: they are in this very process, and take one after the other.
LOCAL: Final = Management(concurrency=1)
