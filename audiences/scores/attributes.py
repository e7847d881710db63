"""Points for what users are: evaluates the rules over features of all scores, for all users at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from audiences import repository
from audiences.rules import Columns, compile_columns, members
from audiences.scores.service import Scores
from audiences.service import SERVICE
from feature_repo.store import FeatureRepository
from storage.engine import Database


def hold_rules(database: Database, features: FeatureRepository, scores: Scores, as_of: datetime) -> int:
    """Evaluate every line of points that has a rule, as of a moment; return how many grades changed.

    Raises:
        feature_repo.errors.SnapshotMissing: no features were computed yet.
    """
    lines = [(score.spec.id, line.id, rule) for score in scores.definitions for line, rule in score.by_rule]
    if not lines:
        return 0
    rules = [rule for _, _, rule in lines]
    with database.read() as connection:
        users = repository.user_ids(connection)
        carried = repository.tags_by_user(connection, as_of)
    table = features.historical(SERVICE, users, as_of)
    tags = {
        tag: np.array([tag in carried.get(user, ()) for user in users])
        for tag in {tag for rule in rules for tag in rule.tags}
    }
    bits = compile_columns(rules)(Columns.from_arrow(table, tags=tags), now=as_of)
    holding: Mapping[tuple[str, str], set[str]] = {
        (score, line): {users[row] for row in members(of_rule, len(users))}
        for (score, line, _), of_rule in zip(lines, bits, strict=True)
    }
    return sum(scores.hold(score, line, inside) for (score, line), inside in holding.items())
