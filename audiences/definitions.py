"""Definitions of audiences and of tags set by rules: one YAML file, read as a whole or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audiences.errors import AudienceError
from audiences.library_files import read_document
from audiences.rules import Rule, RuleError, Schema, parse
from audiences.rules.source import closest
from audiences.selection.sets import SetSpec

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]


class AudienceSpec(BaseModel):
    """A named set of users: those a rule holds for, an uploaded list, or made of other audiences."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Name
    name: Annotated[str, Field(min_length=1, max_length=200)]
    rule: str | None = None
    sets: SetSpec | None = None
    list: Literal[True] | None = None
    # Whether who is in it because it is new, or its definition changed, starts nothing; so if not said.
    quiet: bool | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> AudienceSpec:
        given = [kind for kind in ("rule", "sets", "list") if getattr(self, kind) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none of them"
            raise ValueError(
                f"an audience has `rule`, `sets` or `list: true`, just one of them; it has {said}"
            )
        if self.list and self.quiet is not None:
            raise ValueError("`quiet` is not for lists: whoever is put on one enters; leave it out")
        return self

    @property
    def kind(self) -> str:
        """How its users are found: rule, sets or list."""
        return "rule" if self.rule is not None else "sets" if self.sets is not None else "list"

    def document(self) -> dict[str, Any]:
        """The definition as it is written, without what it doesn't say."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class TagSpec(BaseModel):
    """A tag that a rule puts on users each time the audiences are evaluated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tag: Name
    rule: str
    expires_after: timedelta | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    audiences: list[AudienceSpec] = Field(min_length=1)
    tags: list[TagSpec] = []


@dataclass(frozen=True)
class Definitions:
    """Audiences and tag rules, parsed; `rules` are those of the audiences that have one, by id."""

    audiences: tuple[AudienceSpec, ...]
    tags: tuple[TagSpec, ...]
    rules: Mapping[str, Rule]
    tag_rules: tuple[Rule, ...]

    @cached_property
    def order(self) -> tuple[AudienceSpec, ...]:
        """The audiences, each after those it is made of."""
        by_id = {audience.id: audience for audience in self.audiences}
        sorter = TopologicalSorter({name: sorted(self.needs(name)) for name in by_id})
        return tuple(by_id[name] for name in sorter.static_order() if name in by_id)

    def needs(self, audience: str) -> frozenset[str]:
        """The audiences that one is made of directly."""
        spec = next(one for one in self.audiences if one.id == audience)
        if spec.sets is not None:
            return spec.sets.names()
        rule = self.rules.get(audience)
        return rule.audiences if rule is not None else frozenset()

    def made_of(self, audiences: Collection[str]) -> frozenset[str]:
        """Those of some audiences that are sound, and all that are made of them."""
        found: set[str] = set()
        for one in self.order:
            if one.id in audiences or self.needs(one.id) & found:
                found.add(one.id)
        return frozenset(found)


def read_definitions(path: Path, schema: Schema) -> Definitions:
    """Read and check `audiences.yaml`.

    Raises:
        AudienceError: the file is missing, has a wrong or unknown field, a rule does not parse, or audiences
            are made of each other in a circle; the message lists every problem.
    """
    file = read_document(path, _File, AudienceError, required=True)
    definitions, problems = define(file.audiences, file.tags, schema)
    if problems:
        raise AudienceError(f"{path}: " + "; ".join(problems.values()))
    return definitions


def define(
    audiences: Sequence[AudienceSpec], tags: Sequence[TagSpec], schema: Schema
) -> tuple[Definitions, dict[str, str]]:
    """Parse definitions; those that are wrong, or need one that is, are left out, with the reason."""
    problems: dict[str, str] = {}
    for name in _doubles([audience.id for audience in audiences]):
        problems[name] = f"{name}: used twice"
    known = schema.with_audiences(audience.id for audience in audiences)
    rules = {
        audience.id: rule
        for audience in audiences
        if audience.rule is not None
        and (rule := _parsed(audience.id, audience.rule, known, problems)) is not None
    }
    tag_rules = [(tag, _parsed(f"tag {tag.tag}", tag.rule, known, problems)) for tag in tags]
    ids = [audience.id for audience in audiences]
    for audience in audiences:
        if audience.sets is not None:
            for missing in sorted(audience.sets.names() - set(ids)):
                hint = closest(missing, ids)
                problems[audience.id] = f"{audience.id}: there is no audience {missing!r}" + (
                    f", {hint}" if hint else ""
                )
    problems |= _circles(audiences, rules)
    sound = _sound(audiences, rules, problems)
    kept_tags = [(tag, rule) for tag, rule in tag_rules if rule is not None]
    return (
        Definitions(
            sound,
            tuple(tag for tag, _ in kept_tags),
            {name: rule for name, rule in rules.items() if name not in problems},
            tuple(rule for _, rule in kept_tags),
        ),
        problems,
    )


def _parsed(name: str, text: str, schema: Schema, problems: dict[str, str]) -> Rule | None:
    try:
        return parse(text, schema)
    except RuleError as error:
        problems[name] = f"{name}: {error}"
        return None


def _circles(audiences: Sequence[AudienceSpec], rules: Mapping[str, Rule]) -> dict[str, str]:
    graph = {one.id: sorted(_needs(one, rules)) for one in audiences}
    found: dict[str, str] = {}
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle: list[str] = list(reversed(error.args[1]))
            for name in dict.fromkeys(circle):
                found[name] = f"{name}: made of itself: {' → '.join(circle)}; break the circle"
            graph = {name: needs for name, needs in graph.items() if name not in found}
        else:
            return found


def _sound(
    audiences: Sequence[AudienceSpec], rules: Mapping[str, Rule], problems: dict[str, str]
) -> tuple[AudienceSpec, ...]:
    while True:
        broken = [
            (one, need)
            for one in audiences
            if one.id not in problems
            for need in sorted(_needs(one, rules) & problems.keys())
        ]
        if not broken:
            return tuple(one for one in audiences if one.id not in problems)
        for one, need in broken:
            problems[one.id] = f"{one.id}: made of {need!r}, which is wrong"


def _needs(audience: AudienceSpec, rules: Mapping[str, Rule]) -> frozenset[str]:
    if audience.sets is not None:
        return audience.sets.names()
    rule = rules.get(audience.id)
    return rule.audiences if rule is not None else frozenset()


def _doubles(names: Iterable[str]) -> list[str]:
    listed = list(names)
    return sorted({name for name in listed if listed.count(name) > 1})
