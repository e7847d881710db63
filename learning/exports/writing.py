"""Writes the decision log to a file, which appears whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec

from learning.errors import NothingToExport
from learning.exports.dsjson import line_of
from learning.exports.logged import Logged, logged
from learning.plans import Plans, Reads
from storage.errors import ConfigurationError

Format = Literal["parquet", "jsonl", "dsjson"]
FORMATS: Sequence[Format] = get_args(Format)

Write = Callable[[Logged], None]


class Exported(NamedTuple):
    """How many decisions were written, how many of them with a reward, and how many no policy had made.

    The last are left out of dsjson: there was no draw to learn from.
    """

    decisions: int
    rewarded: int
    fallbacks: int


def export_log(
    database: Reads,
    path: Path,
    format_: Format,
    *,
    placements: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
) -> Exported:
    """Write the decisions made in since <= decided_at < until to a new file, by placement and time.

    Raises:
        ConfigurationError: the file is there already or can't be written, or the moments are the wrong way
            round.
        NothingToExport: a placement at which nothing was ever decided, or nothing in that time.
        UnknownPlan: dsjson of a decision with an arm that was never published.
    """
    if since is not None and until is not None and since >= until:
        raise ConfigurationError(f"export: nothing lies between {since} and {until}; --until is exclusive")
    if path.exists():
        raise ConfigurationError(f"export: {path} is there already; name another file, or take it away first")
    unfinished = path.with_name(f".{path.name}.unfinished")
    decisions = rewarded = fallbacks = 0
    try:
        with database.read() as connection, _SINKS[format_](database, unfinished) as write:
            for one in logged(connection, placements, since, until):
                decisions += 1
                rewarded += one.reward is not None
                fallbacks += one.decision.fallback is not None
                write(one)
        if not decisions:
            raise NothingToExport("no decision was made in that time; nothing was written")
        unfinished.replace(path)
    except OSError as error:
        raise ConfigurationError(f"export: can't write {path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return Exported(decisions, rewarded, fallbacks)


@contextmanager
def _jsonl(_database: Reads, path: Path) -> Iterator[Write]:
    """A line a decision: its record, and `reward` and `outcome`, null while they are not known."""
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:

        def write(one: Logged) -> None:
            record = msgspec.to_builtins(one.decision)
            earned: dict[str, float | str | None] = {"reward": None, "outcome": None}
            if one.reward is not None:
                earned = {"reward": one.reward.earned, "outcome": one.reward.outcome}
            file.write(encode(record | earned) + b"\n")

        yield write


@contextmanager
def _dsjson(database: Reads, path: Path) -> Iterator[Write]:
    plans = Plans(database)
    with path.open("wb") as file:

        def write(one: Logged) -> None:
            if one.decision.fallback is None:
                file.write(line_of(one, plans.eligible(one.decision)) + b"\n")

        yield write


@contextmanager
def _parquet(_database: Reads, path: Path) -> Iterator[Write]:
    from learning.exports.parquet import ParquetSink  # noqa: PLC0415 - PyArrow, seconds

    with ParquetSink(path) as sink:
        yield sink.write


_SINKS: dict[Format, Callable[[Reads, Path], AbstractContextManager[Write]]] = {
    "parquet": _parquet,
    "jsonl": _jsonl,
    "dsjson": _dsjson,
}
