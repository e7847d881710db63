"""The decision log in three formats, on both databases; VW's own driver reads the dsjson."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from decision.cli import app
from learning.errors import NothingToExport
from learning.exports import export_log
from learning.repository import REWARD_LABEL
from learning.rewards import Reward
from learning.spec import PolicySpec
from learning.versions import cold_start
from playbooks.content.documents import Content
from playbooks.decision import Decision
from playbooks.library import Draft
from playbooks.matching import Request, Snapshot, decide, fall_back
from playbooks.offers import Offer
from storage import ledger
from storage.engine import Database
from storage.errors import ConfigurationError
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from tests.deciding import playbook
from tests.publishing import publish

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "decision-log.md"
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
# What would end a word, a value or an example in VW's text.
WORDS = ["FD WRAPS/BAGS", "a|b:c", "tea"]
SPEC = PolicySpec.model_validate(
    {
        "id": "p",
        "placements": ["home"],
        "features": [
            {"name": "rate", "from": "rates", "at": "arm.category"},
            {"scalar": "orders_4w"},
            {"scalar": "unknown"},
        ],
        "learner": {"kind": "vw"},
        "prior": {"weights": {"rate": 0.5}},
        "exploration": {
            "kind": "softmax",
            "temperature": 0.3,
            "floor": {"start": 0.1, "floor": 0.1, "half_life": 1},
        },
    }
)
_LABELS = """
import json, sys
import vowpal_wabbit_next as vw
found = []
workspace = vw.Workspace(["--cb_explore_adf", "--quiet"])
with open(sys.argv[1]) as file, vw.DSJsonFormatReader(workspace, file) as reader:
    for event in reader:
        (label,) = [one.get_label().label for one in event if one.get_label().label is not None] or [None]
        place = [number for number, one in enumerate(event) if one.get_label().label is not None]
        found.append([len(event), place, label])
