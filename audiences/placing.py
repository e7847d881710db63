"""Places every user, and account, in the scores and lifecycles whose rules are over features."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from audiences.accounts.primary import Accounts
from audiences.census import Census, take_account_census, take_census
from audiences.scores.service import Scores
from audiences.selection.service import Audiences
from audiences.stages.definitions import Lifecycle
from audiences.stages.service import Stages
from feature_repo.store import FeatureRepository
from storage.engine import Database


def place_users(
    database: Database,
    features: FeatureRepository,
    audiences: Audiences,
    scores: Scores,
    stages: Stages,
    accounts: Accounts,
    as_of: datetime,
) -> dict[str, int]:
    """Evaluate the rules of scores and lifecycles as of a moment; return how many changed in each.

    Raises:
        feature_repo.errors.SnapshotMissing: no features were computed yet.
    """
    lines = [(score.spec.id, line.id, rule) for score in scores.definitions for line, rule in score.by_rule]
    lifecycles = [one for one in stages.lifecycles if not one.of_accounts]
    of_accounts = [one for one in stages.lifecycles if one.of_accounts]
    changed: dict[str, int] = {}
    rules = [rule for _, _, rule in lines] + [rule for one in lifecycles for rule in one.rules]
    if rules:
        census = take_census(audiences, rules, as_of)
        for place, (score, line, _) in enumerate(lines):
            changed[score] = changed.get(score, 0) + scores.hold(score, line, census.holders(place))
        changed |= _moved(stages, lifecycles, census, len(lines), as_of)
    if of_accounts:
        rules = [rule for one in of_accounts for rule in one.rules]
        census = take_account_census(database, features, rules, accounts, as_of)
        changed |= _moved(stages, of_accounts, census, 0, as_of)
    return changed


def _moved(
    stages: Stages, lifecycles: Sequence[Lifecycle], census: Census, first: int, as_of: datetime
) -> dict[str, int]:
    """Move by the rules of lifecycles, which are those of the census from `first` on."""
    changed: dict[str, int] = {}
    for lifecycle in lifecycles:
        holds = census.holds[first : first + len(lifecycle.rules)]
        changed[lifecycle.spec.id] = stages.move(lifecycle.spec.id, census.ids, holds, as_of)
        first += len(lifecycle.rules)
    return changed
