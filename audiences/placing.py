"""Places every user in the scores and lifecycles whose rules are over features, by one census."""

from __future__ import annotations

from datetime import datetime

from audiences.accounts.primary import Accounts
from audiences.census import take_census
from audiences.identity.people import People
from audiences.scores.service import Scores
from audiences.stages.service import Stages
from feature_repo.store import FeatureRepository
from storage.engine import Database


def place_users(
    database: Database,
    features: FeatureRepository,
    scores: Scores,
    stages: Stages,
    people: People,
    accounts: Accounts,
    as_of: datetime,
) -> dict[str, int]:
    """Evaluate the rules of scores and lifecycles as of a moment; return how many users changed in each.

    Raises:
        feature_repo.errors.SnapshotMissing: no features were computed yet.
    """
    lines = [(score.spec.id, line.id, rule) for score in scores.definitions for line, rule in score.by_rule]
    lifecycles = stages.lifecycles
    rules = [rule for _, _, rule in lines] + [rule for one in lifecycles for rule in one.rules]
    if not rules:
        return {}
    census = take_census(database, features, rules, people, accounts, as_of)
    changed: dict[str, int] = {}
    for place, (score, line, _) in enumerate(lines):
        changed[score] = changed.get(score, 0) + scores.hold(score, line, census.holders(place))
    first = len(lines)
    for lifecycle in lifecycles:
        holds = census.holds[first : first + len(lifecycle.rules)]
        changed[lifecycle.spec.id] = stages.move(lifecycle.spec.id, census.users, holds, as_of)
        first += len(lifecycle.rules)
    return changed
