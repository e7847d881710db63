"""Rehearses playbooks: plays a version or a draft over its audience as it is now, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import msgspec
import numpy as np

from audiences.triggers.definitions import Triggers
from decision.answers import FEATURES_MISSING
from decision.foresight.crowds import Crowds
from decision.foresight.inquiries import Inquiries
from decision.foresight.outlook import when_of
from delivery.recipients import Occasion, Recipients
from playbooks.content.filling import Contents, Text
from playbooks.content.names import names_of
from playbooks.decision import Decision
from playbooks.draws import digest_of
from playbooks.library import Library, PublishedPlaybook, VersionBody
from playbooks.library.lifecycle import SERVED, State
from playbooks.library.problems import refuse
from playbooks.library.service import LibraryService
from playbooks.matching import Request, Snapshot, decide, fall_back
from playbooks.models import DO_NOTHING, Arm
from playbooks.rehearsal.asking import Asker, Member, begun_by, rivals
from playbooks.rehearsal.crowd import Crowd
from playbooks.rehearsal.drawing import Draws, arm_shares, budgets_of, costs_of, shares_by
from playbooks.rehearsal.groups import IntArray
from playbooks.rehearsal.reach import Reach, Stops, reach_of
from playbooks.rehearsal.report import Audience, Example, Rehearsed, Stopped
from storage.clock import Clock
from storage.errors import NextplayError


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be rehearsed and how: a version (None: the one served, else the newest) or the draft.

    `sample` users who are left are asked about; `seed` draws them and `shown` examples of the audience.
    """

    playbook: str
    version: int | None = None
    draft: bool = False
    sample: int = 2_000
    shown: int = 5
    seed: str = "rehearsal"


class Rehearsals:
    """Rehearses against what one service serves."""

    def __init__(
        self,
        clock: Clock,
        library: LibraryService,
        served: Callable[[], Snapshot],
        crowds: Crowds,
        inquiries: Inquiries,
        recipients: Recipients,
        triggers: Triggers,
    ) -> None:
        """`served` is what decisions are made from now, `recipients` knows users for contents."""
        self._clock, self._library, self._served = clock, library, served
        self._crowds, self._inquiries = crowds, inquiries
        self._recipients, self._triggers = recipients, triggers

    def rehearse(self, wanted: Wanted) -> Rehearsed:
        """Play a playbook over its audience.

        Raises:
            UnknownPlaybook: there is no such playbook, version or draft.
            LibraryError: the draft does not fit, so that it could not be served.
        """
        now, snapshot = self._clock.now(), self._served()
        state, body, playbook = self._chosen(wanted, snapshot.library)
        library = _with(snapshot.library, playbook)
        if playbook.document.trigger is not None:
            library = begun_by(playbook.document.trigger, library)
        snapshot = replace(snapshot, library=library)
        placement, audience = playbook.document.placement, playbook.document.audience
        # Whom matching is asked about: those differ whom these playbooks tell apart.
        before = rivals(playbook, snapshot)
        crowd = self._crowds.read(audience, before, now)
        groups = crowd.groups(before, now)
        members = self._inquiries.members(crowd.names(groups.first), before.library, placement, now)
        asker = Asker(before, placement, now)
        answers = [asker.ask(member) for member in members]
        reach = reach_of(playbook, np.ones(crowd.size, dtype=np.bool_), groups, members, answers)
        play = _Play(snapshot, playbook, crowd, self._inquiries, now, wanted)
        sampled = play.decisions(np.flatnonzero(reach.is_left), wanted.sample, b"sample")
        draws = Draws.of(playbook, [decision for _, decision in sampled], reach.left)
        # All users share them, so whoever was read knows.
        levels = {key: level for one in members for key, level in one.circumstances.levels.items()}
        live = self._inquiries.memberships.live.get(audience) if audience is not None else None
        return Rehearsed(
            playbook=playbook.id,
            version=playbook.version or None,
            state=state.value,
            placement=placement,
            at=now,
            policy=snapshot.policy.version,
            audience=Audience(audience, reach.audience, now if audience is None else live and live.as_of),
            stopped=_stopped(reach),
            elsewhere=reach.elsewhere,
            left=reach.left,
            seed=wanted.seed,
            sampled=len(sampled),
            contacted=draws.contacted,
            others=draws.expected(draws.others),
            nothing=draws.expected(draws.nothing),
            unknown=draws.expected(draws.unknown),
            arms=list(arm_shares(playbook, reach, draws)),
            channels=list(shares_by(playbook, draws, lambda arm: arm.channel)),
            contents=list(shares_by(playbook, draws, lambda arm: arm.content)),
            costs=costs_of(playbook, reach, draws),
            budgets=list(budgets_of(playbook, snapshot.library.rules.terms(playbook), levels, draws, now)),
            when=when_of(playbook.document, self._triggers, now),
            examples=play.examples(_Texts(body, self._recipients)),
        )

    def _chosen(self, wanted: Wanted, library: Library) -> tuple[State, VersionBody, PublishedPlaybook]:
        """Return what is to be rehearsed: as it is served, or as it would be if it went live."""
        if wanted.draft:
            draft = self._library.draft(wanted.playbook)
            refuse(draft.problems, f"the draft of {wanted.playbook!r} can't be rehearsed")
            body = self._library.side(wanted.playbook, "draft")
            return State.DRAFT, body, body.published(0)
        standing, body = self._library.version(wanted.playbook, wanted.version)
        served = {one.key: one for one in library.playbooks}.get(f"{standing.playbook}@{standing.version}")
        if standing.state in SERVED and served is not None:
            return standing.state, body, served
        return standing.state, body, body.published(standing.version)


