"""A template as it is written: what it speaks of, which blocks and filters it takes, each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from liquid import BoundTemplate, RenderContext
from liquid.ast import Node
from liquid.builtin.expressions import StringLiteral
from liquid.builtin.tags.render_tag import RenderNode
from liquid.exceptions import LiquidError

from playbooks.content.bounds import Bounded, said

Path = tuple[str, ...]


class Use(NamedTuple):
    """Something a template names, and where: line and column from 1."""

    name: str
    line: int
    column: int


class Read(NamedTuple):
    """What a template names. `wrong` is why it is none; then it names nothing."""

    variables: tuple[Use, ...] = ()
    blocks: tuple[Use, ...] = ()
    filters: tuple[Use, ...] = ()
    wrong: Use | None = None

    @property
    def paths(self) -> Iterator[tuple[Path, Use]]:
        """The variables as paths of at most two steps, `offer.name`."""
        for use in self.variables:
            yield tuple(use.name.split(".")[:2]), use


_PLAIN = Bounded()


@lru_cache(maxsize=4096)
def read(template: str) -> Read:
    """Return what a template names; parsed once, for every playbook uses the same few."""
    try:
        parsed = _PLAIN.from_string(template)
        analysed = parsed.analyze(include_partials=False)
        blocks = tuple(_blocks(parsed, template))
    except LiquidError as error:
        return Read(wrong=Use(said(error), *_where(template, _index(error))))
    return Read(
        variables=tuple(
            Use(_path(use.segments), *_where(template, use.span.index))
            for uses in analysed.globals.values()
            for use in uses
        ),
        blocks=blocks,
        filters=tuple(
            Use(name, *_where(template, span.index))
            for name, spans in analysed.filters.items()
            if name not in _PLAIN.filters
            for span in spans
        ),
    )


def filters() -> list[str]:
    """Return the names of the filters there are."""
    return sorted(_PLAIN.filters)


def place(error: LiquidError) -> tuple[int, int]:
    """Return line and column of an error, from 1; (0, 0) where it has none."""
    found = error.context()
    return (0, 0) if found is None else (found[0], found[1] + 1)


def _blocks(parsed: BoundTemplate, template: str) -> Iterator[Use]:
    context = RenderContext(parsed)

    def walk(nodes: list[Node]) -> Iterator[Use]:
        for node in nodes:
            if isinstance(node, RenderNode):
                name = node.name.value if isinstance(node.name, StringLiteral) else str(node.name)
                yield Use(name, *_where(template, node.name.token.start_index))
            yield from walk(list(node.children(context, include_partials=False)))

    yield from walk(parsed.nodes)


def _path(segments: Sequence[object]) -> str:
    """Return the first steps of a path; what is computed ends it."""
    plain: list[str] = []
    for one in segments[:2]:
        if not isinstance(one, str):
            break
        plain.append(one)
    return ".".join(plain)


def _index(error: LiquidError) -> int:
    return 0 if error.token is None else max(error.token.start_index, 0)


def _where(template: str, index: int) -> tuple[int, int]:
    before = template[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1
