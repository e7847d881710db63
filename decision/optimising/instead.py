"""What to do about a change that nothing here takes back, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from decision.optimising.settings import AUDIENCES, FOLDER
from learning import version_repository
from learning.challengers.reading import CHALLENGERS
from learning.errors import BrokenWeights, UnknownVersion
from learning.optimisation_log import Entry

_SAID: Mapping[str, str] = {
    "policy_in_charge": (
        "whoever takes charge needs proof; promote a policy with POST /v1/policies/{id}/promote"
    ),
    "audience": "what was before it is not kept",
    "control": "resume or stop it with /v1/controls",
    "playbook": "make a draft of it",
    "key_created": "revoke it, with `nextplay keys revoke`",
    "key_rotated": "the former secret ends by itself; revoke the new one with `nextplay keys revoke`",
    "key_revoked": "a key that was revoked never works again; create another with `nextplay keys create`",
    "users_merged": "part them with POST /v1/merges/{merge_id}/undo or `nextplay users split`",
    "merge_undone": "merge them again with POST /v1/users/merge or `nextplay users merge`",
    "user_erased": "what was erased is gone for good",
    "coupon": (
        "void a code that was shared, with POST /v1/coupons/{code}/void; one that is void stays void: issue "
        "another"
    ),
    "coupon_stock": (
        "codes that were added stay in the stock; if none is to be given, stop the playbooks of the offer"
    ),
    "recall": "what was cancelled is not sent again; who is to get it is decided for anew",
    "runs_moved": "move them to where they were, with POST /v1/playbooks/{playbook}/runs/move",
    "runs_ended": "a run that was ended does not go on; the playbook's trigger may begin another",
    "by_hand": "a run that was ended does not go on; the playbook's trigger may begin another",
    "person_left": "give tasks back one by one, with POST /v1/tasks/{task_id}/reassign",
    "exported": "what was exported is with whoever has it",
    "proof": "messages of a proof are sent; only the seeds got them",
}


def instead(connection: Connection, entry: Entry, body: Mapping[str, Any], slot: str) -> str:
    """Return what to do about a change that has no undo.

    Args:
        slot: the policy of policy.yaml.
    """
    if entry.what == "setting":
        file, _, name = entry.thing.partition(" ")
        return _in_file(file, name, entry.before)
    if entry.what == "audience" and entry.by == FOLDER:
        return _in_file(AUDIENCES, entry.thing, entry.before)
    if entry.what == "constraints" and entry.by == FOLDER:
        return _constraints(int(body["version"]) - 1)
    if entry.what == "playbook" and entry.by == FOLDER:
        version = f"/v1/playbooks/{body['playbook']}/versions/{body['version']}"
        return (
            "its file is gone from the library's playbooks, and each start would retire it anew: put it "
            f"there, with what GET {version} has, and start again"
        )
    if entry.what == "policy_published":
        return _specification(connection, entry, slot)
    return _SAID.get(entry.what, "change it where it was changed")


def _constraints(before: int) -> str:
    if before == 0:
        return "the library's constraints.yaml says them; write [] there and start again"
    return (
        f"the library's constraints.yaml says them, and each start reads it anew: write there what GET "
        f"/v1/constraints/versions/{before} has, and start again"
    )


def _in_file(file: str, name: str, before: Any) -> str:
    """Say what to write where: the library's files are an operator's, and the next start reads them again."""
    if before is None:
        return f"the library's {file} says it; take {name} out of it and start again"
    return f"the library's {file} says it; write {name}: {_json(before)} there and start again"


def _specification(connection: Connection, entry: Entry, slot: str) -> str:
    """Say what the specification before said where it differs."""
    file = "policy.yaml" if entry.thing == slot else f"file of {entry.thing} in {CHALLENGERS}"
    if entry.before is None:
        return f"it is the first version of {entry.thing}; another policy is written in the library's {file}"
    try:
        before, after = (
            version_repository.unweighted(connection, one)
            .specification()
            .model_dump(mode="json", by_alias=True)
            for one in (entry.before, entry.after)
        )
    except (UnknownVersion, BrokenWeights) as error:
        return f"the library's {file} says it, and what it said before is not kept: {error}"
    differing = [name for name in before if before[name] != after[name]]
    if not differing:
        return (
            f"the specification is that of {entry.before}; what it reads became another, as the vocabularies "
            "did: change that back where it is written and start again"
        )
    told = "; ".join(f"{name}: {_json(before[name])}" for name in differing)
    return f"the library's {file} says it; write {told} there and start again; weights are learned anew"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
