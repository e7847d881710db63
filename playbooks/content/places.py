"""Where a place in a template is in the YAML file that it was written in."""

from __future__ import annotations

import yaml


def place_in(text: str, content: str, field: str, line: int, column: int) -> tuple[int, int]:
    """Return line and column in the text of contents.yaml; (0, 0) where the content is not in it.

    Args:
        field: as `Flaw` has it, `body` or `texts.0.body`.
        line, column: in the template, from 1; 0: the template as a whole.
    """
    node = _node(yaml.compose(text, Loader=yaml.SafeLoader), content, field)
    if node is None:
        return 0, 0
    start, at = node.start_mark.line, node.start_mark.column
    whole = start + 1, at + 1
    if line == 0 or not isinstance(node, yaml.ScalarNode):
        return whole
    if node.style == "|":
        written = text.splitlines()[start + 1 :]
        indent = next((len(one) - len(one.lstrip()) for one in written if one.strip()), 0)
        return start + 1 + line, indent + column
    if node.end_mark.line == start and line == 1:
        return start + 1, at + column + (1 if node.style else 0)
    # What YAML folds has no lines that can be counted.
    return whole


def _node(document: yaml.Node | None, content: str, field: str) -> yaml.Node | None:
    if not isinstance(document, yaml.SequenceNode):
        return None
    for item in document.value:
        name = _step(item, "id")
        if isinstance(name, yaml.ScalarNode) and name.value == content:
            node: yaml.Node | None = item
            for step in field.split("."):
                node = _step(node, step)
            return node or item
    return None


def _step(node: yaml.Node | None, step: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
        found: yaml.Node = node.value[int(step)]
        return found
    return None
