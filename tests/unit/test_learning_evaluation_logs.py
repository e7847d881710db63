"""Logs from elsewhere: what is read, and what is said of each thing that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from learning.errors import UnknownCandidate, UnreadableLog
from learning.evaluation import How, Log, candidate, evaluate, read_log
from learning.evaluation.logs import distributions, log_of_rows
from learning.offline import read_rounds

Row = dict[str, Any]


def rows(n: int = 60) -> list[Row]:
    rng = np.random.default_rng(3)
    return [
        {
            "action": int(action),
            "reward": float(rng.random() < 0.3),
            "pscore": 0.5,
            "action_dist": [0.2, 0.8],
            "context.age": float(rng.normal()),
        }
        for action in rng.integers(0, 2, n)
    ]


def parquet(folder: Path, given: list[Row]) -> Path:
    path = folder / "log.parquet"
    pq.write_table(pa.Table.from_pylist(given), path)
    return path


def csv(folder: Path, given: list[Row]) -> Path:
    path = folder / "log.csv"
    names = list(given[0])
    lines = [names] + [[_cell(row[name]) for name in names] for row in given]
    path.write_text("\n".join(",".join(line) for line in lines) + "\n")
    return path


def _cell(value: Any) -> str:
    return f'"{json.dumps(value)}"' if isinstance(value, list) else str(value)


def test_parquet_csv_and_rows_say_the_same(tmp_path: Path) -> None:
    given = rows()
    logs = [read_log(parquet(tmp_path, given)), read_log(csv(tmp_path, given)), log_of_rows(given)]
    found = [evaluate(log, candidate(log, None, distributions)) for log in logs]
    assert found[0] == found[1] == found[2]
    assert logs[0].actions == ("0", "1")
    assert logs[0].context is not None
    assert logs[0].context.shape == (60, 1)


def test_actions_may_have_names_where_there_are_no_lists(tmp_path: Path) -> None:
    given = [{"action": name, "reward": 1, "pscore": 0.5} for name in ("b", "a", "b")]
    log = read_log(csv(tmp_path, given))
    assert log.actions == ("a", "b")
    assert log.action.tolist() == [1, 0, 1]
    again = evaluate(log, candidate(log, "always:b", distributions))
    assert again.estimates["replay"].value == 1.0


BAD = [
    ("pscore", 0.0, "row 7, pscore: a propensity must be above 0, not 0.0"),
    ("pscore", 1.5, "row 7, pscore: a propensity is at most 1, not 1.5"),
    ("pscore", None, "row 7, pscore: there is no value"),
    ("reward", float("nan"), "row 7, reward: "),
    ("reward", float("inf"), "row 7, reward: inf is not a finite number"),
    ("action", 2, "row 7, action: an action must be one of 0 to 1, the places in action_dist, not 2"),
    ("action", -1, "row 7, action: an action must be one of 0 to 1"),
    ("action_dist", [0.2, 0.7], "row 7, action_dist: it sums to 0.9 instead of 1"),
    ("action_dist", [-0.2, 1.2], "row 7, action_dist: a probability is below 0"),
    ("action_dist", [1.0], "row 7, action_dist: it has 1 numbers, where others have 2"),
    ("action_dist", None, "row 7, action_dist: there is no value"),
]


@pytest.mark.parametrize(("column", "value", "said"), BAD)
def test_a_wrong_row_is_named_and_left_out(tmp_path: Path, column: str, value: Any, said: str) -> None:
    given = rows()
    given[6][column] = value
    log = read_log(parquet(tmp_path, given))
    assert len(log) == 59
    assert str(log.refused[0]).startswith(said)
    found = evaluate(log, candidate(log, None, distributions))
    assert found.refused_rows == 1
    assert found.refused[0].startswith(said)


def test_a_propensity_that_does_not_fit_the_logged_vector_is_named(tmp_path: Path) -> None:
    given = [row | {"logged_dist": [0.5, 0.5]} for row in rows()]
    assert read_log(parquet(tmp_path, given)).refused == ()
    given[6] |= {"pscore": 0.4}
    given[8] |= {"pscore": 0.0}
    log = read_log(parquet(tmp_path, given))
    assert [str(one) for one in log.refused] == [
        "row 7, pscore: logged_dist gives the action 0.5",
        "row 9, pscore: a propensity must be above 0, not 0.0",
    ]
    how = How(["snips"], promote=True)
    found = evaluate(log, candidate(log, None, distributions), how=how).promotion
    assert found is not None
    assert "2 rows of the log are wrong and were left out: row 7, pscore" in " ".join(found.reasons)


@pytest.mark.parametrize("change", [{"reward": 0.0}, {"action": 1, "pscore": 1.0, "action_dist": [0.0, 1.0]}])
def test_where_nothing_can_be_told_nothing_is_promoted(tmp_path: Path, change: Row) -> None:
    # Nobody was rewarded; or there was one arm only.
    log = read_log(parquet(tmp_path, [row | change for row in rows(400)]))
    found = evaluate(log, candidate(log, None, distributions), how=How(["snips"], promote=True))
    assert found.verdict == "not distinguishable"
    assert found.promotion is not None
    assert not found.promotion.promote
    assert found.diagnostics.doubts or found.candidate_value.value == pytest.approx(log.rewards.mean())


def test_text_where_numbers_belong_is_named(tmp_path: Path) -> None:
    given = rows()
    given[2] |= {"reward": "yes"}
    given[4] |= {"action_dist": "half"}
    log = read_log(csv(tmp_path, given))
    assert [str(one) for one in log.refused] == [
        "row 3, reward: 'yes' is not a finite number",
        "row 5, action_dist: 'half' is not a list of numbers",
    ]


def test_a_log_that_is_wrong_throughout_is_refused(tmp_path: Path) -> None:
    given = rows()
    for row in given[:4]:
        row["pscore"] = 0
    with pytest.raises(UnreadableLog, match=r"4 of 60 rows .* more than 5%.* row 1, pscore"):
        read_log(csv(tmp_path, given))


def test_copies_are_left_out(tmp_path: Path) -> None:
    given = rows()
    log = read_log(parquet(tmp_path, [*given, given[0], given[1]]))
    assert [(one.row, one.why) for one in log.refused] == [
        (61, "it is a copy of row 1"),
        (62, "it is a copy of row 2"),
    ]
    numbered = [row | {"round_id": f"r{index}"} for index, row in enumerate(given)]
    numbered[9]["round_id"] = "r3"
    (one,) = read_log(parquet(tmp_path, numbered)).refused
    assert str(one) == "row 10, round_id: it is a copy of row 4: both are 'r3'"
    # What was written down twice has the same moment, and at another one it is another round.
    hours = [row | {"occurred_at": f"2026-03-02T{index % 24:02d}:00:00Z"} for index, row in enumerate(given)]
    assert len(read_log(parquet(tmp_path, [*hours, hours[0]])).refused) == 1
    assert len(read_log(parquet(tmp_path, [*hours, hours[0] | {"occurred_at": "2026-03-03"}])).refused) == 0
    # Nor are equal rounds a surprise where contexts are few, or there are none.
    few = [row | {"context.age": float(index % 4)} for index, row in enumerate(given)]
    assert len(log_of_rows([*few, *few, *few])) == 180
    plain = [{"action": 0, "reward": 1, "pscore": 0.5}] * 10
    assert len(log_of_rows(plain)) == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; a log needs the columns action, reward, pscore"),
        ("action,reward,pscore\n", "has no rounds"),
        ("action,reward\n1,1\n", "has no column pscore"),
        ("action,reward,pscores\n1,1,1\n", 'did you mean "pscore"?'),
        ("action,reward,pscore,acton_dist\n1,1,1,[1]\n", 'did you mean "action_dist"?'),
        ('action,reward,pscore\n"1,1,1\n', "can't be read as CSV"),
        ('action,reward,pscore,action_dist,estimated_rewards\n0,1,1,[1],"[1,2]"\n', "different lengths"),
    ],
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(UnreadableLog) as raised:
        read_log(path)
    assert said in str(raised.value)


def test_what_is_not_there_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("a")
    (tmp_path / "log.parquet").write_text("not parquet")
    for name, said in (
        ("none.csv", "there is no file"),
        ("log.txt", "must end in"),
        ("log.parquet", "is no Parquet file"),
        (".", "neither a service's folder"),
    ):
        with pytest.raises(UnreadableLog, match=said):
            read_log(tmp_path / name)


def test_a_candidate_from_a_file_must_fit_row_for_row(tmp_path: Path) -> None:
    given = rows()
    log = log_of_rows(given)
    path = parquet(tmp_path, [{"action_dist": [0.5, 0.5]}] * 60)
    assert candidate(log, str(path), distributions).chosen.tolist() == [0.5] * 60
    short = parquet(tmp_path, [{"action_dist": [0.5, 0.5]}] * 59)
    with pytest.raises(UnknownCandidate, match="59 rows of 2 probabilities; the log has 60"):
        candidate(log, str(short), distributions)
    wrong = parquet(tmp_path, [{"action_dist": [0.5, 0.6]}] * 60)
    with pytest.raises(UnreadableLog, match="row 1, action_dist: it sums to"):
        candidate(log, str(wrong), distributions)


def dsjson(folder: Path, changed: Row, n: int = 50) -> Path:
    rng = np.random.default_rng(4)
    lines = []
    for index in range(n):
        first = int(rng.integers(1, 4))
        event = {
            "_label_cost": -float(rng.random() < 0.2 * first),
            "_label_probability": 0.8,
            "_label_Action": first,
            "_labelIndex": first - 1,
            "o": [],
            "Timestamp": f"2026-03-02T10:00:{index % 60:02d}.0000000Z",
            "EventId": f"e{index}",
            "a": [first, *sorted({1, 2, 3} - {first})],
            "c": {"User": {"age": 3}, "_multi": [{}, {}, {}]},
            "p": [0.8, 0.1, 0.1],
        }
        lines.append(json.dumps(event | (changed if index == 7 else {})))
    path = folder / "log.dsjson"
    path.write_text("\n".join(['{"RewardValue":1,"EnqueuedTimeUtc":"2026-03-02T10:00:00Z"}', *lines]) + "\n")
    return path


def test_decision_logs_of_vw(tmp_path: Path) -> None:
    log: Log = read_log(dsjson(tmp_path, {}))
    assert (len(log), log.actions) == (50, ("1", "2", "3"))
    assert log.propensities.tolist() == [0.8] * 50
    assert log.logged_dist is not None
    assert log.logged_dist.sum(axis=1).tolist() == pytest.approx([1.0] * 50)
    assert log.rewards.max() == 1.0
    assert candidate(log, "always:3", distributions).chosen.sum() == (log.action == 2).sum()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"p": [0.8, 0.2]}, "3 actions in `a` need as many probabilities"),
        ({"a": [1, 1, 2]}, "`a` must name different actions"),
        ({"pdrop": 0.5}, "events were dropped at random"),
        ({"_label_probability": 0.5}, "is not the first of `p`"),
        ({"a": "x"}, "the line is no dsjson event"),
        ({"EventId": "e3"}, "it is a copy of row 4"),
    ],
)
def test_wrong_lines_of_decision_logs_are_named(tmp_path: Path, changed: Row, said: str) -> None:
    (one,) = read_log(dsjson(tmp_path, changed)).refused
    assert said in str(one)
    assert one.row == 8


def test_folders_of_the_open_bandit_dataset(tmp_path: Path) -> None:
    head = ",timestamp,item_id,position,click,propensity_score,user_feature_0,user-item_affinity_0"
    rng = np.random.default_rng(5)
    lines = [
        f"{i},2019-11-24 00:00:{i % 60:02d}.5+00:00,{i % 8},{1 + i % 3},{int(rng.random() < 0.2)},0.125,"
        f"h{i % 4},0.0"
        for i in range(240)
    ]
    (tmp_path / "all.csv").write_text("\n".join([head, *lines]) + "\n")
    (tmp_path / "item_context.csv").write_text(",item_id,item_feature_0\n0,0,0.5\n")
    log = read_log(tmp_path)
    assert (len(log), log.actions) == (240, tuple(map(str, range(8))))
    assert log.context is not None
    assert log.context.shape == (240, 5)
    found = evaluate(log, candidate(log, "uniform", distributions))
    assert found.estimates["ips"].value == pytest.approx(log.rewards.mean())
    learned = read_rounds(tmp_path)
    assert (len(learned), dict(learned.scalars), learned.vocabularies["action"]) == (
        240,
        {},
        list(log.actions),
    )
    (tmp_path / "more.csv").write_text("a\n")
    with pytest.raises(UnreadableLog, match="must hold one log beside"):
        read_log(tmp_path)


def test_who_says_how_large_a_reward_can_be_takes_the_doubt_away() -> None:
    log = log_of_rows([row | {"reward": 40.0 * row["reward"]} for row in rows()])
    assert (log.low, log.high) == (0.0, 40.0)
    assert "nobody said how large a reward can be" in log.notes[0]
    assert log.between(0.0, 50.0).notes == ()


def exported(n: int = 40) -> list[Row]:
    rng = np.random.default_rng(6)
    found = []
    for index in range(n):
        # Every other decision has an arm less.
        arms = ["a/1", "do_nothing"] if index % 2 else ["b/1", "a/1", "do_nothing"]
        chosen = int(rng.integers(0, len(arms)))
        row = {
            "decision_id": f"d{index}",
            "user_id": f"u{index % 8}",
            "decided_at": f"2026-03-02T10:00:{index % 60:02d}Z",
            "arm": arms[chosen],
            "arms": arms,
            "probabilities": [1 / len(arms)] * len(arms),
            "chosen": chosen,
            "propensity": 1 / len(arms),
            "reward": float(rng.random() < 0.3),
            "fallback": None,
            "holdout": [],
        }
        found.append(row)
    found[3] |= {"reward": None}
    found[5] |= {"fallback": "unknown_user"}
    found[7] |= {"holdout": ["holdout.gold"]}
    return found


def test_our_exported_decisions_are_read(tmp_path: Path) -> None:
    given = exported()
    lines = tmp_path / "log.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in given))
    for log in (read_log(parquet(tmp_path, given)), read_log(lines)):
        assert (len(log), log.actions) == (37, ("b/1", "a/1", "do_nothing"))
        assert log.owners is not None
        assert log.owners.max() == 7
        assert log.logged_dist is not None
        assert log.logged_dist[1].tolist() == [0.0, 0.5, 0.5]
        assert [log.actions[one] for one in log.action[:3]] == [row["arm"] for row in given[:3]]
        # What was not eligible everywhere can't always be taken.
        found = evaluate(log, candidate(log, "always:b/1", distributions))
        assert found.verdict == "not evaluable: no support for b/1"
        # Uniform is over what was eligible.
        again = evaluate(log, candidate(log, "uniform", distributions))
        assert again.estimates["ips"].value == pytest.approx(log.rewards.mean())


def test_decisions_whose_rewards_are_not_known_are_no_log(tmp_path: Path) -> None:
    given = [row | {"reward": None} for row in exported(8)]
    lines = tmp_path / "log.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in given))
    with pytest.raises(UnreadableLog, match="of no decision is the reward known"):
        read_log(lines)


def test_lines_that_are_not_to_be_learned_from_are_left_out_and_said(tmp_path: Path) -> None:
    log = read_log(dsjson(tmp_path, {"_skipLearn": True}))
    assert len(log) == 49
    assert log.notes == ("1 decisions say _skipLearn and were left out",)
