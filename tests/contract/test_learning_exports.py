"""The decision log in three formats, on both databases; VW's own driver reads the dsjson.

And what a published version would have done in what was exported, or in rounds from elsewhere.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from decision.cli import app
from learning import version_repository
from learning.errors import NothingToExport, SeenInTraining, UnknownCandidate, UnknownVersion
from learning.evaluation import evaluate, read_log
from learning.evaluation.logs import log_of_rows
from learning.exports import export_log
from learning.offline.published import candidate_in_file, candidate_in_rows
from learning.plans import Plans
from learning.repository import REWARD_LABEL
from learning.rewards import Reward
from learning.spec import PolicySpec
from learning.versions import PolicyVersion, cold_start
from playbooks.content.documents import Content
from playbooks.decision import Decision
from playbooks.library import Draft
from playbooks.matching import Request, Snapshot, decide, fall_back
from playbooks.offers import Offer
from playbooks.policy import Stakes
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
    # What a request told, of which a rule asked.
    told = {**decisions[3].features, "context.country": "D E|:'é"}
    decisions[3] = msgspec.structs.replace(decisions[3], features=told)
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


def published(database: Database, name: str, trained: int = 0, **exploration: Any) -> PolicyVersion:
    """Publish a policy like the one that drew, or one of another exploration."""
    document = SPEC.model_dump(by_alias=True, mode="json") | {"id": name}
    if exploration:
        document |= {"exploration": exploration, "features": [], "prior": {}, "learner": None}
    start = cold_start(PolicySpec.model_validate(document), {"category": WORDS}, START, after=None)
    new = msgspec.structs.replace(start, trained=trained)
    database.write(lambda c: version_repository.insert_version(c, new, START), rows=2)
    return new


def test_a_published_version_is_a_candidate_on_an_export(
    database: Database, log: list[Decision], tmp_path: Path
) -> None:
    published(database, "other")
    published(database, "learned", trained=9)
    known = [one for one in log[1:26] if not one.holdout]
    for name in ("log.jsonl", "log.parquet"):
        out = tmp_path / name
        export_log(database, out, "jsonl" if name == "log.jsonl" else "parquet")
        rounds = read_log(out)
        assert len(rounds) == len(known) == 24
        found = candidate_in_file(database, "other@1", out, rounds)
        assert found.dist is not None
        for row, decision in zip(found.dist, known, strict=True):
            at = [rounds.actions.index(arm) for arm in decision.arms]
            # It is what drew them, by another name.
            assert row[at].tolist() == pytest.approx(list(decision.probabilities))
        assert evaluate(rounds, found).verdict.startswith("not ")
        with pytest.raises(SeenInTraining, match=r"is of this very service.*write `ledger` as LOG"):
            candidate_in_file(database, "learned@1", out, rounds)
        with pytest.raises(UnknownVersion):
            candidate_in_file(database, "other@7", out, rounds)
    dropped = out.with_name("log.dsjson")
    export_log(database, dropped, "dsjson")
    with pytest.raises(UnknownCandidate, match="numbers its actions"):
        candidate_in_file(database, "other@1", dropped, read_log(dropped))


def test_an_export_says_which_row_a_version_can_not_be_asked_of(
    database: Database, log: list[Decision], tmp_path: Path
) -> None:
    published(database, "other")
    out = tmp_path / "log.jsonl"
    export_log(database, out, "jsonl")
    lines = out.read_text(encoding="utf-8").splitlines()
    for wrong, said in (
        ({"features": {}}, r"row 2, features: other@1 reads 'orders_4w'"),
        (
            {"features": {"rates": [1.0], "orders_4w": 1, "unknown": 1}},
            r"row 2: other@1 can't be asked: .*rates",
        ),
        (
            {"arms": ["b/x", "do_nothing"], "probabilities": [0.5, 0.5], "chosen": 0},
            r"row 2: .*'b' was never",
        ),
    ):
        changed = {**json.loads(lines[1]), **wrong, "propensity": 0.5}
        if "arms" not in wrong:
            changed["propensity"] = json.loads(lines[1])["propensity"]
        out.write_text("\n".join([lines[0], json.dumps(changed), *lines[2:]]) + "\n", encoding="utf-8")
        with pytest.raises(UnknownCandidate, match=said):
            candidate_in_file(database, "other@1", out, read_log(out))
    # Rows are those of the file, fallbacks and all.
    out.write_text(
        "\n".join([*lines[:4], json.dumps({**json.loads(lines[4]), "propensity": 0}), *lines[5:]]) + "\n",
        encoding="utf-8",
    )
    assert [str(one) for one in read_log(out).refused] == [
        "row 5, pscore: a propensity must be above 0, not 0.0"
    ]
    assert len(candidate_in_file(database, "other@1", out, read_log(out)).chosen) == 23


def test_a_published_version_is_a_candidate_on_rounds_whose_actions_are_arms(
    database: Database, log: list[Decision], tmp_path: Path
) -> None:
    version = published(database, "other")
    published(database, "one", kind="single", variant="always/o1")
    published(database, "two", kind="single", variant="gone/o1")
    rng = np.random.default_rng(2)
    arms = ["always/o0", "do_nothing", "always/o2"]
    rows = [
        {
            "action": arms[int(rng.integers(0, 3))],
            "reward": int(rng.random() < 0.3),
            "pscore": 1 / 3,
            "context.rates": rng.random(3).round(3).tolist(),
            "context.orders_4w": int(rng.integers(0, 9)),
            "context.unknown": 1,
        }
        for _ in range(60)
    ]
    rows[4]["pscore"] = 0
    told = log_of_rows(rows)
    found = candidate_in_rows(database, "other@1", rows, told)
    assert found.dist is not None
    policy, plans = version.serve(), Plans(database)
    asked = [plans.arm("always", 1, name) for name in (arms[0], arms[2])]
    kept = [row for place, row in enumerate(rows) if place != 4]
    for row, vector in zip(kept, found.dist, strict=True):
        features = {name: row[f"context.{name}"] for name in ("rates", "orders_4w", "unknown")}
        scores = np.append(policy.score(features, asked), 0.0)
        wanted = policy.explore(Stakes(["x", "y", "do_nothing"], scores, None, ("", "", "", "")))
        at = [told.actions.index(name) for name in (arms[0], arms[2], "do_nothing")]
        assert vector[at].tolist() == pytest.approx(wanted.tolist())
    # The same by a file, where lists are JSON text.
    path = tmp_path / "rounds.csv"
    names = list(rows[0])
    cells = [
        [json.dumps(one[name]) if isinstance(one[name], list) else one[name] for name in names]
        for one in rows
    ]
    path.write_text(
        "\n".join([",".join(names), *(",".join(f'"{one}"' for one in row) for row in cells)]) + "\n"
    )
    again = candidate_in_file(database, "other@1", path, read_log(path))
    assert again.chosen.tolist() == found.chosen.tolist()
    # One arm that the log never took: doing nothing is what is left.
    idle = candidate_in_rows(database, "one@1", rows, told).dist
    assert idle is not None
    assert idle[:, told.actions.index("do_nothing")].tolist() == [1.0] * 59
    for name, change, said in (
        ("other@1", {"context.unknown": None}, "has no column context.unknown; it has context.rates"),
        ("other@1", {"action": "always/o7"}, r"took 'always/o7'.*has no arm 'always/o7'; name actions as"),
        ("other@1", {"context.rates": [1.0]}, "other@1 can't be asked: .*rates"),
        ("one@1", {"action": "always/o2"}, r"no support for 'always/o1', which one@1 draws"),
    ):
        wrong = [row | change for row in rows]
        if change == {"context.unknown": None}:
            wrong = [{key: value for key, value in row.items() if key != "context.unknown"} for row in rows]
        with pytest.raises(UnknownCandidate, match=said):
            candidate_in_rows(database, name, wrong, log_of_rows(wrong))
