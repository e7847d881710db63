"""A version is learnt again from the ledger, and told how far it is what was published."""

from __future__ import annotations

import re
import shlex
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from decision import cli
from decision.evaluating import policies_api, policies_command
from learning import version_repository
from learning.errors import InvalidRounds, UnknownVersion
from learning.exports import export_log
from learning.exports.writing import Format
from learning.learner import Learnt
from learning.models import Linear, LinearGaussian, model_from_bytes
from learning.rebuilding import rebuild
from learning.versions import PolicyVersion, child
from storage import ledger
from storage.engine import Database
from storage.errors import ConfigurationError
from storage.ledger import Kind, NewFact
from tests.integration.test_learning_loop import CATEGORIES, START, WINDOW, World, run, spec, training

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "train.md"
MEMBERS: dict[str, Any] = {"first": {"kind": "vw"}, "other": {"kind": "linear_gaussian"}}


@pytest.mark.parametrize(
    "learner",
    [
        {"kind": "vw"},
        {"kind": "linear_gaussian", "half_life": 100},
        {"kind": "portfolio", "members": MEMBERS},
    ],
    ids=["vw", "fading", "portfolio"],
)
def test_it_is_the_published_one_to_the_last_bit(
    database: Database, learner: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("learning.lessons._PAGE", 100)
    world = World(database)
    with training(database, spec(learner=learner)) as made:
        version = run(world, made, 4)
        # What was in between is not needed: the change facts tell in which steps it was learnt.
        database.write(partial(version_repository.let_go, now=START + 5 * WINDOW), rows=2)
    again, told = rebuild(database, version.version)
    assert (told.verdict, told.largest_difference, told.says) == ("exact", 0.0, [])
    assert (told.steps, told.trained, told.published) == (4, version.trained, version.trained)
    assert msgspec.structs.replace(again, state=None) == msgspec.structs.replace(version, state=None)


def test_steps_lead_past_weights_that_were_taken_back(database: Database) -> None:
    world = World(database)
    with training(database, spec()) as made:
        bad = run(world, made, 2)
        restored: PolicyVersion = database.write(
            lambda c: version_repository.take_back(c, bad.version, START + 3 * WINDOW, "ann", "odd"), rows=2
        )
        version = run(world, made, 1, START + 4 * WINDOW)
    assert (restored.parent, version.parent) == (bad.version, restored.version)
    for name, steps in ((bad.version, 2), (restored.version, 1), (version.version, 2)):
        _, told = rebuild(database, name)
        assert (told.verdict, told.steps) == ("exact", steps)


def test_what_was_learnt_anew_begins_at_the_first_reward(database: Database) -> None:
    world = World(database)
    with training(database, spec()) as made:
        run(world, made, 2)
        # Told a month late: of decisions that were learnt from already.
        for user in list(world.chances)[:30]:
            world.buy(user, START + timedelta(days=1), "MILK", "APPLES", "BACON", told=START + 3 * WINDOW)
        version = run(world, made, 1, START + 4 * WINDOW)
    assert version.anew
    _, told = rebuild(database, version.version)
    assert (told.verdict, told.steps) == ("exact", 1)


def test_it_says_why_it_is_another_one(database: Database) -> None:
    world = World(database)
    with training(database, spec(learner={"kind": "linear_gaussian"})) as made:
        version = run(world, made, 2)
    recalled = [NewFact(Kind.RECALL, one, "everyone", None, START, {}) for one in list(world.rewards())[:20]]
    database.write(lambda c: ledger.append(c, recalled, START), rows=20)
    again, told = rebuild(database, version.version)
    assert told.verdict == "different"
    assert (told.largest_difference or 0) > 1e-6
    gone = told.published - told.trained
    assert 0 < gone <= 20
    assert told.says == [
        f"{gone} of {version.trained} decisions are not to be learnt from any more: they were erased or "
        "recalled, or are past their retention"
    ]
    assert again.trained == told.trained


def published_after(database: Database, version: PolicyVersion, model: Linear) -> PolicyVersion:
    """Publish a model that learnt nothing more than a version had."""
    new = child(
        version,
        Learnt(model, version.state or b""),
        trained=version.trained,
        through=version.through,
        metrics={},
        now=START + 3 * WINDOW,
    )
    database.write(partial(version_repository.insert_version, new=new, now=START), rows=2)
    return new


def test_a_version_that_nobody_learnt_is_found_out(database: Database) -> None:
    world = World(database)
    with training(database, spec()) as made:
        version = run(world, made, 1)
    model = model_from_bytes(version.model)
    assert isinstance(model, Linear)
    forged = Linear(model.names, model.weights + 1e-3, model.intercept, model.low, model.high)
    next_one = published_after(database, version, forged)
    _, told = rebuild(database, next_one.version)
    assert told.verdict == "different"
    assert "the learner or its numerics have changed" in told.says[0]
    with pytest.raises(UnknownVersion):
        rebuild(database, "next_category@99")


def test_it_is_asked_for_on_the_command_line_and_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nextplay.db'}")
    with closing(database):
        with training(database, spec()) as made:
            version = run(World(database), made, 2)
        served = FastAPI()
        served.include_router(
            policies_api.router(database, NotImplemented, lambda _: "ann", lambda: None, list)
        )
        answer = TestClient(served).post(f"/v1/policies/versions/{version.version}/rebuild")
    assert (answer.status_code, answer.json()["verdict"]) == (200, "exact")
    commands = re.findall(
        r"^nextplay policies (rebuild .* --data .*)$", PAGE.read_text(encoding="utf-8"), re.M
    )
    plain, written = (
        shlex.split(one.replace("next_category@7", version.version).replace("var/data", str(tmp_path)))
        for one in commands
    )
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(policies_command.app, plain, catch_exceptions=False)
    assert told.stdout.startswith(f"{version.version}: exact; {version.trained} of {version.trained}")
    told = CliRunner().invoke(policies_command.app, written, catch_exceptions=False)
    assert msgspec.json.decode(told.stdout) == answer.json()
    again = PolicyVersion.from_bytes((tmp_path / "rebuilt.bin").read_bytes())
    assert (again.version, again.model) == (version.version, version.model)
    with pytest.raises(ConfigurationError, match="is there already"):
        CliRunner().invoke(policies_command.app, written, catch_exceptions=False)


def test_a_policy_is_trained_on_the_ledger_of_a_folder(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nextplay.db'}")
    with closing(database), training(database, spec()) as made:
        served = run(World(database), made, 6)
    other = spec(id="another", learner={"kind": "linear_gaussian"})
    (tmp_path / "policy.json").write_text(other.model_dump_json(by_alias=True))
    documented = re.findall(r"^nextplay (train var/data .*)$", PAGE.read_text(encoding="utf-8"), re.M)
    alone, together = (
        shlex.split(
            one.replace("var/data", str(tmp_path)).replace("policy.yaml", str(tmp_path / "policy.json"))
        )
        for one in documented
    )
    command = [*alone[:-2], "--json"]
    told = CliRunner().invoke(cli.app, [*command, "--out", str(tmp_path / "t.bin")], catch_exceptions=False)
    found = msgspec.json.decode(told.stdout)
    version = PolicyVersion.from_bytes((tmp_path / "t.bin").read_bytes())
    assert version.trained == found["trained_on"]
    # Two thirds and a little of the rewards, of those of them that teach.
    assert 0.5 * served.trained < version.trained < 0.8 * served.trained
    # There are too few rewards here to share.
    again_told = CliRunner().invoke(cli.app, together, catch_exceptions=False)
    assert msgspec.json.decode(again_told.stdout) == found
    judged = found["held_out"]
    assert judged["rounds"] > 50
    assert 0 < judged["value"] < 1
    assert judged["rms_error"] < judged["constant_error"]
    # Nothing was written: the version in charge is the one that was.
    with closing(Database(f"sqlite:///{tmp_path / 'nextplay.db'}")) as again, again.read() as connection:
        assert version_repository.newest_names(connection, "another") == []
        assert version_repository.newest_names(connection, "next_category", 1) == [served.version]
    elsewhere = spec(id="elsewhere", placements=["nowhere"], learner={"kind": "linear_gaussian"})
    (tmp_path / "policy.json").write_text(elsewhere.model_dump_json(by_alias=True))
    with pytest.raises(InvalidRounds, match="a policy drew at nowhere"):
        CliRunner().invoke(cli.app, command, catch_exceptions=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="there is no database"):
        CliRunner().invoke(cli.app, ["train", str(tmp_path / "empty"), *command[2:]], catch_exceptions=False)


class WithOrders(World):
    """A world in which decisions also record a number, of whoever has one."""

    def features(self, user: str) -> dict[str, Any]:
        return super().features(user) | {"orders": None if user == "u001" else float(user[-1])}


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "dsjson"])
def test_a_policy_is_trained_on_exported_decisions(tmp_path: Path, kind: Format) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nextplay.db'}")
    log = tmp_path / f"log.{kind}"
    number = {"scalar": "orders", "scale": 0.1}
    with closing(database), training(database, spec(features=[number, {"one_hot": "arm.category"}])) as made:
        served = run(WithOrders(database), made, 3)
        export_log(database, log, kind)
    of_log = spec(features=[number, {"one_hot": "arm.action"}], learner={"kind": "linear_gaussian"})
    (tmp_path / "policy.json").write_text(of_log.model_dump_json(by_alias=True))
    asked = ["train", str(log), "--spec", str(tmp_path / "policy.json"), "--out", str(tmp_path / "t.bin")]
    told = CliRunner().invoke(cli.app, [*asked, "--json"], catch_exceptions=False)
    found = msgspec.json.decode(told.stdout)
    version = PolicyVersion.from_bytes((tmp_path / "t.bin").read_bytes())
    # All decisions are rounds, also those to do nothing.
    assert version.trained == found["trained_on"] > 0.5 * served.trained
    assert len(version.vocabularies["action"]) == 1 + len(CATEGORIES)
    judged = found["held_out"]
    assert judged["rounds"] > 50
    assert 0 < judged["value"] < 1
    model = model_from_bytes(version.model)
    assert isinstance(model, LinearGaussian)
    assert model.weights[model.names.index("orders")] != 0


def test_rounding_is_within_tolerance_and_gone_weights_are_not_compared(database: Database) -> None:
    world = World(database)
    with training(database, spec()) as made:
        version = run(world, made, 1)
        model = model_from_bytes(version.model)
        assert isinstance(model, Linear)
        near = Linear(model.names, model.weights * (1 + 1e-9), model.intercept, model.low, model.high)
    rounded = published_after(database, version, near)
    _, told = rebuild(database, rounded.version)
    assert told.verdict == "within tolerance"
    assert 0 < (told.largest_difference or 0) < 1e-6
