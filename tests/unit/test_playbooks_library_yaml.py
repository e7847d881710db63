"""YAML that somebody wrote: every mistake with its line and column, and nothing that hurts the reader."""

from __future__ import annotations

import pytest

from playbooks.library.yaml_text import MAX_NESTING, Refused, parse

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


def test_a_text_that_is_right() -> None:
    assert parse("f", "a: &x [1, two]\nb: *x\n") == {"a": [1, "two"], "b": [1, "two"]}


@pytest.mark.parametrize(
    ("text", "line", "column", "what"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3, 2, "did not find expected ',' or ']'"),
        ("a: 1\n  b: 2\n", 2, 4, "mapping values are not allowed"),
        ("a: 1\nb: {x: 1, x: 2}\n", 2, 11, "the field 'x' is given twice"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "the field 'a' is given twice"),
        ("a: *nowhere\n", 1, 4, "undefined alias"),
        ("a: &a [*a]\n", 1, 8, "&a contains itself"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, 4, "could not determine a constructor"),
        ("[" * 100_000, 1, MAX_NESTING + 1, f"nested deeper than {MAX_NESTING} levels"),
        ("- " * 100_000, 1, 2 * MAX_NESTING + 1, f"nested deeper than {MAX_NESTING} levels"),
        (BOMB, 6, None, "more than 500000 values"),
        ("a: \x00", 0, 0, "not YAML"),
    ],
)
def test_a_mistake_has_its_place(text: str, line: int, column: int | None, what: str) -> None:
    with pytest.raises(Refused) as refused:
        parse("f.yaml", text)
    problem = refused.value.problem
    assert what in problem.message
    assert problem.line == line
    assert column is None or problem.column == column
    assert str(problem).startswith("f.yaml: " + (f"line {line}, column " if line else ""))
