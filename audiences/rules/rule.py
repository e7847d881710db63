"""A parsed rule: its tree, and what it uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

from audiences.rules.build import Builder
from audiences.rules.evaluate import Person, truth
from audiences.rules.grammar import grammar
from audiences.rules.render import render
from audiences.rules.schema import Schema, Type
from audiences.rules.source import Source, tokens
from audiences.rules.tree import Call, Member, Name, Node, Now, children


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition over one user. Rules are equal when their conditions are, however written.

    `text` is as written, `str(rule)` canonical. `types` maps the features used to their types.
    """

    text: str = field(compare=False)
    tree: Node
    types: Mapping[str, Type] = field(compare=False)
    tags: frozenset[str] = field(compare=False)
    audiences: frozenset[str] = field(compare=False)
    uses_now: bool = field(compare=False)

    @property
    def names(self) -> frozenset[str]:
        """The features the rule uses."""
        return frozenset(self.types)

    def matches(
        self,
        values: Mapping[str, object],
        *,
        tags: AbstractSet[str] = frozenset(),
        audiences: AbstractSet[str] = frozenset(),
        now: datetime | None = None,
    ) -> bool:
        """Whether the rule is true (neither false nor unknown) of one user.

        For many rules or many calls use `compile_one`, which is faster. Raises RuleValueError as it does.
        """
        return truth(self.tree, Person.of(self.types, values, tags, audiences, now)) is True

    def __str__(self) -> str:
        return render(self.tree)


def parse(text: str, schema: Schema) -> Rule:
    """Reads a rule.

    `text` is at most 20,000 characters, nested at most 32 levels deep. Raises RuleError, with line and
    column, for anything that isn't a condition over the names and functions of `schema`.
    """
    source = Source(text)
    tree = Builder(source, schema).rule(grammar(source, tokens(source, schema)))
    nodes = list(_walk(tree))
    return Rule(
        text=text,
        tree=tree,
        types={node.name: node.type for node in nodes if isinstance(node, Name)},
        tags=frozenset(node.name for node in nodes if isinstance(node, Member) and node.of == "tag"),
        audiences=frozenset(
            node.name for node in nodes if isinstance(node, Member) and node.of == "audience"
        ),
        uses_now=any(
            isinstance(node, Now) or (isinstance(node, Call) and node.function == "days_since")
            for node in nodes
        ),
    )


def _walk(tree: Node) -> Iterator[Node]:
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        pending += children(node)
