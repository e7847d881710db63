"""The library in a database: imports, drafts, reviews and moves, on SQLite and Postgres."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from playbooks.constraints.documents import Cap, Constraint, Group
from playbooks.content.documents import Content, Wording
from playbooks.errors import (
    DraftChanged,
    LibraryError,
    MoveRefused,
    RevisionMissing,
    SecondPersonNeeded,
    UnknownConstraints,
    UnknownContent,
    UnknownPlaybook,
)
from playbooks.library import Draft, repository
from playbooks.library.approval import Approval
from playbooks.library.changes import FOLDER
from playbooks.library.contents import LibraryContents
from playbooks.library.house_rules import ConstraintsChange
from playbooks.library.importing import Imported
from playbooks.library.lifecycle import State
from playbooks.library.loading import Loader
from playbooks.library.problems import Problem
from playbooks.library.service import LibraryService
from playbooks.models import Playbook
from playbooks.offers import Offer
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind

OFFERS = {
    one.id: one
    for one in (Offer(id="tea", name="Tea"), Offer(id="cake", name="Cake", attributes={"group": "g"}))
}
CONTENTS = {"hello": Content(id="hello", subject="Hello", body="Good day")}
PILOT = {"users": ["ann"], "share": 0.2, "floor": 0.1, "ceiling": 0.5}


def playbook(name: str = "win_back", **given: Any) -> Playbook:
    return Playbook.model_validate(
        {
            "id": name,
            "name": name,
            "placement": "home",
            "goal": {"event": "order_completed", "window": "P14D"},
            "variants": [{"offer": "tea", "channel": "mailbox", "content": "hello"}],
            "flow": {"start": "x", "states": {"x": {"kind": "end", "result": "r"}}},
            **given,
        }
    )


def draft(*playbooks: Playbook) -> Draft:
    return Draft(playbooks, OFFERS, CONTENTS)


class Sizes:
    """Audiences of given sizes; all others were never evaluated."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes

    def of(self, audience: str | None) -> int | None:
        return self.sizes.get(audience or "everybody")


class Nobody:
    """Finds something wrong with playbooks called `broken`."""

    def __call__(self, draft: Draft) -> Sequence[Problem]:
        return [
            Problem("playbooks/broken", "is broken", "name") for p in draft.playbooks if p.name == "broken"
        ]


@pytest.fixture
def sizes() -> Sizes:
    return Sizes(everybody=100)


@pytest.fixture
def library(database: Database, clock: SimulatedClock, sizes: Sizes) -> LibraryService:
    return LibraryService(database, clock, Nobody(), sizes)


def from_folder(library: LibraryService, *playbooks: Playbook, approval: Approval | None = None) -> Imported:
    return library.import_(
        draft(*playbooks), by=FOLDER, source=FOLDER, publish=True, whole=True, approval=approval
    )


def served(database: Database) -> list[str]:
    with database.read() as connection:
        return [one.key for one in Loader().load(connection).playbooks]


def states(library: LibraryService, name: str = "win_back") -> list[tuple[int, str]]:
    return [(one.version, one.state.value) for one in library.versions(name)]


def test_a_folder_is_served_and_only_what_changed_becomes_a_version(
    library: LibraryService, database: Database
) -> None:
    first = from_folder(library, playbook(), playbook("other"))
    assert first.live == ["win_back@1", "other@1"]
    again = from_folder(library, playbook(), playbook("other", priority=3))
    assert (again.live, again.unchanged) == (["other@2"], 1)
    assert served(database) == ["other@2", "win_back@1"]
    assert states(library, "other") == [(2, "live"), (1, "retired")]


def test_what_people_published_is_not_undone_by_a_folder_that_says_what_it_said(
    library: LibraryService, database: Database
) -> None:
    from_folder(library, playbook(), playbook("other"))
    theirs = library.import_(draft(playbook(priority=3)), by="ann", source="api", publish=True)
    assert theirs.live == ["win_back@2"]
    again = from_folder(library, playbook(), playbook("other"))
    assert (again.live, again.unchanged) == ([], 2)
    assert served(database) == ["other@1", "win_back@2"]
    # What it says anew is its wish, also where that is what it said long ago.
    assert from_folder(library, playbook(priority=3), playbook("other")).live == []
    assert from_folder(library, playbook(), playbook("other")).live == ["win_back@3"]
    assert served(database) == ["other@1", "win_back@3"]


