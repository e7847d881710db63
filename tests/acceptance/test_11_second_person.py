"""Story 11, in part: above a threshold a second person approves; drafts, versions and imports over HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import yaml

from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

OFFERS = """
- id: ten_off
  name: Ten off
  kind: fixed_amount
  value: 5.00 EUR
  minimum_spend: 50.00 EUR
"""
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with a coupon, in which one person may take a tenth off the price alone."""
    data = tmp_path_factory.mktemp("approval")
    shutil.copytree(LIBRARY, data / "library")
    with (data / "library" / "offers.yaml").open("a") as offers:
        offers.write(OFFERS)
    (data / "library" / "approval.yaml").write_text("discount_depth: 10\nliability: 100000.00 EUR\n")
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


@pytest.fixture(scope="module")
def people(service: Running) -> Iterator[dict[str, httpx2.Client]]:
    """Ann and Ben may operate and approve, Cy may only approve, Dee only operate."""
    both = ["operate", "approve"]
    clients = {}
    for name, scopes in {"ann": both, "ben": both, "cy": ["approve"], "dee": ["operate"]}.items():
        made = service.http.post("/v1/keys", json={"name": name, "scopes": scopes}).json()
        headers = {"Authorization": f"Bearer {made['key']}"}
        clients[name] = httpx2.Client(base_url=service.http.base_url, headers=headers, timeout=60)
    yield clients
    for client in clients.values():
        client.close()


def worth(value: str) -> dict[str, Any]:
    """A variant of this face value."""
    given = {"channel": "mailbox", "content": "offer_notice"}
    return {"id": "ten_off", "offer": "ten_off", "value": value, **given}


def plan(value: str = "5.00 EUR", **given: Any) -> dict[str, Any]:
    return {
        "name": "Ten off",
        "placement": "outbound",
        "priority": -5,
        "goal": {"event": "order_completed", "window": "P7D"},
        "variants": [
            {
                "id": "ten_off",
                "offer": "ten_off",
                "value": value,
                "channel": "mailbox",
                "content": "offer_notice",
            }
        ],
        "flow": {
            "start": "give",
            "states": {"give": {"kind": "issue", "next": "over"}, "over": {"kind": "end", "result": "given"}},
        },
        **given,
    }


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
    document: dict[str, Any] = answer.json()
    assert document["type"].endswith(f":{code}")
    return document


def test_never_the_wrong_value(service: Running, people: dict[str, httpx2.Client]) -> None:
    ann, ben, cy = people["ann"], people["ben"], people["cy"]
    ann.put("/v1/playbooks/ten_off/draft", json=plan())
    assert ann.post("/v1/playbooks/ten_off/publish").json()["state"] == "live"

    ann.put("/v1/playbooks/ten_off/draft", json=plan("50.00 EUR"))
    differs = ann.get("/v1/playbooks/ten_off/diff").json()
    assert "variant ten_off: value 5.00 EUR → 50.00 EUR" in differs["text"]
    handed_in = ann.post("/v1/playbooks/ten_off/publish", json={"why": "bigger"})
    assert (handed_in.status_code, handed_in.json()["state"]) == (202, "in_review")
    assert handed_in.json()["needs"] == [
        "discount depth: offer ten_off_50_00 gives up to 100 % away, above the 10 % that one person may give"
    ]
    listed = {one["id"]: one for one in service.http.get("/v1/playbooks").json()}["ten_off"]
    assert (listed["version"], listed["state"]) == (1, "live")

    refused = problem(ann.post("/v1/playbooks/ten_off/approve"), 403, "second-person-needed")
    assert "was made by ann: somebody else has to approve it" in refused["detail"]
    assert people["dee"].post("/v1/playbooks/ten_off/approve").status_code == 403
    assert cy.get("/v1/playbooks/ten_off/diff?from=1&to=2").status_code == 200
    assert cy.post("/v1/playbooks/ten_off/publish").status_code == 403
    assert cy.post("/v1/playbooks/ten_off/approve").json()["approved_by"] == "cy"
    assert ben.post("/v1/playbooks/ten_off/publish").json()["version"] == 2
    states = [(one["version"], one["state"]) for one in ann.get("/v1/playbooks/ten_off/versions").json()]
    assert states == [(2, "live"), (1, "retired")]


def test_two_people_edit_one_draft(people: dict[str, httpx2.Client]) -> None:
    ann, ben = people["ann"], people["ben"]
    path = "/v1/playbooks/shared/draft"
    first = ann.put(path, json=plan())
    assert first.headers["etag"] == ann.get(path).headers["etag"]
    problem(ben.put(path, json=plan(priority=-1)), 428, "revision-missing")
    second = ben.put(path, json=plan(priority=-1), headers={"If-Match": first.headers["etag"]})
    assert second.json()["revision"] == 2
    mine = ann.put(path, json=plan(priority=-2), headers={"If-Match": first.headers["etag"]})
    lost = problem(mine, 412, "draft-changed")
    assert "ben saved the draft of 'shared' meanwhile" in lost["detail"]
    assert lost["etag"] == second.headers["etag"]
    assert lost["changes"] == [{"what": "", "id": "", "field": "priority", "before": -1, "after": -2}]
    assert ann.get(path).json()["document"]["priority"] == -1
    problem(ann.delete(path), 428, "revision-missing")
    assert ann.delete(path, headers={"If-Match": second.headers["etag"]}).status_code == 204
    problem(ann.get(path), 404, "unknown-playbook")


