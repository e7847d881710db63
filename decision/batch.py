"""Decides for many users, by the same function as for one; what is written out is durable."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from decision.answers import DecideAnswer
from decision.decider import Decider
from decision.submitting_together import DecidingTogether
from playbooks.matching import check_placement
from storage.errors import ConfigurationError

# Users who are decided for at once; of as many more, decisions wait to become durable meanwhile.
BLOCK = 500
# Rows of a group of the file.
_GROUP = 10_000

_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("decision_id", pa.string(), nullable=False),
        pa.field("playbook", pa.string()),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("offer", pa.string()),
        pa.field("content", pa.string()),
        pa.field("propensity", pa.float64(), nullable=False),
        pa.field("policy", pa.string(), nullable=False),
        pa.field("fallback", pa.string()),
        pa.field("holdout", pa.list_(pa.string()), nullable=False),
    ]
)


class Decided(NamedTuple):
    """What a batch came to: decisions, those that give something, fallbacks by reason, seconds."""

    decisions: int
    offers: int
    fallbacks: dict[str, int]
    seconds: float


class Sink(Protocol):
    """Takes what was decided for each user, once it is durable."""

    def __call__(self, users: Sequence[str], answers: Sequence[DecideAnswer]) -> None: ...


def decide_batch(
    decider: Decider, users: Iterable[str], placement: str, sink: Sink, *, key: str | None = None
) -> Decided:
    """Decide for users at a placement, in their order.

    What was decided before it was interrupted is recorded. With a `key` it can be called again: who was
    decided for under it gets the same answer.

    Raises:
        UnknownPlacement: no playbook serves the placement.
        WriterBusy: too much waits to be written.
    """
    # Also where there is nobody to decide for.
    check_placement(decider.snapshot.library, placement)
    started = time.monotonic()
    fallbacks: Counter[str] = Counter()
    decisions = offers = 0
    waiting: deque[DecidingTogether] = deque()

    def settle() -> None:
        nonlocal decisions, offers
        done = waiting.popleft()
        answers = done.result()
        sink(done.users, answers)
        decisions += len(answers)
        offers += sum(answer.offer is not None for answer in answers)
        fallbacks.update(answer.fallback for answer in answers if answer.fallback is not None)

    for some in _blocks(users):
        keys = None if key is None else [f"{key}:{user}" for user in some]
        block = decider.decide_many(some, placement, keys)
        while waiting:
            settle()
        waiting.extend(block)
        # What is taken from budgets is to be seen by the next block.
        while waiting and any(one.budgets for one in block):
            settle()
    while waiting:
        settle()
    return Decided(decisions, offers, dict(fallbacks), time.monotonic() - started)


def decide_to_parquet(
    decider: Decider, users: Iterable[str], placement: str, path: Path, *, key: str | None = None
) -> Decided:
    """Decide as `decide_batch` and write the answers to a new Parquet file, whole or not at all.

    Raises:
        ConfigurationError: the file is there already, or can't be written; nothing was decided if so at once.
    """
    if path.exists():
        raise ConfigurationError(f"{path} is there already; name another file, or take it away first")
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with pq.ParquetWriter(unfinished, _SCHEMA, compression="zstd") as writer:
            file = _File(writer)
            done = decide_batch(decider, users, placement, file.take, key=key)
            file.flush()
        unfinished.replace(path)
    except OSError as error:
        raise ConfigurationError(f"can't write {path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return done


class _File:
    """Gathers answers to groups of rows."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._rows: list[tuple[str, DecideAnswer]] = []

    def take(self, users: Sequence[str], answers: Sequence[DecideAnswer]) -> None:
        self._rows += zip(users, answers, strict=True)
        if len(self._rows) >= _GROUP:
            self.flush()

    def flush(self) -> None:
        rows, self._rows = self._rows, []
        columns = {name: [getattr(one, name) for _, one in rows] for name in _SCHEMA.names[1:]}
        columns["offer"] = [one.offer and one.offer.id for _, one in rows]
        columns["user_id"] = [user for user, _ in rows]
        if rows:
            self._writer.write_table(pa.Table.from_pydict(columns, schema=_SCHEMA))


def _blocks(users: Iterable[str]) -> Iterator[list[str]]:
    left = iter(users)
    take = partial(islice, left, BLOCK)
    while some := list(take()):
        yield some
