"""A census: who every user, or account, is as of a moment, and for whom each of some rules holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audiences import repository
from audiences.accounts import repository as account_repository
from audiences.accounts.primary import Accounts
from audiences.identity.people import People, canonical_only, together
from audiences.rules import Columns, Rule, compile_columns, members
from audiences.selection.repository import memberships
from audiences.service import read_account_values, read_values
from feature_repo.store import FeatureRepository
from storage.engine import Database


class Census(NamedTuple):
    """All users, or accounts, in the order of their ids, and for each rule for which of them it is true."""

    ids: list[str]
    holds: list[npt.NDArray[np.bool_]]

    def holders(self, rule: int) -> set[str]:
        """Those for whom a rule holds."""
        return {self.ids[row] for row in np.flatnonzero(self.holds[rule])}


def take_census(
    database: Database,
    features: FeatureRepository,
    rules: Sequence[Rule],
    people: People,
    accounts: Accounts,
    as_of: datetime,
) -> Census:
    """Evaluate rules for all users, with features and tags as of a moment.

    Raises:
        feature_repo.errors.SnapshotMissing: no features were computed yet.
    """
    with database.read() as connection:
        users = canonical_only(people, repository.user_ids(connection))
        carried = together(people, repository.tags_by_user(connection, as_of))
        inside = together(people, memberships(connection))
    table = read_values(features, users, as_of, accounts)
    tags = {
        tag: np.array([tag in carried.get(user, ()) for user in users], bool)
        for tag in {tag for rule in rules for tag in rule.tags}
    }
    audiences = {
        audience: np.array([audience in inside.get(user, ()) for user in users], bool)
        for audience in {audience for rule in rules for audience in rule.audiences}
    }
    columns = Columns.from_arrow(table, tags=tags, audiences=audiences)
    return Census(users, _answered(rules, columns, as_of))


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
