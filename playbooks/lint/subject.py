"""What lint looks at: a library, what the rest of the folder says, and what is known of users as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Protocol

from audiences.definitions import Definitions
from audiences.rules import Rule, RuleError, Schema, parse
from audiences.rules.proofs import never
from audiences.rules.tree import And, IsTruth, Node
from playbooks.fallbacks import playbook_of
from playbooks.goals import OWN
from playbooks.library import Draft
from playbooks.models import Playbook

# Placed where a playbook's rules are, by the name of the layer.
LAYERS = ("eligibility", "applicability", "suitability")


class Users(Protocol):
    """Users as they are at the moment, as far as a service has them at hand."""

    def size(self, audience: str) -> int | None:
        """How many are in an audience; None: it was not evaluated yet."""
        ...

    def selected(self, rule: Rule) -> int | None:
        """For how many a rule holds; None: nobody can say without reading everybody."""
        ...

    def within(self, one: str, other: str) -> bool | None:
        """Whether everybody in an audience is in another one; None: one was not evaluated yet."""
        ...


@dataclass(frozen=True, slots=True)
class Events:
    """Event names there are: `planned` by the library's files, `seen` in the ledger.

    `all_planned`: no others are taken, so what is not planned never comes. `seen` is None where nobody
    has looked.
    """

    planned: frozenset[str] = frozenset()
    all_planned: bool = False
    seen: frozenset[str] | None = None

    def never(self, event: str) -> str:
        """Say why an event never comes, '' if it may."""
        if event in self.planned or event in OWN:
            return ""
        if self.all_planned:
            return "is not in the tracking plan, which takes no others"
        if self.seen is not None and event not in self.seen:
            return "is not in the tracking plan and never came"
        return ""


@dataclass(frozen=True)
class Subject:
    """A library to be looked at. `triggers` is None where the folder has no such file to be held against."""

    draft: Draft
    definitions: Definitions
    schema: Schema
    now: datetime
    triggers: frozenset[str] = frozenset()
    events: Events = Events()
    users: Users | None = None
    # By placement, what is shown where no policy can be asked.
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    _parsed: dict[str, Rule | None] = field(default_factory=dict)

    @cached_property
    def known(self) -> Schema:
        """What rules over users may name, audiences included."""
        return self.schema.with_audiences(one.id for one in self.definitions.audiences)

    @cached_property
    def audience_rules(self) -> Mapping[str, Node]:
        """The rules of the audiences that have one."""
        return {name: rule.tree for name, rule in self.definitions.rules.items()}

    def rule(self, text: str) -> Rule | None:
        """Return a rule over users; None if it is none, which is for validation to say."""
        if text not in self._parsed:
            try:
                self._parsed[text] = parse(text, self.known)
            except RuleError:
                self._parsed[text] = None
        return self._parsed[text]

    def is_fallback(self, playbook: Playbook) -> bool:
        """Whether a playbook is shown somewhere without taking part in a decision."""
        return playbook.id in map(playbook_of, self.fallbacks.values())

    def audience_is_empty(self, audience: str) -> bool:
        """Whether it is proved that nobody can be in an audience."""
        rule = self.audience_rules.get(audience)
        return rule is not None and never(rule, self.audience_rules)

    def rules_of(self, playbook: Playbook) -> Mapping[str, Rule]:
        """Return the rules of a playbook by layer."""
        texts = {layer: getattr(playbook.rules, layer) for layer in LAYERS}
        found = {layer: self.rule(text) for layer, text in texts.items() if text is not None}
        return {layer: rule for layer, rule in found.items() if rule is not None}

    def condition(self, playbook: Playbook) -> Node | None:
        """Return what must be true of whom a playbook is for: its audience and its rules; None: nothing."""
        parts = [IsTruth(rule.tree, True) for rule in self.rules_of(playbook).values()]
        if playbook.audience is not None and (rule := self.rule(f"in_audience('{playbook.audience}')")):
            parts.append(IsTruth(rule.tree, True))
        if not parts:
            return None
        return And(tuple(parts)) if len(parts) > 1 else parts[0]
