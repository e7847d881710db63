"""Story 32: events, consents, suppressions, coupons and contacts of before are known and start nothing."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from decision import import_commands
from decision.demo.run import LIBRARY
from tests.acceptance.driver import Running

# What follows from features; everything else would have been started by an event.
DERIVED = ("audience", "stage", "score")


def bring(service: Running, kind: str, file: Path, *options: str) -> str:
    """Import a file into the running service by the command line."""
    key = service.http.headers["authorization"].removeprefix("Bearer ")
    arguments = [kind, str(file), "--url", str(service.http.base_url), "--key", key, *options]
    result = CliRunner().invoke(import_commands.app, arguments)
    assert result.exit_code == 0, result
    return result.output


@pytest.fixture
def files(service: Running, user: str, tmp_path: Path) -> dict[str, Path]:
    """What the company brings of one user."""
    at = (service.now - timedelta(days=10)).isoformat()
    ends = (service.now + timedelta(days=2)).isoformat()
    rows = {
        "consents": f"user_id,purpose,channel,state,at\n{user},marketing,email,granted,{at}\n",
        "suppressions": f"address,reason,at\n{user}@example.com,complained,{at}\n",
        "coupons": f"code,user_id,offer,issued_at,expires_at\nC-{user},{user},canned_juices,{at},{ends}\n",
        "contacts": f"user_id,playbook,at,count\n{user},welcome,{at},4\n",
    }
    for kind, text in rows.items():
        (tmp_path / f"{kind}.csv").write_text(text)
    return {kind: tmp_path / f"{kind}.csv" for kind in rows}


def test_what_was_before_is_known_and_starts_nothing(
    service: Running, user: str, files: dict[str, Path]
) -> None:
    for kind, file in files.items():
        assert "1 recorded" in bring(service, kind, file)
        assert "1 were there already" in bring(service, kind, file)
    consents = service.http.get(f"/v1/users/{user}/consents").json()["consents"]
    assert [(one["state"], one["source"]) for one in consents] == [("granted", "import")]
    address = {"kind": "email", "address": f"{user.upper()}@example.com"}
    assert service.http.post("/v1/suppressions/check", json=address).json()["reasons"] == ["complained"]
    service.run("push", "deliver", "reward")
    kinds = {(fact["kind"], fact["label"]) for fact in service.history(user)}
    assert kinds == {("consent", "granted"), ("coupon", "imported"), ("message", "past_contact")}
    assert service.mails_to(user) == []


def test_caps_count_what_was_sent_before(service: Running, user: str, files: dict[str, Path]) -> None:
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    assert service.acting_decision(user)["playbook"] == "welcome"
    bring(service, "contacts", files["contacts"])
    answer = service.acting_decision(user)
    assert answer["playbook"] == "everyone"
    assert answer["suppressed"] == {"cap.welcome.two_months": ["welcome"]}


def test_two_years_of_events_are_known_to_features_and_start_nothing(
    service: Running, user: str, tmp_path: Path
) -> None:
    """The user waits in a flow for an order; past orders do not end it."""
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    service.acting_decision(user)
    service.run("deliver")
    assert audiences_of(service, user) == {"new_shopper"}
    before = facts_of(service, user)
    weeks = 104
    lines = [
        {
            "userId": user,
            "event": "order_completed",
            "timestamp": (service.now - timedelta(weeks=week, days=1)).isoformat(),
            "properties": {"value": 100.0, "categories": ["COFFEE"], "lines": []},
        }
        for week in range(weeks)
    ]
    lines += [{**lines[0], "messageId": f"seen-{user}-{n}", "event": "page_viewed"} for n in range(200)]
    file = tmp_path / "events.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert f"{len(lines)} recorded" in bring(service, "events", file, "--historical")
    assert f"{len(lines)} were there already" in bring(service, "events", file, "--historical")
    service.run("push", "deliver", "features", "audiences", "deliver", "reward", "learn")
    after = facts_of(service, user)
    assert after.pop("past_event") == len(lines)
    for derived in DERIVED:
        assert after.pop(derived, 0) >= before.pop(derived, 0)
    assert after == before
    assert audiences_of(service, user) == {"high_value"}


def facts_of(service: Running, user: str) -> Counter[str]:
    """Count the user's facts by kind."""
    return Counter(fact["kind"] for fact in service.history(user))


def audiences_of(service: Running, user: str) -> set[str]:
    """Those of the library; other stories made some of their own."""
    shipped = {one["id"] for one in yaml.safe_load((LIBRARY / "audiences.yaml").read_text())["audiences"]}
    return shipped & set(service.http.get(f"/v1/users/{user}").json()["audiences"])
