"""Story 14, its last words: what the placement shows, and why, where no policy can be asked."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from decision.evaluating import policies_command
from decision.init_command import PROJECT
from decision.observe import shown
from decision.observe.findings import Subject
from decision.settings import load_settings
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

HELLO = """
id: hello
name: Welcome, whoever you are
placement: home
priority: -1
goal: {event: order_completed, window: P7D, value: 1}
variants:
  - {offer: hello, channel: mailbox, content: hello_banner}
flow:
  start: over
  states:
    over: {kind: end, result: shown}
"""
OFFER = "\n- {id: hello, name: Welcome, attributes: {theme: delivery}}\n"
CONTENT = """
- {id: hello_banner, subject: "{{ offer.name }}", body: 'Orders: {{ user.orders_12w | default: "never" }}.'}
"""
MESSAGE = {"subject": "Welcome", "body": "Orders: never."}
FAMILY = ["mother", "father", "son", "daughter"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The first project, with a welcome for everybody; `ann` has features, `new` has none yet."""
    data = tmp_path_factory.mktemp("home")
    library = data / "library"
    shutil.copytree(PROJECT / "library", library)
    (library / "playbooks" / "hello.yaml").write_text(HELLO)
    for name, text in {
        "offers.yaml": OFFER,
        "contents.yaml": CONTENT,
        "policy.yaml": "\nfallbacks: {home: hello/hello}\n",
    }.items():
        with (library / name).open("a") as file:
            file.write(text)
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        running = Running(client.http, data, START)
        running.order("ann", "COFFEE", days_ago=3)
        running.run("features", "audiences")
        running.order("new", "COFFEE")
        for one in FAMILY:
            told = {"messageId": one, "userId": one, "context": {"verified": ["email"]}}
            traits = {"email": "family@example.org"}
            running.http.post("/v1/identify", json=told | {"traits": traits}).raise_for_status()
        yield running