def test_offers_contents_and_constraints_of_people_stay_as_well(
    library: LibraryService, database: Database
) -> None:
    few, fewer = (Cap(id="few", limit=limit, window=timedelta(days=7)) for limit in (3, 2))

    def said(name: str, *constraints: Cap) -> Draft:
        (first, *others) = OFFERS.values()
        renamed = first.model_copy(update={"name": name})
        return Draft(
            (), {first.id: renamed, **{one.id: one for one in others}}, CONTENTS, constraints=constraints
        )

    def named() -> list[str]:
        with database.read() as connection:
            kept = repository.documents(connection, "offer")
        return [json.loads(body)["name"] for body in kept.values()]

    for constraints in ((), (few,)):
        library.import_(said("Theirs", *constraints), by=FOLDER, source=FOLDER, publish=True, whole=True)
        library.import_(said("Ours", fewer), by="ann", source="api", publish=True)
        library.import_(said("Theirs", *constraints), by=FOLDER, source=FOLDER, publish=True, whole=True)
        assert "Ours" in named()
        assert library.rules.current()[1] == (fewer,)
    library.import_(said("New"), by=FOLDER, source=FOLDER, publish=True, whole=True)
    assert "New" in named()
    assert library.rules.current()[1] == ()


def test_what_is_gone_from_the_folder_is_retired_and_comes_back_with_it(
    library: LibraryService, database: Database
) -> None:
    from_folder(library, playbook(), playbook("other"))
    assert from_folder(library, playbook()).retired == ["other@1"]
    assert served(database) == ["win_back@1"]
    assert from_folder(library, playbook(), playbook("other")).live == ["other@1"]
    assert served(database) == ["other@1", "win_back@1"]


def test_the_folder_leaves_alone_what_was_made_elsewhere(library: LibraryService, database: Database) -> None:
    from_folder(library, playbook())
    library.save(playbook("mine"), None, "ann")
    assert library.move("mine", "publish", "ann").state is State.LIVE
    assert from_folder(library, playbook()).retired == []
    assert served(database) == ["mine@1", "win_back@1"]


@pytest.mark.parametrize("move", ["pause", "retire"])
def test_what_an_operator_stopped_stays_stopped(
    library: LibraryService, database: Database, move: str
) -> None:
    from_folder(library, playbook())
    library.move("win_back", move, "ann", "too dear")
    assert served(database) == []
    from_folder(library, playbook())
    assert served(database) == []
    from_folder(library, playbook(priority=5))
    assert served(database) == []
    library.move("win_back", "resume" if move == "pause" else "publish", "ann")
    assert served(database) == ["win_back@2"]


def test_above_a_threshold_the_version_before_is_served_until_a_second_person_agrees(
    library: LibraryService, database: Database, sizes: Sizes
) -> None:
    approval = Approval(reach=50)
    sizes.sizes["few"] = 10
    from_folder(library, playbook(audience="few"), approval=approval)
    wide = from_folder(library, playbook(), approval=approval)
    assert wide.in_review == {
        "win_back@2": ("reach: everybody is 100 users, above the 50 that one person may reach alone",)
    }
    assert served(database) == ["win_back@1"]
    with pytest.raises(MoveRefused, match=r"win_back@2 is in review.*its moves are approve, reject, retire"):
        library.move("win_back", "publish", "ann", version=2)
    approved = library.move("win_back", "approve", "ben", "looked at it")
    assert (approved.state, approved.approved_by) == (State.APPROVED, "ben")
    assert library.move("win_back", "publish", "ann").version == 2
    assert served(database) == ["win_back@2"]
    assert from_folder(library, playbook(), approval=approval).unchanged == 1
    assert served(database) == ["win_back@2"]


def test_what_is_said_differently_is_read_by_a_second_person(
    library: LibraryService, database: Database
) -> None:
    approval = Approval(content=True)

    def says(body: str, **given: Any) -> Imported:
        reworded = Draft(
            (playbook(**given),), OFFERS, {"hello": Content(id="hello", subject="Hi", body=body)}
        )
        return library.import_(
            reworded, by=FOLDER, source=FOLDER, publish=True, whole=True, approval=approval
        )

    assert says("one").in_review == {
        "win_back@1": ("content: hello says what nobody but its author has read",)
    }
    library.move("win_back", "approve", "ben")
    library.move("win_back", "publish", "ann")
    assert says("one", priority=3).live == ["win_back@2"]
    assert list(says("two", priority=3).in_review) == ["win_back@3"]
    # What nobody has read yet is still not read when something else changes.
    assert list(says("two", priority=4).in_review) == ["win_back@4"]
    assert served(database) == ["win_back@2"]
    library.move("win_back", "approve", "ben", version=4)
    library.move("win_back", "publish", "ann", version=4)
    assert served(database) == ["win_back@4"]


