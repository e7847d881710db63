"""The message of an answer that is shown at once: the drawn arm's content, filled for the user."""

from __future__ import annotations

import msgspec
import structlog

from delivery.recipients import Occasion, Recipients, Strangers
from playbooks.content.filling import Contents
from playbooks.content.names import ARM, OFFER, USER_ID, names_of
from playbooks.decision import Decision
from playbooks.library import Library, PublishedPlaybook
from playbooks.models import OUTBOUND, Arm
from storage.errors import NextplayError

_log = structlog.get_logger(__name__)

# Contents that speak of nothing else are filled once for each arm; so many are kept.
_OF_NOBODY = frozenset((OFFER, ARM))
_KEPT = 10_000
_STRANGERS = Strangers()


class MessageShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a backend shows: subject, body, and their language. `problem` is why there is neither."""

    subject: str = ""
    body: str = ""
    language: str | None = None
    problem: str = ""


class InlineMessages:
    """Fills contents of versions that are served; each is parsed once."""

    def __init__(self, recipients: Recipients) -> None:
        self._recipients = recipients
        self._contents: dict[str, Contents] = {}
        # What says the same to everybody, by version and arm; and what does to whoever is not known.
        self._same: dict[tuple[str, str], MessageShown] = {}
        self._to_strangers: dict[tuple[str, str], MessageShown] = {}

    def to_stranger(self, playbook: PublishedPlaybook, arm: Arm, user_id: str) -> MessageShown:
        """Return the message of an arm to somebody of whom nothing is known, or looked up, but the id."""
        place = (playbook.key, arm.id)
        if (known := self._same.get(place) or self._to_strangers.get(place)) is not None:
            return known
        message, roots = self._filled(playbook, arm, user_id, _STRANGERS)
        if USER_ID not in roots:
            _keep(self._to_strangers, place, message)
        return message

    def of(self, playbook: PublishedPlaybook, arm: Arm, user_id: str) -> MessageShown:
        """Return the message of an arm; one that can't be filled for this user says why, the offer stays."""
        place = (playbook.key, arm.id)
        if (known := self._same.get(place)) is not None:
            return known
        message, roots = self._filled(playbook, arm, user_id, self._recipients)
        if not message.problem and roots <= _OF_NOBODY:
            _keep(self._same, place, message)
        return message

    def _filled(
        self, playbook: PublishedPlaybook, arm: Arm, user_id: str, recipients: Recipients
    ) -> tuple[MessageShown, frozenset[str]]:
        """Return a message, and what its content speaks of."""
        contents = self._contents.get(playbook.key)
        if contents is None:
            contents = self._contents[playbook.key] = Contents(playbook.contents)
        roots = frozenset[str]()
        try:
            occasion = Occasion(playbook.document.trigger, decision_id="")
            roots = contents.roots(arm.content)
            recipient = recipients.of(user_id, roots, occasion)
            names = names_of(playbook.offers[arm.offer], arm, recipient)
            text = contents.text(arm.content, arm.channel, recipient.language, names)
        except NextplayError as error:
            _log.warning("a content was not filled", playbook=playbook.key, content=arm.content)
            return MessageShown(problem=str(error)), roots
        return MessageShown(text.subject, text.body, text.language), roots


def _keep(kept: dict[tuple[str, str], MessageShown], place: tuple[str, str], message: MessageShown) -> None:
    if len(kept) >= _KEPT:
        kept.clear()
    kept[place] = message


def message_of(
    messages: InlineMessages | None, library: Library, decision: Decision | None
) -> MessageShown | None:
    """Return the message of what a decision gives where it is shown at once, None where it is not."""
    if messages is None or decision is None or decision.placement == OUTBOUND or not decision.gives:
        return None
    playbook = library.get(decision.playbook or "", decision.playbook_version or 0)
    fill = messages.of if decision.fallback is None else messages.to_stranger
    return fill(playbook, playbook.arm(decision.arm), decision.user_id)
