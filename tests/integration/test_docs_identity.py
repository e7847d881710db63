"""The examples of docs/how-to/identity.md do what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from audiences.identity.api import Merging, Undoing
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from audiences.tracking.messages import parse_batch
from storage.engine import Database
from tests.conftest import START

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "identity.md"


def test_the_batch_makes_one_person(sqlite_url: str) -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    parsed = parse_batch(block.encode(), START, "key")
    assert parsed.refused == []
    database = Database(sqlite_url)
    identity = IdentityService(database)
    Intake(database, identities=identity).take(parsed.events)
    person = identity.people.person("ann")
    assert set(person.members) == {"ann", "till-7", "anonymous:web-1", "anonymous:phone-1"}
    assert person.canonical == "ann"
    database.close()


def test_the_requests_are_such_as_are_taken() -> None:
    merging, undoing = re.findall(r"-d '(\{.*?\})'", PAGE.read_text(encoding="utf-8"))
    assert Merging.model_validate(json.loads(merging)).into == "ann"
    assert Undoing.model_validate(json.loads(undoing)).reason == "two people"
