"""The job `learn`: folds newly matured rewards into the policy in charge and publishes the next version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection

from audiences.identity.people import EveryoneAlone, People
from learning import outcome_repository, version_repository
from learning.features import FeatureSet
from learning.judging import Judging
from learning.learner import Learner, Learnt
from learning.lessons import Lessons, Page
from learning.models import ValueModel, model_from_bytes
from learning.open_windows import EARLY, SHARE, Early, OpenWindows, without_early
from learning.outcome_repository import Waiting
from learning.rows import Rows
from learning.shards import InProcesses, Shard, Sharing, parts
from learning.spec import PolicySpec
from learning.succession import Succeeded
from learning.tally import Tally
from learning.versions import PolicyVersion, child, cold_start
from storage.engine import Database
from storage.faultpoints import reached

# All is learnt anew when so large a part of what was learnt is corrected, or a correction waits so long.
_MANY = 0.01
_LONG = timedelta(hours=1)
# Pages that a shard has at least: of fewer, starting and merging costs more than it saves.
_WORTH = 4


@dataclass(frozen=True, slots=True)
class Start:
    """Where folding begins: after which reward, with what was learnt.

    Rewards count as they were first recorded; with `corrected` as facts up to this `seq` corrected them.
    """

    position: int
    state: bytes | None
    corrected: int | None = None


class Folded(NamedTuple):
    """What was learnt up to the reward with the `seq` `through`: sums of the rows, and in how many shards."""

    through: int
    tally: Tally
    learnt: Learnt
    shards: int = 1


class Training:
    """Owns the learner of one policy and publishes its versions."""

    def __init__(
        self,
        database: Database,
        spec: PolicySpec,
        vocabularies: Mapping[str, Sequence[str]],
        people: People | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        """Prepare to train the policy of `spec`.

        Args:
            vocabularies: names by arm attribute.
            people: says who is one person, whose outcomes count for each other; without it nobody is.
            sharing: learns many rewards in shards, where models merge; closed with the training.

        Raises:
            PolicySpecError: features and vocabularies or prior do not fit together.
        """
        self._database = database
        self._spec = spec
        self._vocabularies = vocabularies
        self._features = FeatureSet(spec.features, vocabularies)
        self._sharing = sharing
        task = spec.task(self._features.names)
        # None: the policy draws by fixed shares and has nothing to learn.
        self.learner: Learner | None = spec.learner.start(task) if spec.learner is not None else None
        self._lessons = Lessons(database, spec, self._features)
        self._open: OpenWindows | None = None
        if spec.open_windows == "learn":
            judging = Judging(database, people or EveryoneAlone())
            self._open = OpenWindows(database, spec, judging, self._lessons)

    @property
    def policy(self) -> str:
        """The id of the policy it trains."""
        return self._spec.id

    def in_charge(self, now: datetime) -> PolicyVersion:
        """Return the version in charge; publish one that serves the prior when there is none to go on from.

        A changed specification or vocabulary starts anew from its prior, since weights of other columns
        mean nothing, and learns from all rewards there are.
        """
        with self._database.read() as connection:
            latest = version_repository.latest_version(connection, self._spec.id)
            number = version_repository.next_number(connection, self._spec.id)
        if latest is not None and self._continues(latest):
            return latest
        first = cold_start(self._spec, self._vocabularies, now, after=latest).numbered(number)
        self._database.write(lambda c: version_repository.insert_version(c, first, now), rows=2)
        return first

    def learn(self, now: datetime) -> PolicyVersion:
        """Learn from the rewards that matured since the version in charge and publish what comes out.

        Deterministic: equal rewards and decisions give equal weights. Whatever goes wrong, the version in
        charge stays and the rewards are learnt at the next call. Rewards that were corrected after they had
        been learnt are not added to what was learnt of them: all is learnt anew, from the first reward on, as
        soon as the corrections are one in a hundred of it or wait for an hour.

        With `open_windows: learn` the version also serves what decisions of open windows teach, weighed for
        what is still to come. That leaves no state behind: when they close they are learnt whole.

        Returns:
            The version in charge now: the last one before when nothing new is known or the policy is fixed.

        Raises:
            InvalidRows: a reward lies outside the bounds of the specification.
            LearnerLost: the learner's process can't be kept alive.
            BrokenWeights: what was learnt is not finite; nothing was published.
            VersionTaken: somebody else published meanwhile.
        """
        version = self.in_charge(now)
        if self.learner is None:
            return version
        # Known before anything is learnt, so that whoever publishes meanwhile is noticed.
        with self._database.read() as connection:
            number = version_repository.next_number(connection, self._spec.id)
            waiting = outcome_repository.corrections_after(connection, version.corrected, version.through)
        before = settled_model(self.learner, version)
        anew = _is_due(waiting, version, now)
        start = Start(0, None, waiting.last) if anew else Start(version.through, version.state)
        tally, trained, learnt, position = Tally(), 0 if anew else version.trained, None, start.position
        changes: list[Succeeded] = []
        shards = 1
        # Rows are judged that are new to the model in charge, so its error on them is an honest one.
        for folded in self.folds(start, judged=(before, version.through)):
            tally.take(folded.tally)
            trained += folded.tally.rows
            changes += folded.learnt.changes
            position, learnt, shards = folded.through, folded.learnt, folded.shards
        early = self._early(trained, now)
        if learnt is None and (early is None or early.is_told_by(version.metrics)):
            return version
        if learnt is None:
            learnt, anew = Learnt(before, version.state or b"", version.member), False
            trained, position = version.trained, version.through
        metrics = tally.metrics() if tally.judged else without_early(version.metrics)
        following = child(
            version,
            learnt if early is None else self._served(learnt, early),
            trained=trained,
            through=position,
            metrics=metrics if early is None else metrics | early.metrics,
            now=now,
            corrected=waiting.last if anew else version.corrected,
            anew=anew,
            shards=shards,
        ).numbered(number)
        reached("learn.folded")
        self._publish(following, version, changes, now)
        reached("learn.published")
        return following

    def _early(self, trained: int, now: datetime) -> Early | None:
        """Return what open windows teach, None where nothing is learnt of them."""
        if self._open is None or self._spec.learner is None:
            return None
        return self._open.look(now, fewest=SHARE * min(trained, self._spec.learner.memory))

    def _served(self, learnt: Learnt, early: Early) -> Learnt:
        """Return what was learnt with the model that open windows make of it; they leave no state behind."""
        if self.learner is None or not len(early.rows):
            return learnt
        served = self.learner.fold(learnt.state or None, early.rows)
        # Who is in charge of a portfolio changes by rewards that are known whole.
        return replace(learnt, model=served.model) if served.member == learnt.member else learnt

    def _publish(
        self, new: PolicyVersion, before: PolicyVersion, changes: Sequence[Succeeded], now: datetime
    ) -> None:
        with self._database.read() as reading:
            row = version_repository.packed(reading, new)

        def write(connection: Connection) -> None:
            version_repository.insert_version(connection, new, now, row)
            if new.member != before.member:
                evidence = changes[-1] if changes else None
                why = _why(evidence)
                version_repository.tell_of_member(
                    connection, new, before.member, now, by="learning", why=why, evidence=evidence
                )

        self._database.write(write, rows=3)

    def folds(
        self,
        start: Start,
        until: int | None = None,
        *,
        judged: tuple[ValueModel, int] | None = None,
        shards: int | None = None,
    ) -> Iterator[Folded]:
        """Fold rewards in their order; yields what was learnt so far, piece by piece.

        Where models merge and there is much to learn, it is learnt in shards at a time and yielded at once.

        Args:
            until: the `seq` of the last reward; the last there is without it.
            judged: a model, and the reward after which rewards are new to it: how well it predicts them.
            shards: in how many parts; by default as many as there may be, where that is worth it.

        Raises:
            InvalidRows, LearnerLost, BrokenWeights: as `learn`.
        """
        if self.learner is None:
            return
        pages = self._lessons.pages(start.position, until, start.corrected)
        number = self._worth(len(pages)) if shards is None else shards
        if number > 1:
            yield from self._shared(start, pages, number, judged)
            return
        state = start.state
        for last, rows in self._lessons.batches(pages):
            tally = Tally()
            new = judged is not None and last > judged[1]
            tally.add(rows, judged[0].predict(rows.matrix) if judged is not None and new else None)
            learnt = self.learner.fold(state, rows)
            state = learnt.state
            yield Folded(last, tally, learnt)

    def _worth(self, pages: int) -> int:
        """Return in how many shards so many pages are worth to be learnt."""
        if self._sharing is None or self._spec.learner is None or not self._spec.learner.merges:
            return 1
        return max(1, min(self._sharing.number, pages // _WORTH))

    def _shared(
        self, start: Start, pages: Sequence[Page], number: int, judged: tuple[ValueModel, int] | None
    ) -> Iterator[Folded]:
        if self.learner is None or not pages:
            return
        if self._sharing is None:
            self._sharing = InProcesses(number)
        model, after = judged or (self._spec.untrained(self._features.names), pages[-1].seqs[-1])
        shards = [
            Shard(
                url=self._database.url.render_as_string(hide_password=False),
                spec=self._spec.model_dump_json(by_alias=True).encode(),
                vocabularies=self._vocabularies,
                pages=part,
                state=start.state,
                model=model.to_bytes(),
                judged_after=after,
            )
            for part in parts(pages, number)
        ]
        tally = Tally()
        states: list[bytes] = []
        for taught in self._sharing.teach(shards):
            tally.take(taught.tally)
            if taught.state is not None:
                states.append(taught.state)
        if states:
            yield Folded(pages[-1].seqs[-1], tally, self.learner.merge(start.state, states), number)

    def close(self) -> None:
        """Let go of the learner's processes."""
        if self.learner is not None:
            self.learner.close()
        if self._sharing is not None:
            self._sharing.close()

    def _continues(self, version: PolicyVersion) -> bool:
        vocabularies = {key: list(names) for key, names in self._vocabularies.items()}
        return version.spec_hash == self._spec.fingerprint and version.vocabularies == vocabularies


def settled_model(learner: Learner, version: PolicyVersion) -> ValueModel:
    """Return the model of what a version learnt of closed windows alone.

    Raises:
        BrokenWeights, LearnerLost: as `Learner.fold`.
    """
    if not version.metrics.get(EARLY):
        return model_from_bytes(version.model)
    columns = len(version.task().names)
    nothing = Rows(np.zeros((0, columns)), np.zeros(0), np.zeros(0), np.zeros(0))
    return learner.fold(version.state, nothing).model


def _is_due(waiting: Waiting, version: PolicyVersion, now: datetime) -> bool:
    if waiting.since is None:
        return False
    return waiting.number >= _MANY * version.trained or now - waiting.since >= _LONG


def _why(evidence: Succeeded | None) -> str:
    if evidence is None:
        return "with the corrected rewards no other member has shown to predict better"
    return (
        f"predicts better than {evidence.former}: odds of {evidence.odds:.3g} to 1 after {evidence.rounds:,} "
        f"rewards, and {evidence.needed:.3g} were needed"
    )
