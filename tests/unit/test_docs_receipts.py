"""docs/reference/receipts.md: its example is read, and it names all that there is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from delivery.receipts import reading, words
from delivery.receipts.models import Became, Unreadable, What

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "receipts.md").read_text(encoding="utf-8")


def test_the_example_is_read_and_every_word_is_named() -> None:
    example = re.findall(r"```json\n(.*?)```", PAGE, re.S)[0].encode()
    read = reading.read(example, "wh", datetime(2026, 3, 3, tzinfo=UTC))
    assert not [one for one in read if isinstance(one, Unreadable)]
    assert [one.event_id for one in read] == ["evt_1", "evt_2", "evt_3", "evt_4"]
    for name in (*What, *Became):
        assert f"`{name.value}`" in PAGE
    stops = PAGE[PAGE.index("## Texts of users") :]
    said = set(re.findall(r"`([A-Z]+)`", stops))
    assert {word for word in said if words.meaning(word) is words.Meaning.STOP} == said - {"START", "UNSTOP"}
