"""Definitions of lifecycles: `stages.yaml`, read as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from audiences.definitions import Name
from audiences.errors import StageError
from audiences.library_files import Document, read_document
from audiences.rules import Rule, RuleError, Schema, parse
from audiences.service import OF_ACCOUNT

SHIPPED = Path(__file__).with_name("shipped.yaml")
# How many names an error lists.
_NAMED = 5


class Transition(Document):
    """The way to another stage, taken when a rule holds."""

    stage: Name
    when: str


class StageSpec(Document):
    """One stage. Its transitions are tried in order; the first whose rule holds is taken.

    A stage that nobody leaves says so by `end`.
    """

    id: Name
    to: list[Transition] = []
    end: bool = False


class LifecycleSpec(Document):
    """A lifecycle: its stages, and the one in which everybody starts.

    One of accounts is about companies: its rules ask for nothing but what is known of the account.
    """

    id: Name
    name: str
    of: Literal["user", "account"] = "user"
    start: Name
    stages: list[StageSpec] = Field(min_length=1)


class _File(Document):
    lifecycles: list[LifecycleSpec] = []


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A lifecycle ready for use: `rules` holds the distinct rules, `ways` each stage's (place, stage)."""

    spec: LifecycleSpec
    rules: tuple[Rule, ...]
    ways: Mapping[str, tuple[tuple[int, str], ...]]

    @property
    def of_accounts(self) -> bool:
        """Whether accounts stand in it, not users."""
        return self.spec.of == "account"

    @property
    def stages(self) -> list[str]:
        """The stages, in the order of the definition."""
        return [stage.id for stage in self.spec.stages]


def read_lifecycles(path: Path, schema: Schema) -> tuple[Lifecycle, ...]:
    """Read and check `stages.yaml`. Without the file the shipped lifecycle is used if its features exist.

    Raises:
        StageError: a field is wrong or unknown, a rule does not parse, a stage can't be reached or left;
            every problem is listed.
    """
    if not path.exists():
        try:
            return read_lifecycles(SHIPPED, schema)
        except StageError:
            # A library with features of its own has lifecycles of its own, or none.
            return ()
    file = read_document(path, _File, StageError)
    ids = [spec.id for spec in file.lifecycles]
    problems = [f"{one}: used twice" for one in sorted({one for one in ids if ids.count(one) > 1})]
    lifecycles = []
    for spec in file.lifecycles:
        problems += _misshapen(spec)
        lifecycles.append(_ready(spec, schema, problems))
    if problems:
        raise StageError(f"{path}: " + "; ".join(problems))
    return tuple(lifecycles)


def _ready(spec: LifecycleSpec, schema: Schema, problems: list[str]) -> Lifecycle:
    rules: dict[Rule, int] = {}
    ways: dict[str, tuple[tuple[int, str], ...]] = {}
    for stage in spec.stages:
        found = []
        for way in stage.to:
            try:
                rule = parse(way.when, schema)
            except RuleError as error:
                problems.append(f"{spec.id}.{stage.id} → {way.stage}: {error}")
                continue
            if spec.of == "account" and (of_users := _of_users(rule)):
                problems.append(
                    f"{spec.id}.{stage.id} → {way.stage}: the lifecycle is of accounts, and {of_users} tells "
                    f"of a user; ask for what is known of the account: {_some(schema)}"
                )
                continue
            found.append((rules.setdefault(rule, len(rules)), way.stage))
        ways[stage.id] = tuple(found)
    return Lifecycle(spec, tuple(rules), ways)


def _of_users(rule: Rule) -> str:
    """What of a rule tells of a user, not of an account."""
    names = sorted(name for name in rule.names if not name.startswith(OF_ACCOUNT))
    if names:
        return f'"{names[0]}"'
    if rule.tags:
        return f"tag('{min(rule.tags)}')"
    return f"in_audience('{min(rule.audiences)}')" if rule.audiences else ""


def _some(schema: Schema) -> str:
    """The first names that rules over accounts may use."""
    names = sorted(name for name in schema.names if name.startswith(OF_ACCOUNT))
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "") if names else "there is nothing"


def _misshapen(spec: LifecycleSpec) -> list[str]:
    ids = [stage.id for stage in spec.stages]
    known, there = set(ids), ", ".join(ids)
    problems = [f"{spec.id}.{one}: there twice" for one in sorted({one for one in ids if ids.count(one) > 1})]
    if spec.start not in known:
        return [*problems, f"{spec.id}: `start` names {spec.start!r}; there are {there}"]
    for stage in spec.stages:
        for way in stage.to:
            if way.stage not in known:
                problems.append(
                    f"{spec.id}.{stage.id}: goes to {way.stage!r}, which is no stage; there are {there}"
                )
            elif way.stage == stage.id:
                problems.append(f"{spec.id}.{stage.id}: goes to itself")
        if not stage.to and not stage.end:
            problems.append(f"{spec.id}.{stage.id}: has no way out; give it one, or say `end: true`")
        if stage.to and stage.end:
            problems.append(f"{spec.id}.{stage.id}: is an end, so it has no `to`")
    unreached = [one for one in ids if one not in _reached(spec)]
    return problems + [f"{spec.id}.{one}: no way leads there from {spec.start!r}" for one in unreached]


def _reached(spec: LifecycleSpec) -> set[str]:
    ways: dict[str, Sequence[Transition]] = {stage.id: stage.to for stage in spec.stages}
    reached, pending = {spec.start}, [spec.start]
    while pending:
        for way in ways.get(pending.pop(), ()):
            if way.stage not in reached:
                reached.add(way.stage)
                pending.append(way.stage)
    return reached
