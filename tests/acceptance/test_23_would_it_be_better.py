"""Story 23: a candidate is evaluated on the log, with intervals and diagnostics, before anybody meets it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from decision.cli import app
from tests.acceptance.driver import Running


def rounds(n: int = 400) -> list[dict[str, Any]]:
    rng = np.random.default_rng(2)
    actions = rng.integers(0, 2, n)
    return [
        {
            "action": int(a),
            "reward": int(rng.random() < 0.2 + 0.4 * a),
            "pscore": 0.5,
            "action_dist": [0.1, 0.9],
        }
        for a in actions
    ]


def test_a_candidate_is_judged_on_the_decisions_of_the_service(service: Running) -> None:
    users = [f"judged-{uuid4().hex[:8]}" for _ in range(6)]
    for user in users:
        service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    policies = set()
    for user in users:
        answer = service.decide(user).json()
        policies.add(service.http.get(f"/v1/decisions/{answer['decision_id']}").json()["policy"])
    (policy,) = policies
    service.move(timedelta(days=15))
    service.run("reward")
    response = service.http.post("/v1/evaluations", json={"policy": policy, "estimators": ["snips", "dr"]})
    assert response.status_code == 200, response.text
    found = response.json()
    assert found["candidate"] == policy
    assert found["diagnostics"]["users"] >= len(users)
    assert set(found["estimates"]) == {"snips", "dr"}
    # It made these decisions itself.
    assert found["diagnostics"]["mean_weight"]["value"] > 0.99
    assert found["verdict"] == "not distinguishable"
    unknown = service.http.post("/v1/evaluations", json={"policy": "nobody@1"})
    assert unknown.status_code == 404
    nobody = service.http.post("/v1/evaluations", json={})
    assert nobody.status_code == 422
    assert "name the policy version" in nobody.json()["detail"]


def test_rounds_from_elsewhere_are_judged(service: Running) -> None:
    found = service.http.post("/v1/evaluations", json={"rounds": rounds(), "intervals": ["normal"]}).json()
    low, high = found["estimates"]["snips"]["interval"]
    assert low < 0.56 < high
    assert found["verdict"] == "better"
    assert found["estimates"]["ips"]["intervals"]["normal"][0] > 0


def test_a_version_is_judged_on_rounds_from_elsewhere_whose_actions_are_its_arms(
    service: Running, user: str, tmp_path: Path
) -> None:
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    record = service.http.get(f"/v1/decisions/{service.decide(user).json()['decision_id']}").json()
    arms = [record["arms"][0], record["arms"][1], "do_nothing"]
    given = [
        {
            "action": arms[row["action"] * (1 + place % 2)],
            "reward": row["reward"],
            "pscore": 1 / 2 if row["action"] == 0 else 1 / 4,
            **{f"context.{name}": value for name, value in record["features"].items()},
        }
        for place, row in enumerate(rounds(200))
    ]
    asked = {"rounds": given, "policy": record["policy"], "baseline": "uniform", "estimators": ["snips"]}
    answer = service.http.post("/v1/evaluations", json=asked)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["candidate"], answer.json()["record"]) == (record["policy"], None)
    log = tmp_path / "elsewhere.parquet"
    pq.write_table(pa.Table.from_pylist(given), log)
    # Beside the service, which runs.
    command = ["evaluate", str(log), "--policy", record["policy"], "--baseline", "uniform", "--json"]
    run = CliRunner().invoke(app, [*command, "--estimators", "snips", "--data", str(service.data)])
    assert run.exit_code == 0, run.output
    assert json.loads(run.output)["estimates"] == answer.json()["estimates"]
    wrong = [row | {"action": "nobody/knows"} for row in given]
    refused = service.http.post("/v1/evaluations", json=asked | {"rounds": wrong})
    assert refused.status_code == 422
    assert "no playbook 'nobody' was ever served" in refused.json()["detail"]


def test_bad_rounds_are_named_and_nothing_is_made_of_them(service: Running) -> None:
    given = rounds(10)
    given[3]["pscore"] = 0
    response = service.http.post("/v1/evaluations", json={"rounds": given})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert "row 4, pscore: a propensity must be above 0, not 0" in response.json()["detail"]
    for body, said in [
        ({"rounds": []}, "no column action"),
        ({"rounds": rounds(10), "policy": "/etc/passwd"}, "reads no files"),
        ({"rounds": rounds(10), "estimators": ["sdr"]}, "there is no estimator 'sdr'"),
    ]:
        refused = service.http.post("/v1/evaluations", json=body)
        assert refused.status_code == 422, body
        assert said in refused.json()["detail"], body


def test_what_splits_nothing_is_no_experiment(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    decision = service.decide(user).json()["decision_id"]
    policy = service.http.get(f"/v1/decisions/{decision}").json()["policy"]
    refused = service.http.get(f"/v1/experiments/{policy}")
    assert refused.status_code == 422
    assert "an experiment is a policy with exploration.kind fixed_split" in refused.json()["detail"]
