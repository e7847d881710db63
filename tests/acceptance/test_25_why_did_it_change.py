"""Story 25: the optimisation log shows each change with its cause; one call takes it back."""

from __future__ import annotations

from tests.acceptance.driver import Running


def test_a_pause_is_found_with_its_cause_and_taken_back(service: Running) -> None:
    paused = service.http.post("/v1/playbooks/bargain/pause", json={"why": "it loses money"})
    assert paused.status_code == 200, paused.text
    newest = service.http.get("/v1/changes", params={"what": "playbook", "limit": 1}).json()["changes"][0]
    assert newest["thing"].startswith("bargain version")
    assert (newest["before"], newest["after"], newest["cause"]) == ("live", "paused", "it loses money")
    assert (newest["actor"], newest["undo"]) == ("person", "resume")
    done = service.http.post(f"/v1/changes/{newest['id']}/undo", json={"why": "a mistake"})
    assert done.status_code == 200, done.text
    assert done.json()["after"] == "live"
    assert newest["id"] in done.json()["cause"]
    assert service.http.get(f"/v1/changes/{done.json()['id']}").json() == done.json()
    again = service.http.post(f"/v1/changes/{newest['id']}/undo")
    assert again.status_code == 409
    assert "take the later change back first" in again.json()["detail"]


def test_every_page_of_the_log_comes_once(service: Running) -> None:
    seen, before = [], None
    while True:
        asked = {"limit": 7} | ({} if before is None else {"before": before})
        page = service.http.get("/v1/changes", params=asked).json()
        seen += [one["id"] for one in page["changes"]]
        before = page["before"]
        if before is None:
            break
    assert len(seen) == len(set(seen)) > 4
    assert service.http.get("/v1/changes/nothing").status_code == 404