ENDLESS = {"event": "order_completed", "window": "P7D", "value": "inf"}


@pytest.mark.parametrize(
    ("edit", "field", "what"),
    [
        ({"prioritty": 3}, "prioritty", "did you mean 'priority'?"),
        ({"goal": {"event": "order_completed", "window": "P7D", "vlaue": 1}}, "goal.vlaue", "'value'"),
        ({"variants": []}, "variants", "at least 1 item"),
        ({"priority": 10**9}, "priority", "less than or equal to 1000"),
        (
            {"goal": {"event": "order_completed", "window": "P7D", "value": "inf"}},
            "goal.value.number",
            "finite",
        ),
        ({"variants": [worth("-5.00 EUR")]}, "variants.0.value", "must not be negative"),
        ({"variants": [worth("5.001 EUR")]}, "variants.0.value", "3 decimals"),
        ({"pilot": {"share": 0.9, "floor": 0, "ceiling": 1}}, "pilot.share", "less than or equal to 0.5"),
    ],
)
def test_a_wrong_draft_is_not_saved(
    people: dict[str, httpx2.Client], edit: dict[str, Any], field: str, what: str
) -> None:
    refused = problem(people["ann"].put("/v1/playbooks/wrong/draft", json=plan(**edit)), 422, "library")
    assert [one for one in refused["problems"] if one["field"] == field and what in one["message"]]
    assert people["ann"].get("/v1/playbooks/wrong/draft").status_code == 404


def test_a_draft_that_does_not_fit_is_saved_and_not_handed_in(people: dict[str, httpx2.Client]) -> None:
    ann = people["ann"]
    saved = ann.put("/v1/playbooks/misfit/draft", json=plan(audience="nobody", placement="home"))
    assert {one["field"] for one in saved.json()["problems"]} == {"audience", "placement"}
    refused = problem(ann.post("/v1/playbooks/misfit/submit"), 422, "library")
    assert "there is no audience 'nobody'" in refused["detail"]
    assert ann.get("/v1/playbooks/misfit/draft").json()["revision"] == 1


def test_import_is_all_or_nothing(service: Running, people: dict[str, httpx2.Client]) -> None:
    ann = people["ann"]
    document = ann.get("/v1/library/export").json()
    before = ann.get("/v1/playbooks").json()
    edited = {**document, "playbooks": [dict(one) for one in document["playbooks"]], "publish": True}
    edited["playbooks"][0]["priority"] = 1
    edited["playbooks"][1]["audience"] = "nobody"
    checked = ann.post("/v1/library/validate", json={k: v for k, v in edited.items() if k != "publish"})
    assert (checked.json()["valid"], len(checked.json()["problems"])) == (False, 1)
    problem(ann.post("/v1/library/import", json=edited), 422, "library")
    assert ann.get("/v1/playbooks").json() == before
    edited["playbooks"][1]["audience"] = document["playbooks"][1].get("audience")
    done = ann.post("/v1/library/import", json=edited)
    assert done.status_code == 200, done.text
    changed = edited["playbooks"][0]["id"]
    assert done.json()["live"] == [f"{changed}@2"]
    answers = {one["id"]: one["version"] for one in service.http.get("/v1/playbooks").json()}
    assert answers[changed] == 2


def test_what_has_the_wrong_shape_is_a_problem_and_not_a_failure(
    people: dict[str, httpx2.Client],
) -> None:
    ann = people["ann"]
    for body in ({}, {"playbooks": [1]}, {"playbooks": [{"id": 5}]}, {"playbooks": [[]], "offers": [None]}):
        for route in ("validate", "import"):
            answer = ann.post(f"/v1/library/{route}", json=body)
            assert answer.status_code in ((200, 422) if route == "validate" else (422,)), answer.text
    for path in ("/v1/playbooks/none", "/v1/playbooks/none/versions/1", "/v1/playbooks/none/pilot"):
        assert ann.get(path).status_code == 404
    assert ann.get("/v1/playbooks/ten_off/diff?from=x").status_code == 422
    assert ann.get(f"/v1/playbooks/ten_off/versions/{10**30}").status_code in (404, 422)
    assert ann.post("/v1/playbooks/ten_off/pause", json={"version": 10**30}).status_code in (404, 422)
    assert ann.post("/v1/playbooks/ten_off/pause", json={"why": "a\x00b"}).status_code == 422
    assert ann.put("/v1/playbooks/UPPER/draft", json=plan()).status_code == 422
    assert ann.put("/v1/playbooks/x/draft", json=plan(id="y")).status_code == 422


def test_templates_fit_into_a_library_over_http(people: dict[str, httpx2.Client]) -> None:
    """What `new --template` puts into a folder is taken over HTTP too."""
    from playbooks.library.templates import FOLDER

    written = yaml.safe_load((FOLDER / "welcome.yaml").read_text())
    written["playbook"] |= {"id": "from_template", "audience": "new_shopper"}
    body = {"playbooks": [written["playbook"]], "offers": written["offers"], "contents": written["contents"]}
    done = people["ann"].post("/v1/library/import", json=body)
    assert done.status_code == 200, done.text
    assert list(done.json()["in_review"]) == ["from_template@1"]
