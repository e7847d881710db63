"""Messages before they go out: previews for somebody, and proofs to the seeds of the library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from decision.errors import ProofsRefused
from delivery.channels.channel import Channel
from delivery.errors import NotHandedOver
from delivery.models import Message
from delivery.recipients import Occasion, Recipients
from playbooks.content.filling import LANGUAGE
from playbooks.content.names import Recipient, Vocabulary, sample
from playbooks.content.preview import Preview, completed, names_in, previews, roots_of
from playbooks.controls import rule_of
from playbooks.controls.repository import in_force
from playbooks.insiders import Insiders
from playbooks.library.documents import VersionBody
from playbooks.library.service import LibraryService
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact

# More than these are sent by nobody on purpose, and none of them is read.
MAX_PROOFS = 500
_LABEL = "proof"


class Previewed(msgspec.Struct, frozen=True):
    """The messages of a playbook as one user would get them.

    `language` is the user's, `assumed` what nobody knows of the user and was taken from the sample.
    """

    playbook: str
    shown: str
    user_id: str
    language: str | None
    assumed: Sequence[str]
    messages: Sequence[Preview]


class Proof(msgspec.Struct, frozen=True):
    """A message as a seed got it; `problem` is why it was not sent."""

    user_id: str
    variant: str
    channel: str
    language: str | None
    subject: str
    problem: str = ""


class ProofFact(msgspec.Struct, frozen=True):
    """Body of the change fact that proofs leave: which version, who asked, how many went out and did not."""

    playbook: str
    shown: str
    by: str
    seeds: int
    sent: int
    failed: int


class Previews:
    """Shows and sends what is not yet for everybody."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        library: LibraryService,
        vocabulary: Vocabulary,
        recipients: Recipients | None = None,
        canonical: Callable[[str], str] = str,
        channels: Mapping[str, Channel] | None = None,
    ) -> None:
        """Without `recipients` there is nobody but the sample. `canonical` finds a user, or says why not."""
        self._database, self._clock, self._library = database, clock, library
        self._vocabulary, self._recipients = vocabulary, recipients
        self._canonical, self._channels = canonical, channels or {}

    def preview(
        self, playbook: str, side: str, user_id: str | None = None, languages: Sequence[str] = ()
    ) -> Previewed:
        """Return what somebody would get; without a user, somebody of whom everything is known.

        Args:
            side: `draft`, `served`, or the number of a version.
            languages: to show it in; none: all that the version speaks.

        Raises:
            UnknownPlaybook, UnknownUser: there is none.
        """
        body = self._library.side(playbook, side)
        example, assumed = sample(self._vocabulary), list[str]()
        if user_id is None:
            somebody = example
        else:
            somebody = self._recipient(body, self._canonical(user_id))
            # Which event it will be is known when the trigger fires.
            known = msgspec.structs.replace(example, user={}, trait={}, account={})
            somebody, assumed = completed(somebody, known)
        messages = list(previews(body, somebody, languages))
        used = names_in(body)
        return Previewed(
            playbook=playbook,
            shown=side,
            user_id=somebody.user_id,
            language=somebody.language,
            assumed=[one for one in assumed if one in used],
            messages=messages,
        )

    def prove(
        self, playbook: str, side: str, insiders: Insiders, by: str, variants: Sequence[str] = ()
    ) -> list[Proof]:
        """Send every message of a playbook to each seed, in the seed's languages; tell what became of it.

        What nobody knows of a seed is filled from the sample. Proofs go past constraints, though not past
        what an operator has stopped; they enrol nobody and are no messages in reports; a change fact says
        that they went out.

        Args:
            variants: only of these.

        Raises:
            UnknownPlaybook: there is none.
            ProofsRefused: there are no seeds, no such variant, or too many messages.
        """
        body = self._library.side(playbook, side)
        messages = self._proofs(body, insiders, variants)
        if len(messages) > MAX_PROOFS:
            raise ProofsRefused(
                f"these are {len(messages)} messages, at most {MAX_PROOFS} go out at once: name some variants"
            )
        now, of = self._clock.now(), new_id(self._clock.now())
        with self._database.read() as connection:
            controls = in_force(connection)
        proofs = []
        for number, (user_id, one) in enumerate(messages):
            stopped = controls.of_send(playbook, user_id, one.channel, now)
            proofs.append(
                self._send(f"proof:{of}:{number}", user_id, one, f"[proof {playbook} {one.variant}] ")
                if stopped is None
                else _proof(user_id, one, f"{rule_of(stopped)} stops it")
            )
        sent = sum(not one.problem for one in proofs)
        fact = ProofFact(playbook, side, by, len(insiders.seeds), sent, len(proofs) - sent)
        self._database.write(
            lambda c: ledger.append(c, [NewFact(Kind.CHANGE, of, _LABEL, None, now, fact)], now), rows=1
        )
        return proofs

    def _proofs(
        self, body: VersionBody, insiders: Insiders, variants: Sequence[str]
    ) -> list[tuple[str, Preview]]:
        if not insiders.seeds:
            raise ProofsRefused("the library has no seeds: name some in test_users.yaml, under `seeds`")
        there = [arm.name for arm in body.arms]
        if missing := sorted(set(variants) - set(there)):
            raise ProofsRefused(f"there is no variant {missing[0]!r}; there are {', '.join(there)}")
        example = sample(self._vocabulary)
        messages = []
        for seed in insiders.seeds:
            somebody, _ = completed(self._recipient(body, seed.user_id), example)
            messages += [
                (seed.user_id, one)
                for one in previews(body, somebody, seed.languages)
                if not variants or one.variant in variants
            ]
        return messages

    def _recipient(self, body: VersionBody, user_id: str) -> Recipient:
        if self._recipients is None:
            return Recipient(user_id)
        occasion = Occasion(body.playbook.trigger, "")
        return self._recipients.of(user_id, roots_of(body) | {LANGUAGE}, occasion)

    def _send(self, key: str, user_id: str, one: Preview, marked: str) -> Proof:
        if one.problem:
            return _proof(user_id, one, one.problem)
        channel = self._channels.get(one.channel)
        if channel is None:
            there = ", ".join(sorted(self._channels))
            return _proof(user_id, one, f"there is no channel {one.channel!r}; there are {there}")
        message = Message(key, user_id, marked + one.subject, one.body, self._clock.now())
        try:
            channel.send(message)
        except NotHandedOver as error:
            return _proof(user_id, one, str(error))
        return _proof(user_id, one)


def _proof(user_id: str, one: Preview, problem: str = "") -> Proof:
    return Proof(user_id, one.variant, one.channel, one.language, one.subject, problem)