output, logs = vw.run_cli_driver(
    ["--cb_explore_adf", "--dsjson", "--cb_type", "mtr", "-d", sys.argv[1], "-q", "UA", "-p", sys.argv[2]]
)
print(json.dumps({"labels": found, "output": output, "logs": logs}))
"""


@pytest.fixture
def log(database: Database) -> list[Decision]:
    """Thirty decisions: most with a reward, some without; a fallback, a refused arm and a control."""
    draft = Draft(
        (playbook("always"),),
        {
            f"o{place}": Offer(id=f"o{place}", name=word, attributes={"group": "g", "category": word})
            for place, word in enumerate(WORDS)
        },
        {"notice": Content(id="notice", subject="s", body="b")},
    )
    library = database.write(lambda c: publish(c, draft, START - timedelta(days=1)))
    policy = cold_start(SPEC, {"category": WORDS}, START, after=None).serve()
    snapshot = Snapshot(library, policy, "seed")
    decisions = []
    for number in range(30):
        now = START + timedelta(hours=number)
        decisions.append(
            decide(
                snapshot,
                Request(new_id(now), f"u{number}", "home", "k"),
                features={"rates": [number / 30, None, 0.5], "orders_4w": number},
                audiences=frozenset({"gold"}),
                now=now,
            )
        )
    decisions[1] = msgspec.structs.replace(decisions[1], refused_by="cap.always.few")
    decisions[2] = msgspec.structs.replace(decisions[2], holdout=["holdout.gold"])
    fallen = fall_back(snapshot, Request(new_id(START), "x", "home", "k"), START, "unknown_user")
    # Of which no format has anything.
    test = fall_back(snapshot, Request(new_id(START), "qa", "home", "k", test=True), START, "unknown_user")
    facts = [
        NewFact(Kind.DECISION, one.decision_id, one.placement, one.user_id, one.decided_at, one)
        for one in [fallen, test, *decisions]
    ]
    rewards = [
        NewFact(
            Kind.REWARD, one.decision_id, REWARD_LABEL, one.user_id, one.decided_at, reward_of(number, one)
        )
        for number, one in enumerate(decisions[:25])
    ]
    database.write(lambda c: ledger.append(c, facts + rewards, START), rows=60)
    return [fallen, *decisions]


def reward_of(number: int, one: Decision) -> Reward:
    outcome = f"e{number}" if number % 3 == 0 else None
    value = 0.25 if outcome else 0.0
    return Reward(one.decision_id, "home", "p@1", "always", one.arm, True, one.decided_at, value, outcome)


def test_json_lines_are_the_records_and_what_they_earned(
    database: Database, log: list[Decision], tmp_path: Path
) -> None:
    out = tmp_path / "log.jsonl"
    assert export_log(database, out, "jsonl") == (31, 25, 1)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    kept = {"reward", "outcome"}
    records = [{name: value for name, value in line.items() if name not in kept} for line in lines]
    assert records == [json.loads(msgspec.json.encode(one)) for one in log]
    assert [line["reward"] for line in lines[:4]] == [None, 0.25, 0.0, 0.0]
    assert [line["outcome"] for line in lines[-7:]] == [None, "e24", *[None] * 5]


def test_parquet_has_a_row_a_decision(database: Database, log: list[Decision], tmp_path: Path) -> None:
    out = tmp_path / "log.parquet"
    export_log(database, out, "parquet", since=START + timedelta(hours=1), until=START + timedelta(hours=29))
    rows = pq.read_table(out).to_pylist()
    assert len(rows) == 28
    for row, decision in zip(rows, log[2:-1], strict=True):
        for name in ("decision_id", "arm", "propensity", "decided_at", "probabilities", "chosen"):
            assert row[name] == getattr(decision, name)
        assert row["holdout"] == list(decision.holdout)
        assert json.loads(row["features"]) == dict(decision.features)
    assert rows[2]["reward"] == 0.25
    assert rows[-1]["reward"] is None


def test_vws_own_driver_reads_the_dsjson(database: Database, log: list[Decision], tmp_path: Path) -> None:
    out, predictions = tmp_path / "log.dsjson", tmp_path / "predictions"
    export_log(database, out, "dsjson", placements=["home"])
    found = subprocess.run(
        [sys.executable, "-c", _LABELS, str(out), str(predictions)],
        capture_output=True,
        text=True,
        check=True,
    )
    read = json.loads(found.stdout)
    assert read["logs"] == []
    drawn = log[1:]
    for number, (decision, (size, place, label)) in enumerate(zip(drawn, read["labels"], strict=True)):
        # The user, three offers and doing nothing.
        assert size == 5
        if number >= 25:
            assert (place, label) == ([], None)
        else:
            assert place == [decision.chosen + 1]
            _, cost, probability = label
            assert cost == pytest.approx(-reward_of(number, decision).value)
            assert probability == pytest.approx(decision.propensity, abs=1e-6)
    # All but the refused, the control and the five that are not known yet.
    assert "number of examples = 23" in read["output"]
    vectors = [block for block in predictions.read_text(encoding="utf-8").split("\n\n") if block.strip()]
    assert len(vectors) >= 23
    document = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
    assert document["c"]["_multi"][1]["Arm"]["category"] == "a|b:c"
    assert document["p"][0] == drawn[0].propensity
    assert [json.loads(line).get("_skipLearn", False) for line in out.read_text().splitlines()] == [
        False, True, True, *[False] * 22, *[True] * 5,
    ]  # fmt: skip


def test_what_can_not_be_exported_is_said_and_leaves_nothing(
    database: Database, log: list[Decision], tmp_path: Path
) -> None:
    out = tmp_path / "log.jsonl"
    with pytest.raises(NothingToExport, match="with decisions are home"):
        export_log(database, out, "jsonl", placements=["hom"])
    with pytest.raises(NothingToExport, match="nothing was written"):
        export_log(database, out, "jsonl", since=START + timedelta(days=9))
    with pytest.raises(ConfigurationError, match="exclusive"):
        export_log(database, out, "jsonl", since=START, until=START)
    with pytest.raises(ConfigurationError, match="can't write"):
        export_log(database, tmp_path / "none" / "log.jsonl", "jsonl")
    assert list(tmp_path.glob("*log*")) == []
    export_log(database, out, "jsonl")
    with pytest.raises(ConfigurationError, match="is there already"):
        export_log(database, out, "jsonl")


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, ["decisions", "export", *map(str, arguments)])
    return result.output if result.exception is None else str(result.exception)


def test_the_command_looks_beside_a_service_that_runs(
    database: Database,
    log: list[Decision],
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEXTPLAY_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^nextplay decisions export (.*)", GUIDE.read_text(encoding="utf-8"), re.M)
    said = [run(*command.split()) for command in commands]
    assert [one.split(" ", 3)[0] for one in said] == ["31", "31", "30"]
    out = tmp_path / "another.dsjson"
    assert "no format" in run(tmp_path / "log.txt")
    assert "give --format parquet, jsonl, dsjson" in run(out, "--format", "csv")
    monkeypatch.delenv("NEXTPLAY_DATABASE_URL")
    assert "name the service's folder" in run(tmp_path / "a.jsonl", "--data", tmp_path / "none")