class _Texts:
    """What arms of a version say to users; of the event that a trigger will be on nothing is known yet."""

    def __init__(self, body: VersionBody, recipients: Recipients) -> None:
        self._offers, self._recipients = body.offers_by_id, recipients
        self._trigger = body.playbook.trigger
        self._contents = Contents({content.id: content for content in body.contents})

    def of(self, arm: Arm, user_id: str) -> Text:
        """Return a message.

        Raises:
            NextplayError: it can't be filled for the user.
        """
        occasion = Occasion(self._trigger, "")
        recipient = self._recipients.of(user_id, self._contents.roots(arm.content), occasion)
        names = names_of(self._offers[arm.offer], arm, recipient)
        return self._contents.text(arm.content, arm.channel, recipient.language, names)


class _Play:
    """Decisions about some users of a crowd, by the policy in charge; none is recorded."""

    def __init__(
        self,
        snapshot: Snapshot,
        playbook: PublishedPlaybook,
        crowd: Crowd,
        inquiries: Inquiries,
        now: datetime,
        wanted: Wanted,
    ) -> None:
        self._snapshot, self._playbook, self._crowd = snapshot, playbook, crowd
        self._inquiries, self._now, self._wanted = inquiries, now, wanted

    def decisions(self, places: IntArray, most: int, purpose: bytes) -> list[tuple[Member, Decision]]:
        """Draw at most so many users of some places by the seed, in the order of places, and decide."""
        seed = digest_of((self._wanted.seed, self._playbook.key), 16, purpose)
        chance = np.random.default_rng(int.from_bytes(seed))
        drawn = np.sort(chance.choice(places, size=min(most, len(places)), replace=False))
        members = self._inquiries.members(
            self._crowd.names(drawn), self._snapshot.library, self._playbook.document.placement, self._now
        )
        return [(member, self._decide(member)) for member in members]

    def examples(self, texts: _Texts) -> list[Example]:
        """Show some users of the audience, each with what the user would get."""
        shown = self.decisions(np.arange(self._crowd.size), self._wanted.shown, b"shown")
        return [self._example(member, decision, texts) for member, decision in shown]

    def _decide(self, member: Member) -> Decision:
        placement = self._playbook.document.placement
        asked = Request("", member.user_id, placement, self._wanted.seed)
        if member.missing:
            return fall_back(self._snapshot, asked, self._now, FEATURES_MISSING)
        return decide(
            self._snapshot,
            asked,
            features=member.features,
            audiences=member.audiences,
            circumstances=member.circumstances,
            now=self._now,
        )

    def _example(self, member: Member, decision: Decision, texts: _Texts) -> Example:
        if decision.fallback is not None:
            return Example(member.user_id, why="no features of the user are known, or all are too old")
        if decision.arm == DO_NOTHING:
            return self._nothing(member, decision)
        if decision.playbook != self._playbook.id:
            return Example(member.user_id, decision.arm, decision.propensity, why="another playbook is drawn")
        try:
            text = texts.of(self._playbook.arm(decision.arm), member.user_id)
        except NextplayError as error:
            return Example(member.user_id, decision.arm, decision.propensity, problem=str(error))
        return Example(member.user_id, decision.arm, decision.propensity, text.subject, text.body)

    def _nothing(self, member: Member, decision: Decision) -> Example:
        stops = Stops(self._playbook.id, decision.suppressed).all
        if stops and not any(arm.partition("/")[0] == self._playbook.id for arm in decision.arms):
            return Example(member.user_id, stopped_by=stops, why="stopped by rules")
        return Example(member.user_id, DO_NOTHING, decision.propensity, why="doing nothing is drawn")


def _with(library: Library, playbook: PublishedPlaybook) -> Library:
    """Return the library in which a playbook is served; if it is not yet, instead of its other versions."""
    if playbook in library.playbooks:
        return library
    others = [one for one in library.playbooks if one.id != playbook.id]
    listed = sorted([*others, playbook], key=lambda one: (one.id, one.version))
    return replace(library, playbooks=tuple(listed))


def _stopped(reach: Reach) -> list[Stopped]:
    rules = reach.stopped.keys() | reach.partly.keys()
    found = [Stopped(rule, reach.stopped.get(rule, 0), reach.partly.get(rule, 0)) for rule in rules]
    return sorted(found, key=lambda one: (-one.users, -one.partly, one.rule))
