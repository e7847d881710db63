"""The example of docs/reference/content.md is read, right, and says what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from playbooks.content import bounds
from playbooks.content.blocks import MAX_BLOCKS
from playbooks.content.checking import flaws
from playbooks.content.documents import Content
from playbooks.content.filling import Contents
from playbooks.content.names import Vocabulary

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "content.md").read_text(encoding="utf-8")


def test_the_example() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    contents = {one.id: one for one in map(Content.model_validate, yaml.safe_load(text))}
    assert list(flaws(contents, {}, Vocabulary(trait={"name": "Ann"}))) == []
    names = {"offer": {"name": "Coffee"}, "trait": {}}
    filled = Contents(contents).text("come_back", "sms", "de-AT", names)
    assert filled.subject == "Du fehlst uns"
    assert "Dein Laden" in filled.body
    assert Contents(contents).text("come_back", "mailbox", "de", names).subject == "Post für dich"
    assert Contents(contents).text("come_back", "sms", "en", names).subject == "We miss you, friend"


def test_the_limits() -> None:
    numbers = [
        int(one.replace(",", "")) for one in re.findall(r"\| (?:[^|]*?)([\d,]+)", PAGE.split("| limit |")[1])
    ]
    assert {bounds.MAX_ITERATIONS, bounds.MAX_OUTPUT // 1024, bounds.MAX_TEXT // 1024} <= set(numbers)
    assert {bounds.MAX_ITEMS, MAX_BLOCKS} <= set(numbers)
    assert not {"include", "tablerow"} & bounds.Bounded().tags.keys()