def test_contents_have_versions_of_their_own(library: LibraryService, database: Database) -> None:
    contents = LibraryContents(database)
    from_folder(library, playbook())
    with pytest.raises(UnknownContent, match="did you mean 'hello'"):
        contents.versions("hallo")
    german = CONTENTS["hello"].model_copy(update={"texts": [Wording(language="de", body="Guten Tag")]})
    for _ in range(2):
        library.import_(Draft((playbook(),), OFFERS, {"hello": german}), by="ann", source="cli", publish=True)
    assert [(one.version, one.made_by) for one in contents.versions("hello")] == [(2, "ann"), (1, FOLDER)]
    assert contents.version("hello", 1).document == CONTENTS["hello"]
    assert [str(one) for one in contents.diff("hello", 1, 2)] == [
        'content hello: texts.de none → (body "Guten Tag")'
    ]
    (listed,) = contents.listing()
    assert (listed["version"], listed["languages"], listed["playbooks"]) == (2, ["de"], ["win_back"])
    with pytest.raises(UnknownContent, match="its newest is 2"):
        contents.version("hello", 7)


def test_whoever_made_a_version_does_not_approve_it(library: LibraryService, database: Database) -> None:
    from_folder(library, playbook("other"), approval=Approval(reach=50))
    library.save(playbook(), None, "ann")
    assert library.move("win_back", "publish", "ann").state is State.IN_REVIEW
    for move in ("approve", "reject"):
        with pytest.raises(SecondPersonNeeded, match="made by ann: somebody else has to"):
            library.move("win_back", move, "ann")
    library.move("win_back", "approve", "ben")
    assert library.move("win_back", "publish", "ann").state is State.LIVE


def test_an_audience_that_nobody_counted_counts_as_large(library: LibraryService) -> None:
    report = from_folder(library, playbook(audience="new"), approval=Approval(reach=50))
    assert "reach: the audience new is not known yet" in report.in_review["win_back@1"][0]


def test_what_grew_past_a_threshold_since_it_was_handed_in_is_looked_at_again(
    library: LibraryService, sizes: Sizes
) -> None:
    sizes.sizes["some"] = 10
    from_folder(library, playbook("other", audience="some"), approval=Approval(reach=50))
    library.save(playbook(audience="some"), None, "ann")
    assert library.submit("win_back", "ann").state is State.APPROVED
    sizes.sizes["some"] = 60
    assert library.move("win_back", "publish", "ann").state is State.IN_REVIEW


def test_a_rejected_version_becomes_a_draft_again(library: LibraryService) -> None:
    from_folder(library, playbook("other"), approval=Approval(reach=50))
    library.save(playbook(priority=7), None, "ann")
    library.submit("win_back", "ann")
    library.move("win_back", "reject", "ben", "too many")
    assert states(library) == [(1, "retired")]
    assert library.draft("win_back").playbook.priority == 7
    assert library.draft("win_back").based_on == 1


def test_two_people_save_the_same_draft(library: LibraryService) -> None:
    first = library.save(playbook(), None, "ann")
    with pytest.raises(RevisionMissing, match="already, last saved by ann"):
        library.save(playbook(priority=1), None, "ben")
    second = library.save(playbook(priority=1), first.etag, "ben")
    with pytest.raises(DraftChanged) as failure:
        library.save(playbook(priority=2, audience="few"), first.etag, "ann")
    assert "ben saved the draft of 'win_back' meanwhile, as revision 2" in str(failure.value)
    assert "audience: none → few\npriority: 1 → 2" in str(failure.value)
    assert failure.value.etag == second.etag
    assert library.draft("win_back").playbook.priority == 1
    library.discard("win_back", second.etag)
    with pytest.raises(DraftChanged, match="handed in or discarded"):
        library.save(playbook(priority=3), second.etag, "ann")
    assert library.save(playbook(priority=1), None, "ben").etag != second.etag


def test_a_draft_may_be_wrong_until_it_is_handed_in(library: LibraryService) -> None:
    saved = library.save(playbook().model_copy(update={"name": "broken"}), None, "ann")
    assert [str(one) for one in saved.problems] == ["playbooks/broken: name: is broken"]
    with pytest.raises(LibraryError, match="is broken"):
        library.move("win_back", "publish", "ann")
    assert library.draft("win_back").playbook.name == "broken"


def test_an_import_that_is_half_wrong_changes_nothing(library: LibraryService, database: Database) -> None:
    from_folder(library, playbook())
    with pytest.raises(LibraryError, match="nothing was imported"):
        from_folder(library, playbook(priority=9), playbook("bad").model_copy(update={"name": "broken"}))
    assert served(database) == ["win_back@1"]
    assert [entry.id for entry in library.entries()] == ["win_back"]


def test_versions_can_be_compared_and_brought_back(library: LibraryService, database: Database) -> None:
    from_folder(library, playbook())
    from_folder(library, playbook(priority=9))
    assert [str(one) for one in library.diff("win_back", "1", "2")] == ["priority: 0 → 9"]
    assert library.move("win_back", "publish", "ann", "roll back", 1).version == 1
    assert served(database) == ["win_back@1"]
    # The folder still has what was taken back: that holds.
    assert from_folder(library, playbook(priority=9)).unchanged == 1
    assert served(database) == ["win_back@1"]
    assert from_folder(library, playbook(priority=8)).live == ["win_back@3"]


