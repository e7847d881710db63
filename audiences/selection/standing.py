"""Stages and grades as names that rules may ask: `stage.lifecycle = 'customer'`, `grade.lead = 'MQL'`.

Where there is one lifecycle or one score, `stage` and `grade` alone mean it. Lifecycles of accounts are asked
for as `account.stage`, which is that of the user's primary account. All are null for who was not placed yet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from audiences.accounts.primary import Accounts, NoAccounts
from audiences.rules import Schema, Type
from audiences.scores.definitions import Score
from audiences.scores.service import Scores
from audiences.stages.definitions import Lifecycle
from audiences.stages.service import Stages

Values = Mapping[str, Sequence[str]]
_OF_ACCOUNTS = "account.stage"


def options_of(lifecycles: Sequence[Lifecycle], scores: Sequence[Score]) -> dict[str, Sequence[str]]:
    """The names, and the stages or grades each can be."""
    stages: Values = {one.spec.id: one.stages for one in lifecycles if not one.of_accounts}
    of_accounts: Values = {one.spec.id: one.stages for one in lifecycles if one.of_accounts}
    grades: Values = {one.spec.id: [grade.grade for grade in one.spec.grades] for one in scores}
    return {
        **_named("stage", stages),
        **_named(_OF_ACCOUNTS, of_accounts),
        **_named("grade", {name: of for name, of in grades.items() if of}),
    }


def schema_with(schema: Schema, options: Values) -> Schema:
    """A schema that also has names of text with a fixed set of values."""
    return replace(
        schema,
        names={**schema.names, **dict.fromkeys(options, Type.TEXT)},
        options={**schema.options, **options},
    )


class Standing:
    """A source of what stages and grades users have."""

    def __init__(self, scores: Scores, stages: Stages, accounts: Accounts | None = None) -> None:
        """Read them from scores and stages; `accounts` says which is whose primary one."""
        self._accounts = accounts or NoAccounts()
        self._scores = scores
        self._stages = stages
        self._options = options_of(stages.lifecycles, scores.definitions)

    @property
    def options(self) -> Values:
        """The names, and the stages or grades each can be."""
        return self._options

    def texts(self, users: Collection[str]) -> dict[str, Mapping[str, str]]:
        """By name: the stage or grade of each user who has one."""
        found: dict[str, Mapping[str, str]] = {}
        of_users = self._of_accounts(users)
        for lifecycle in self._stages.lifecycles:
            name, standing = lifecycle.spec.id, self._stages.standing_in(lifecycle.spec.id)
            if lifecycle.of_accounts:
                of = {user: standing[account] for user, account in of_users.items() if account in standing}
                found |= self._known(_OF_ACCOUNTS, name, of)
            else:
                found |= self._known("stage", name, standing)
        if self._scores.definitions:
            grades = self._scores.grades_by_user()
            for score in self._scores.definitions:
                name = score.spec.id
                of_score = {user: of[name] for user, of in grades.items() if of.get(name)}
                found |= self._known("grade", name, of_score)
        return found

    def _of_accounts(self, users: Collection[str]) -> Mapping[str, str]:
        return self._accounts.of(users) if any(one.of_accounts for one in self._stages.lifecycles) else {}

    def _known(self, sort: str, name: str, values: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        """Under each of the names by which rules may ask."""
        return {known: values for known in (f"{sort}.{name}", sort) if known in self._options}


def _named(sort: str, by_id: Values) -> dict[str, Sequence[str]]:
    named = {f"{sort}.{name}": values for name, values in by_id.items()}
    if len(by_id) == 1:
        named[sort] = next(iter(by_id.values()))
    return named