def ask(home: Running, key: str | None = None, **asked: Any) -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    response = home.http.post("/v1/decide", json={"placement": "home", **asked}, headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@contextmanager
def without_online_store(data: Path) -> Iterator[None]:
    with closing(sqlite3.connect(data / "features" / "online.db")) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in found:
            connection.execute(f'ALTER TABLE "{name}" RENAME TO "away_{name}"')
        connection.commit()
        try:
            yield
        finally:
            for (name,) in found:
                connection.execute(f'ALTER TABLE "away_{name}" RENAME TO "{name}"')
            connection.commit()


def test_whatever_keeps_a_policy_from_being_asked_the_placement_shows_its_fallback(home: Running) -> None:
    assert ask(home, user_id="ann")["fallback"] is None
    family = {"kind": "email", "value": "family@example.org"}
    answers = {
        "unknown_user": ask(home, user_id="nobody"),
        "shared_identity": ask(home, identity=family),
        "features_missing": ask(home, user_id="new"),
        "deadline": ask(home, user_id="ann", deadline_ms=0),
    }
    with without_online_store(home.data):
        answers["features_unreachable"] = ask(home, user_id="ann")
    home.move(timedelta(days=401))
    answers["features_stale"] = ask(home, user_id="ann")
    home.run("features")
    assert ask(home, user_id="ann")["fallback"] is None
    for reason, answer in answers.items():
        assert (answer["fallback"], answer["playbook"], answer["variant"]) == (reason, "hello", "hello/hello")
        assert (answer["offer"]["name"], answer["content"], answer["message"]) == (
            "Welcome",
            "hello_banner",
            MESSAGE,
        )
        assert (answer["propensity"], answer["suppressed"], answer["holdout"]) == (1.0, {}, [])
        path = f"/v1/decisions/{answer['decision_id']}"
        record = home.http.get(path).json()
        assert (record["fallback"], record["playbook"], record["arms"]) == (reason, "hello", ["hello/hello"])
        assert home.http.post(f"{path}/replay").json()["identical"] is True
        told = home.http.get(f"{path}/explain").json()
        assert ([one["arm"] for one in told["candidates"]], told["fallback"]) == (["hello/hello"], reason)
        refused = home.http.post(f"{path}/rescore")
        assert (refused.status_code, "nothing-to-rescore" in refused.text) == (409, True)
    summary = home.http.get("/v1/summary").json()
    assert summary["fallbacks"] == dict.fromkeys(answers, 1)
    # The two real decisions are the only ones that may have begun anything.
    assert summary["enrolments"] <= 2
    assert home.run("reward")["matured"] >= len(answers)


def test_a_key_gives_it_again_and_a_dry_run_leaves_no_trace(home: Running) -> None:
    first, again = (ask(home, "welcome", user_id="stranger") for _ in range(2))
    assert first == again
    dry = ask(home, user_id="stranger", dry_run=True, explain=True)
    assert (dry["variant"], dry["message"], dry["explanation"]["fallback"]) == (
        "hello/hello",
        MESSAGE,
        "unknown_user",
    )
    assert home.http.get(f"/v1/decisions/{dry['decision_id']}").status_code == 404
    late = ask(home, user_id="ann", deadline_ms=0, explain=True)["explanation"]
    assert (late["fallback"], [one["arm"] for one in late["candidates"]]) == ("deadline", ["hello/hello"])


def test_what_is_stopped_is_not_shown_and_that_is_said(home: Running) -> None:
    assert said(home) == ["without a policy, home shows hello/hello"]
    assert shown.fallbacks(Subject(load_settings(data=home.data))).said == "home shows hello/hello"
    home.http.post(
        "/v1/controls", json={"scope": "playbook", "target": "hello", "mode": "pause", "why": "wrong"}
    ).raise_for_status()
    stopped = ask(home, user_id="nobody")
    assert (stopped["fallback"], stopped["variant"], stopped["message"]) == (
        "unknown_user",
        "do_nothing",
        None,
    )
    assert stopped["suppressed"] == {"control.playbook.hello": ["hello"]}
    assert "control.playbook.hello stops the playbook 'hello'" in said(home)[0]
    home.http.delete("/v1/controls?scope=playbook&target=hello&why=right").raise_for_status()
    home.http.post("/v1/playbooks/hello/pause", json={"why": "old"}).raise_for_status()
    assert (ask(home, user_id="nobody")["variant"], said(home)) == (
        "do_nothing",
        ["without a policy, home shows nothing (the playbook 'hello' is not live)"],
    )
    found = shown.fallbacks(Subject(load_settings(data=home.data)))
    assert (found.verdict, "home shows nothing instead of 'hello/hello'" in found.said) == ("warn", True)
    home.http.post("/v1/playbooks/hello/resume", json={"why": "still good"}).raise_for_status()
    assert ask(home, user_id="nobody")["variant"] == "hello/hello"


def said(home: Running) -> list[str]:
    """What `nextplay policies list` says of what is shown without a policy."""
    key = home.http.headers["authorization"].removeprefix("Bearer ")
    result = CliRunner().invoke(
        policies_command.app, ["list", "--url", str(home.http.base_url), "--key", key]
    )
    assert result.exit_code == 0, result
    return [line for line in result.output.splitlines() if line.startswith("without a policy")]


def test_an_edit_that_would_have_to_be_counted_is_refused(home: Running) -> None:
    plan, names = yaml.safe_load(HELLO), "policy.yaml names 'hello/hello' as the fallback of home, and the "
    for edit, why in (
        ({"constraints": [{"id": "once", "limit": 1, "window": "P7D"}]}, "counted by cap.hello.once"),
        ({"variants": [{"offer": "helo", "channel": "mailbox", "content": "hello_banner"}]}, "has no arm"),
    ):
        saved = home.http.put("/v1/playbooks/hello/draft", json=plan | edit).raise_for_status()
        assert (names in saved.text, why in saved.text) == (True, True)
        refused = home.http.post("/v1/playbooks/hello/submit")
        revision = {"If-Match": saved.headers["ETag"]}
        home.http.delete("/v1/playbooks/hello/draft", headers=revision).raise_for_status()
        assert (refused.status_code, names in refused.text, why in refused.text) == (422, True, True)
    quota = {"kind": "quota", "id": "few", "period": "day", "maximum": 9}
    refused = home.http.post("/v1/library/import", json={"constraints": [quota]})
    assert (refused.status_code, names in refused.text, "quota.few" in refused.text) == (422, True, True)
    assert ask(home, user_id="nobody")["variant"] == "hello/hello"
