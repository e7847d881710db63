"""Scores what evaluations said against what happened once the policy was in charge. One process at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from learning.challengers import estimate_repository, repository
from learning.challengers.drawn import drawn_by
from learning.challengers.estimates import Came, Estimate, Span, alike, in_charge_after
from learning.challengers.models import Charge
from learning.challengers.promoting import PATIENCE, Promoting
from learning.errors import InvalidRounds
from learning.evaluation import How, evaluate, logged
from learning.evaluation.verdict import Word
from storage.engine import Database

# Estimates that are scored at a time: each reads the rewards since it was made.
_AT_ONCE = 20


def score_estimates(database: Database, promoting: Promoting, now: datetime) -> int:
    """Score estimates whose time is over and whose decisions have matured; return how many were settled."""
    with database.read() as connection:
        waiting = estimate_repository.waiting(connection)
        charges = repository.charges(connection, promoting.slot) if waiting else []
    done = 0
    for one in waiting:
        if done == _AT_ONCE:
            break
        settled = _settled(database, promoting, charges, one, now)
        if settled is not None:
            database.write(lambda c, settled=settled: estimate_repository.settle(c, settled))  # type: ignore[misc]
            done += 1
    return done


def tidy(database: Database, promoting: Promoting, now: datetime) -> None:
    """Let go of shadow rounds that neither evidence nor claims are made of any more."""
    slot, longest = promoting.slot, promoting.rules.live_window
    with database.read() as connection:
        found = repository.evidence(connection, slot)
        claims = repository.claims(connection, slot)
        charges = repository.charges(connection, slot)
        estimates = estimate_repository.waiting(connection)
    needed = [one.at for one in claims if one.live is None and one.until > now - PATIENCE]
    spans = [in_charge_after(one.policy, one.at, slot, charges, longest) for one in estimates]
    needed += [span[0] for span in spans if span is not None and span[1] > now - PATIENCE]
    for one in found.values():
        if one.since is not None:
            before = min([one.since, *needed])
            database.write(
                lambda c, one=one, before=before: repository.forget_rounds(c, one.policy, before)  # type: ignore[misc]
            )


def _settled(
    database: Database, promoting: Promoting, charges: Sequence[Charge], one: Estimate, now: datetime
) -> Estimate | None:
    """Return an estimate with what came of it, or why that will never be known; None: not yet."""
    span = in_charge_after(one.policy, one.at, promoting.slot, charges, promoting.rules.live_window)
    if span is None:
        if now < one.at + PATIENCE:
            return None
        return msgspec.structs.replace(one, unscored=f"{one.policy} has not been in charge since")
    since, until = span
    if until > now or not promoting.gathering.matured(until):
        return None
    try:
        return msgspec.structs.replace(one, came=_came(database, promoting, one, since, until))
    except InvalidRounds as error:
        return msgspec.structs.replace(one, unscored=f"nothing it drew tells: {error}")


def _came(database: Database, promoting: Promoting, one: Estimate, since: datetime, until: datetime) -> Came:
    if one.policy not in promoting.specs:
        raise InvalidRounds(f"the library has no policy {one.policy!r} any more")
    bounds = promoting.specs[one.policy].reward
    with database.read() as connection:
        drawn = drawn_by(connection, one.policy, bounds, one.through, since, until)
    found = evaluate(drawn.log, logged(drawn.log), how=How(["snips"], confidence=one.confidence))
    if found.verdict.startswith(Word.NOT_EVALUABLE.value):
        raise InvalidRounds(found.verdict)
    low, high = found.candidate_value.interval
    if low is None or high is None:
        raise InvalidRounds("its own decisions bound nothing")
    value = Span(found.candidate_value.value, low, high)
    lift = None
    if one.against != one.policy:
        lift = promoting.gathering.lift(one.policy, one.against, since, until, one.confidence)
    return Came(
        rounds=len(drawn.log),
        by_version=drawn.versions[one.version],
        value=value,
        held=alike(value, one.value),
        lift=lift,
        lift_held=None if lift is None else alike(lift, one.lift),
    )
