"""Story 2: an operator filters users by conditions, uploads a list of ids, and combines both with sets."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx2

from tests.acceptance.driver import Running


def put(service: Running, path: str, body: bytes, **headers: str) -> httpx2.Response:
    return service.http.put(path, content=body, headers={"Content-Type": "text/csv", **headers})


def test_conditions_and_a_list_make_an_audience(service: Running) -> None:
    tail = uuid4().hex[:8]
    buyers, others = [f"buyer-{n}-{tail}" for n in range(4)], [f"other-{n}-{tail}" for n in range(2)]
    for user in buyers:
        service.order(user, "COFFEE", "TEA", days_ago=1)
    for user in others:
        service.order(user, "COFFEE", days_ago=100)
    service.run("features", "audiences")
    names = {kind: f"{kind}_{tail}" for kind in ("filtered", "listed", "target")}

    def make(kind: str, **definition: Any) -> httpx2.Response:
        return service.http.post(
            "/v1/audiences?by=olga", json={"id": names[kind], "name": kind.title(), **definition}
        )

    rule = "orders_4w > 0 AND value_12w >= 5"
    counted = service.http.post("/v1/audiences/count", json={"rule": rule}).json()
    assert counted["count"] >= 4
    assert counted["users"] >= 6
    made = make("filtered", rule=rule)
    assert made.status_code == 201, made.text
    assert made.json()["size"] is None
    assert make("listed", list=True).status_code == 201
    target = {"intersect": [names["filtered"], names["listed"]]}
    assert make("target", sets=target).status_code == 201

    ids = "\n".join(["user_id", *buyers[:3], buyers[0], *others, "nobody-knows-me"])
    taken = put(service, f"/v1/audiences/{names['listed']}/list?by=olga", ids.encode()).json()
    assert (taken["members"], taken["duplicates"]) == (5, 1)
    assert (taken["unknown_count"], taken["unknown"]) == (1, ["nobody-knows-me"])

    service.run("audiences")
    shown = service.http.get(f"/v1/audiences/{names['target']}").json()
    assert (shown["size"], shown["current"], shown["kind"]) == (3, True, "sets")
    assert shown["run"]["status"] == "done"
    drawn = service.http.get(f"/v1/audiences/{names['target']}/members?size=10").json()
    assert sorted(drawn["members"]) == sorted(buyers[:3])
    over = service.http.post(
        "/v1/audiences/overlap", json={"audiences": [names["filtered"], names["listed"]]}
    ).json()
    assert (over["in_all"], over["sizes"][names["listed"]]) == (3, 5)
    entered = [one["label"] for one in service.history(buyers[0]) if one["kind"] == "audience"]
    assert f"{names['target']}.entered" in entered

    # Without one of them, by a new version of the sets.
    etag = service.http.get(f"/v1/audiences/{names['target']}").headers["ETag"]
    changed = {"name": "Target", "sets": {"union": [names["filtered"]], "except": [names["listed"]]}}
    path = f"/v1/audiences/{names['target']}"
    assert service.http.put(path, json=changed).status_code == 428
    assert service.http.put(path, json=changed, headers={"If-Match": '"0-x"'}).status_code == 412
    answer = service.http.put(f"{path}?by=ole", json=changed, headers={"If-Match": etag})
    assert answer.status_code == 200, answer.text
    assert answer.json()["current"] is False
    service.run("audiences")
    assert buyers[3] in service.http.get(f"{path}/members?size=1000").json()["members"]
    history = service.http.get(f"{path}/history").json()
    assert [(one["version"], one["made_by"]) for one in history] == [(2, "ole"), (1, "olga")]


def test_what_is_wrong_is_refused_and_changes_nothing(service: Running) -> None:
    tail = uuid4().hex[:8]
    name = f"x_{tail}"
    service.order(f"user-{tail}", "COFFEE")
    made = service.http.post("/v1/audiences", json={"id": name, "name": "X", "rule": "orders_4w > 0"})
    etag = made.headers["ETag"]
    path = f"/v1/audiences/{name}"
    deep = "(" * 10_000 + "orders_4w > 0" + ")" * 10_000
    for body, said in {
        json.dumps({"rule": "order_4w > 0"}): 'unknown feature \\"order_4w\\", did you mean',
        json.dumps({"rule": "orders_4w > 'x'"}): "is a number, but",
        json.dumps({"rule": "orders_4w >"}): "line 1, column",
        json.dumps({"rule": "orders_4w IN (SELECT 1)"}): "not part of the rule language",
        json.dumps({"rule": deep}): "more than",
        json.dumps({"rule": f"in_audience('{name}')"}): "made of itself",
        json.dumps({"sets": {"union": ["nothing_like_it"]}}): "there is no audience",
        json.dumps({"rule": "orders_4w > 0", "extra": 1}): "extra",
        json.dumps({"rule": None}): "just one of them",
    }.items():
        answer = service.http.put(
            path,
            content=body.replace("{", '{"name": "X", ', 1),
            headers={"If-Match": etag, "Content-Type": "application/json"},
        )
        assert answer.status_code == 422, (body[:80], answer.text)
        assert said in answer.text, answer.text
    nested = '{"sets": ' + '{"union": [' * 10_000 + '"a"' + "]}" * 10_000 + ', "name": "X"}'
    answer = service.http.put(
        path, content=nested, headers={"If-Match": etag, "Content-Type": "application/json"}
    )
    assert 400 <= answer.status_code < 500
    assert service.http.get(path).headers["ETag"] == etag
    assert put(service, f"{path}/list", b"a").status_code == 422
    assert put(service, "/v1/audiences/nothing_like_it/list", b"a").status_code == 404
    assert service.http.get("/v1/audiences/nothing_like_it").status_code == 404
    assert service.http.post("/v1/audiences", json={"id": name, "name": "X", "list": True}).status_code == 409
    of_file = service.http.get("/v1/audiences").json()[0]["id"]
    changed = {"name": "Mine", "rule": "orders_4w > 0"}
    refused = service.http.put(f"/v1/audiences/{of_file}", json=changed, headers={"If-Match": '"x"'})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:nextplay:problem:audience-of-file")
    assert service.http.post("/v1/audiences/count", json={"rule": "order_4w > 0"}).status_code == 422
    assert service.http.post("/v1/audiences/count", json={}).status_code == 422
    assert service.http.delete(path, headers={"If-Match": etag}).status_code == 204
    assert service.http.get(path).status_code == 404
