"""Story 32, in part: consents, suppressions, live coupons and contacts are known and start nothing.

The events of the two years are the other part.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decision import import_commands
from tests.acceptance.driver import Running


def bring(service: Running, kind: str, file: Path) -> str:
    """Import a file into the running service by the command line."""
    key = service.http.headers["authorization"].removeprefix("Bearer ")
    arguments = [kind, str(file), "--url", str(service.http.base_url), "--key", key]
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
