"""The language reference says what is so: its sessions run, its rules parse, no function is left out."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from audiences.rules import Schema, Type, parse
from audiences.rules.functions import SIGNATURES

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "rules.md"
TEXT = REFERENCE.read_text()
SCHEMA = Schema(
    {
        "orders_90d": Type.NUMBER,
        "spend": Type.NUMBER,
        "account.tier": Type.TEXT,
        "city": Type.TEXT,
        "arm.category": Type.TEXT,
        "joined": Type.TIMESTAMP,
        "last_order": Type.TIMESTAMP,
        "event.categories": Type.TEXTS,
    }
)


def test_sessions_run() -> None:
    sessions = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
    session = doctest.DocTestParser().get_doctest(sessions, {}, REFERENCE.name, str(REFERENCE), 0)
    failures: list[str] = []
    results = doctest.DocTestRunner().run(session, out=failures.append)
    assert results.failed == 0, "".join(failures)
    assert results.attempted > 10


@pytest.mark.parametrize("text", re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL))
def test_rules_parse(text: str) -> None:
    parsed = parse(text, SCHEMA)
    assert parse(str(parsed), SCHEMA) == parsed


def test_every_function_is_listed() -> None:
    listed = set(re.findall(r"`(\w+)\(", TEXT.split("## Functions")[1].split("## Null")[0]))
    assert listed == set(SIGNATURES)
