"""A census: who every user, or account, is as of a moment, and for whom each of some rules holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audiences.accounts import repository as account_repository
from audiences.accounts.primary import Accounts
from audiences.rules import Columns, Rule, compile_columns, members
from audiences.selection.evaluation import holding
from audiences.selection.service import Audiences
from audiences.service import read_account_values
from feature_repo.store import FeatureRepository
from storage.engine import Database


class Census(NamedTuple):
    """All users, or accounts, and for each rule for which of them it is true."""

    ids: list[str]
    holds: list[npt.NDArray[np.bool_]]

    def holders(self, rule: int) -> set[str]:
        """Those for whom a rule holds."""
        return {self.ids[row] for row in np.flatnonzero(self.holds[rule])}


def take_census(audiences: Audiences, rules: Sequence[Rule], as_of: datetime) -> Census:
    """Evaluate rules for all users, with features and tags as of a moment.

    Raises:
        feature_repo.errors.SnapshotMissing: no features were computed yet.
    """
    users, people = audiences.everybody(as_of, {tag for rule in rules for tag in rule.tags})
    found = holding(rules, people, audiences.memberships.members, as_of)
    there = np.asarray([user is not None for user in users], bool)
    ids = [user for user in users if user is not None]
    return Census(ids, [people.rows_in(holders)[there] for holders in found])


def take_account_census(
    database: Database,
    features: FeatureRepository,
    rules: Sequence[Rule],
    accounts: Accounts,
    as_of: datetime,
) -> Census:
    """Evaluate rules that ask for nothing but accounts for all of them, with features as of a moment."""
    with database.read() as connection:
        ids = account_repository.ids(connection)
    table = read_account_values(features, ids, as_of, accounts)
    return Census(ids, _answered(rules, Columns.from_arrow(table), as_of))


def _answered(rules: Sequence[Rule], columns: Columns, as_of: datetime) -> list[npt.NDArray[np.bool_]]:
    bits = compile_columns(rules)(columns, now=as_of)
    holds = []
    for of_rule in bits:
        column = np.zeros(columns.length, bool)
        column[members(of_rule, columns.length)] = True
        holds.append(column)
    return holds
