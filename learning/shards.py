"""Learning in shards: processes, or tasks of Ray, learn a range of the rewards each, and that merges."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol

import msgspec

from audiences.selection.cluster import joined
from learning import errors
from learning.features import FeatureSet
from learning.frames import read_frame, write_frame
from learning.learner import Learner
from learning.lessons import Lessons, Page
from learning.models import model_from_bytes
from learning.spec import PolicySpec
from learning.tally import Tally
from storage.engine import Reader

# Processes that die this often over the same rewards will not get through them.
_ATTEMPTS = 3


class Shard(msgspec.Struct, tag=True, frozen=True):
    """A range of rewards to learn on top of a state (None: the prior).

    Pages that end after the reward `judged_after` are new to the `model` in charge: its errors on them count.
    """

    url: str
    spec: bytes
    vocabularies: Mapping[str, Sequence[str]]
    pages: Sequence[Page]
    state: bytes | None
    model: bytes
    judged_after: int


class Taught(msgspec.Struct, tag=True, frozen=True):
    """What was learnt of a shard; None: there was nothing to learn."""

    state: bytes | None
    tally: Tally


class Failed(msgspec.Struct, tag=True, frozen=True):
    """A shard that can't be learnt: the kind of the error, as `learning.errors` names it, and why."""

    kind: str
    reason: str


def parts(pages: Sequence[Page], number: int) -> list[Sequence[Page]]:
    """Return pages in as many runs, about equally long, those without any left out."""
    ends = [len(pages) * place // number for place in range(number + 1)]
    return [pages[start:end] for start, end in pairwise(ends) if start < end]


def teach(shard: Shard) -> Taught:
    """Learn a shard, in whichever process this is.

    Raises:
        InvalidRows, LearnerLost, BrokenWeights, UnknownPlan: as `Training.learn`.
    """
    vocabularies = msgspec.json.encode(dict(shard.vocabularies))
    lessons, learner = _school(shard.url, shard.spec, vocabularies)
    before = model_from_bytes(shard.model)
    state, tally = None, Tally()
    for last, rows in lessons.batches(shard.pages):
        tally.add(rows, before.predict(rows.matrix) if last > shard.judged_after else None)
        state = learner.fold(shard.state if state is None else state, rows).state
    return Taught(state, tally)


@lru_cache(maxsize=8)
def _school(url: str, spec: bytes, vocabularies: bytes) -> tuple[Lessons, Learner]:
    read = PolicySpec.model_validate_json(spec)
    features = FeatureSet(read.features, msgspec.json.decode(vocabularies))
    if read.learner is None:
        raise TypeError(f"{read.id} learns nothing")
    return Lessons(_reader(url), read, features), read.learner.start(read.task(features.names))


@lru_cache(maxsize=2)
def _reader(url: str) -> Reader:
    return Reader(url)


class Sharing(Protocol):
    """Learns shards, `number` at a time."""

    @property
    def number(self) -> int: ...

    def teach(self, shards: Sequence[Shard]) -> list[Taught]:
        """Return what was learnt of each shard.

        Raises:
            LearnerLost: who learns dies again and again; nothing is lost.
            InvalidRows, BrokenWeights, UnknownPlan: as `teach`.
        """
        ...

    def close(self) -> None:
        """Let go of processes."""
        ...


class InProcesses:
    """Processes of this machine; they start with the first shards, and end with whoever asked."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._workers = [_Worker() for _ in range(number)]

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run."""
        return [one.process.pid for one in self._workers if one.process is not None]

    def teach(self, shards: Sequence[Shard]) -> list[Taught]:
        with ThreadPoolExecutor(self.number) as threads:
            return list(threads.map(_Worker.teach, self._workers, shards))

    def close(self) -> None:
        for one in self._workers:
            one.stop()


class _Worker:
    """One process (`learning/shard_worker.py`), another one when it dies; it ends when its input does."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def teach(self, shard: Shard) -> Taught:
        for _ in range(_ATTEMPTS):
            answer = self._ask(shard)
            if isinstance(answer, Taught):
                return answer
            self.stop()
            if isinstance(answer, Failed):
                raise getattr(errors, answer.kind, errors.LearnerRefused)(answer.reason)
        raise errors.LearnerLost(
            f"the process that learnt a shard was lost {_ATTEMPTS} times; the version in charge stays, and "
            "the rows are learnt when it runs again"
        )

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        # Also closes what it was asked by, however it ended.
        with suppress(BrokenPipeError):
            process.communicate()

    def _ask(self, shard: Shard) -> Taught | Failed | None:
        """Return the answer, None when the process is gone."""
        if self.process is None:
            # Its own group: a signal meant for the service's terminal group is none of its business.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "learning.shard_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,
            )
        asking, answering = self.process.stdin, self.process.stdout
        assert asking is not None  # noqa: S101 - both were opened as pipes
        assert answering is not None  # noqa: S101
        try:
            write_frame(asking, shard)
        except OSError:
            return None
        answer = read_frame(answering)
        return None if answer is None else msgspec.msgpack.decode(answer, type=Taught | Failed)


class OverRay:
    """Tasks on the Ray cluster at an address, which Ray starts again where a worker dies.

    The database has to be reached from wherever Ray works.
    """

    def __init__(self, address: str, number: int) -> None:
        self.number = number
        self._address = address

    def teach(self, shards: Sequence[Shard]) -> list[Taught]:
        ray = joined(self._address)
        task: Any = ray.remote(max_retries=_ATTEMPTS - 1)(teach)
        try:
            found: list[Taught] = ray.get([task.remote(one) for one in shards])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise errors.LearnerLost(
                f"Ray did not learn a shard ({error}); the version in charge stays, and the rows are learnt "
                "when it runs again"
            ) from error
        return found

    def close(self) -> None:
        """Ray is the process's own, and others use it too."""