def test_a_pilot_runs_beside_the_live_version(library: LibraryService, database: Database) -> None:
    from_folder(library, playbook())
    from_folder(library, playbook(priority=2, pilot=PILOT))
    with database.read() as connection:
        live, pilot = Loader().load(connection).playbooks
    assert (live.key, pilot.key) == ("win_back@1", "win_back@2")
    users = [f"user-{n}" for n in range(2000)]
    assert pilot.serves("ann", frozenset())
    assert all(live.serves(user, frozenset()) != pilot.serves(user, frozenset()) for user in users)
    assert 0.15 < sum(pilot.serves(user, frozenset()) for user in users) / 2000 < 0.25
    library.move("win_back", "publish", "ann")
    assert served(database) == ["win_back@2"]


def test_moves_that_a_state_does_not_allow(library: LibraryService) -> None:
    from_folder(library, playbook())
    with pytest.raises(MoveRefused, match=r"can be moved by `resume`; the newest, win_back@1, is live"):
        library.move("win_back", "resume", "ann")
    with pytest.raises(UnknownPlaybook, match="no playbook 'winback'"):
        library.move("winback", "pause", "ann")
    with pytest.raises(UnknownPlaybook, match="no version 7"):
        library.move("win_back", "pause", "ann", version=7)
    with pytest.raises(UnknownPlaybook, match="no draft to hand in"):
        library.submit("win_back", "ann")
    library.save(playbook(), None, "ann")
    library.submit("win_back", "ann")
    with pytest.raises(MoveRefused, match="has no `pilot`"):
        library.move("win_back", "pilot", "ann")


def test_every_move_is_a_fact(library: LibraryService, database: Database, clock: SimulatedClock) -> None:
    from_folder(library, playbook())
    clock.move_to(clock.now() + timedelta(hours=1))
    library.move("win_back", "pause", "ann", "complaints")
    with database.read() as connection:
        facts = ledger.read_after(connection, 0, kind=Kind.CHANGE, labels=["playbook"], limit=10)
    assert [fact.decode(dict) for fact in facts] == [
        {"playbook": "win_back", "version": 1, "state": "live", "before": None, "by": "folder"},
        {
            "playbook": "win_back",
            "version": 1,
            "state": "paused",
            "before": "live",
            "by": "ann",
            "why": "complaints",
        },
    ]


def test_an_export_can_be_imported_elsewhere(library: LibraryService) -> None:
    from_folder(
        library,
        playbook(),
        playbook("other", variants=[{"group": "g", "channel": "mailbox", "content": "hello"}]),
    )
    exported = library.export()
    assert [one["id"] for one in exported["playbooks"]] == ["other", "win_back"]
    assert [one["id"] for one in exported["offers"]] == ["cake", "tea"]
    again = Draft(
        tuple(Playbook.model_validate(one) for one in exported["playbooks"]),
        {one["id"]: Offer.model_validate(one) for one in exported["offers"]},
        {one["id"]: Content.model_validate(one) for one in exported["contents"]},
    )
    assert library.import_(again, by="ben", source="api", publish=True).unchanged == 2


def test_constraints_are_imported_with_the_library_each_change_a_version(
    library: LibraryService, database: Database, clock: SimulatedClock
) -> None:
    loader = Loader()

    def imported(*constraints: Constraint) -> int:
        whole = replace(draft(playbook()), constraints=constraints)
        library.import_(whole, by="ann", source="api", publish=True)
        with database.read() as connection:
            served = loader.newer(connection)
        return -1 if served is None else served.rules.version

    weekly, daily = (Cap(id="few", limit=1, window=window) for window in ("week", "day"))
    assert imported(weekly) == 1
    assert imported(weekly) == -1
    assert imported(daily, Group(kind="group", id="coupons")) == 2
    from_folder(library, playbook())
    assert library.rules.current() == (2, (daily, Group(kind="group", id="coupons")))
    assert library.rules.of(1) == (1, [weekly])
    assert [(one["version"], one["changed_by"]) for one in library.rules.versions()] == [
        (2, "ann"),
        (1, "ann"),
    ]
    with pytest.raises(UnknownConstraints, match="no version 3"):
        library.rules.of(3)
    with database.read() as connection:
        facts = ledger.read_after(connection, 0, kind=Kind.CHANGE, labels=["constraints"])
    body = facts[-1].decode(ConstraintsChange)
    assert (body.added, body.changed, body.removed) == (["group.coupons"], ["cap.few"], [])
    assert library.export()["constraints"][0] == {"id": "few", "limit": 1, "window": "day"}
    assert imported() == 3
