"""The optimisation log over both databases: read newest first, and taken back."""

from __future__ import annotations

import doctest
import re
import shlex
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from pyroaring import BitMap
from typer.testing import CliRunner

from audiences.definitions import AudienceSpec, Definitions
from audiences.identity.people import EveryoneAlone
from audiences.rules import Schema, Type
from audiences.scores.definitions import Score, ScoreSpec
from audiences.selection import repository as audiences_repository
from audiences.selection.catalog import Catalogs
from audiences.selection.lists import Lists
from audiences.selection.repository import Upload
from decision.cli import app
from decision.demo.run import LIBRARY
from decision.files import read_files
from decision.optimising.settings import tell_settings
from decision.optimising.undoing import Undoing
from decision.shaping import Shapings
from decision.stopping import open_controls
from learning import change_repository, optimisation_log, version_repository
from learning.challengers.gathering import Gathering
from learning.challengers.promoting import Promoting
from learning.challengers.rules import PromotionRules
from learning.errors import NotUndone, UnknownChange
from learning.exploration_kinds import Decay, EpsilonGreedy
from learning.learner import Learnt
from learning.models import model_from_bytes
from learning.optimisation_log import Entry, entry_of
from learning.spec import PolicySpec
from learning.version_repository import PolicyChange
from learning.versions import child, cold_start
from playbooks.constraints.documents import Cap
from playbooks.controls import Mode, Scope
from playbooks.errors import LibraryError
from playbooks.guards import LoyalGuard
from playbooks.library import Library
from playbooks.library.changes import FOLDER
from playbooks.library.house_rules import HouseRules, keep_constraints
from playbooks.library.service import LibraryService
from playbooks.models import Playbook
from playbooks.protection import Protection
from playbooks.shaping import Shaping
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from tests.contract.test_playbooks_library import Nobody, Sizes, draft, playbook, served, states

LEARNT = PolicySpec.model_validate(
    {
        "id": "q",
        "placements": ["outbound"],
        "features": [{"scalar": "orders"}],
        "learner": {"kind": "linear_gaussian"},
        "exploration": {
            "kind": "epsilon_greedy",
            "epsilon": {"start": 0.1, "floor": 0.1, "half_life": 1},
        },
    }
)
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "changes.md"


@pytest.fixture
def library(database: Database, clock: SimulatedClock) -> LibraryService:
    return LibraryService(database, clock, Nobody(), Sizes(everybody=100))


@pytest.fixture
def undoing(database: Database, clock: SimulatedClock, library: LibraryService) -> Undoing:
    spec = PolicySpec.model_validate(
        {
            "id": "p",
            "placements": ["outbound"],
            "exploration": {"kind": "single", "variant": "win_back/coffee"},
        }
    )
    rules, specs = PromotionRules(), {"p": spec}
    gathering = Gathering(database, specs, rules, Protection(), EveryoneAlone())
    promoting = Promoting(database, clock, "p", specs, rules, gathering)
    controls = open_controls(database, clock, lambda user: user, channels=["mailbox"])
    catalogs = Catalogs(database, Definitions((), (), {}, ()), Schema({}))
    return Undoing(
        database,
        clock,
        library=library,
        controls=controls,
        promoting=promoting,
        audiences=catalogs,
        lists=Lists(database, catalogs, lambda user: user),
        shapings=Shapings(database, clock, lambda: Library(()), lambda: {"gold", "new"}),
    )


def test_what_holds_no_more_is_not_taken_back(
    database: Database, clock: SimulatedClock, undoing: Undoing
) -> None:
    shapings = Shapings(database, clock, lambda: Library(()), lambda: {"gold", "new"})
    guarded = [LoyalGuard(loyal="gold", newer="new")]
    shapings.change(Shaping(guards=guarded, costs={"EUR": 0.1}), None, "ann", "a try")
    cost, guard = sorted(entries(database, "setting"), key=lambda one: one.thing)
    shapings.change(Shaping(guards=guarded, costs={"EUR": 0.2}), None, "bob", "more of it")
    with pytest.raises(NotUndone, match="other costs hold by now: take the later change back first"):
        undoing.undo(cost.id, "eve")
    assert undoing.undo(guard.id, "eve", "unfair").cause == f"takes back {guard.id}: unfair"
    assert undoing.undo(entries(database, "setting")[1].id, "eve").after == {"EUR": 0.1}
    assert shapings.now()[1] == Shaping(costs={"EUR": 0.1})
    # What was given up meanwhile can't be guarded again.
    taken = entries(database, "setting")[1]
    assert (taken.thing, taken.after) == ("policy.yaml guards", [])
    gone = Shapings(database, clock, lambda: Library(()), lambda: {"new"})
    with pytest.raises(LibraryError, match="no audience 'gold'"):
        gone.take_back("guards", taken.before, taken.after, "eve", "")


def entries(database: Database, *what: str) -> list[Entry]:
    with database.read() as connection:
        return [entry_of(fact) for fact in change_repository.changes_before(connection, what, None, 100)]


def make(library: LibraryService, priority: int) -> None:
    """Publish the next version of a playbook."""
    etag = None
    library.save(playbook(priority=priority), etag, "ann")
    library.move("win_back", "publish", "ann", f"priority {priority}")


def test_examples_in_the_documentation_hold() -> None:
    tried = doctest.testmod(optimisation_log)
    assert (tried.attempted, tried.failed) == (1, 0)


def test_a_version_that_went_live_gives_its_place_back(
    database: Database, library: LibraryService, undoing: Undoing
) -> None:
    make(library, 1)
    make(library, 2)
    assert served(database) == ["win_back@2"]
    newest = next(one for one in entries(database, "playbook") if one.after == "live")
    assert (newest.thing, newest.by, newest.actor) == ("win_back version 2", "ann", "person")
    assert (newest.cause, newest.undo) == ("priority 2", "publish")
    done = undoing.undo(newest.id, "bob", "sales fell")
    assert served(database) == ["win_back@1"]
    assert states(library) == [(2, "retired"), (1, "live")]
    assert done.by == "bob"
    assert f"takes back {newest.id}: sales fell" in {one.cause for one in entries(database)}
    # It was overtaken by what took it back.
    with pytest.raises(NotUndone, match="is retired by now and not live"):
        undoing.undo(newest.id, "bob")


def test_the_first_version_is_taken_away(
    database: Database, library: LibraryService, undoing: Undoing
) -> None:
    make(library, 1)
    (first,) = [one for one in entries(database, "playbook") if one.after == "live"]
    undoing.undo(first.id, "bob")
    assert served(database) == []


def test_a_pause_and_its_end_take_each_other_back(
    database: Database, library: LibraryService, undoing: Undoing
) -> None:
    make(library, 1)
    library.move("win_back", "pause", "ann")
    resumed = undoing.undo(entries(database, "playbook")[0].id, "bob")
    assert states(library) == [(1, "live")]
    assert resumed.undo == "pause"
    undoing.undo(resumed.id, "bob")
    assert states(library) == [(1, "paused")]


def test_what_was_stopped_goes_on(database: Database, clock: SimulatedClock, undoing: Undoing) -> None:
    controls = open_controls(database, clock, lambda user: user, channels=["mailbox"])
    controls.stop(Scope.EVERYTHING, "", Mode.PAUSE, by="ann", why="wrong prices")
    (one,) = entries(database, "control")
    assert (one.thing, one.after, one.undo, one.cause) == ("everything", "pause", "resume", "wrong prices")
    assert undoing.undo(one.id, "bob").after == "resume"
    assert [control.mode for control in controls.list()] == [Mode.RESUMING]


def test_a_published_policy_is_told_with_its_evidence_and_not_taken_back(
    database: Database, clock: SimulatedClock, undoing: Undoing
) -> None:
    now = clock.now()
    change = PolicyChange("p", "p@2", "p@1", "hash", 0, 9, {"loss": 0.2})
    fact = NewFact(Kind.CHANGE, new_id(now), "policy_published", None, now, change)
    database.write(lambda connection: ledger.append(connection, [fact], now))
    (one,) = entries(database, "policy_published")
    assert (one.thing, one.before, one.after, one.actor) == ("p", "p@1", "p@2", "machine")
    assert (one.cause, one.evidence) == ("a new specification", {"loss": 0.2})
    with pytest.raises(NotUndone, match=r"policy\.yaml says it, and what it said before is not kept"):
        undoing.undo(one.id, "bob")
    with pytest.raises(UnknownChange):
        undoing.undo("nothing", "bob")


def test_of_a_new_specification_it_is_said_what_to_write_where(
    database: Database, clock: SimulatedClock, undoing: Undoing
) -> None:
    first = cold_start(LEARNT, {}, clock.now(), after=None)
    bolder = EpsilonGreedy(kind="epsilon_greedy", epsilon=Decay(start=0.3, floor=0.1, half_life=1))
    second = cold_start(LEARNT.model_copy(update={"exploration": bolder}), {}, clock.now(), after=first)
    third = cold_start(
        LEARNT.model_copy(update={"exploration": bolder}), {"x": ["y"]}, clock.now(), after=second
    )
    for one in (first, second, third):
        database.write(lambda c, one=one: version_repository.insert_version(c, one, clock.now()), rows=2)  # type: ignore[misc]
    newest, middle, oldest = entries(database, "policy_published")
    assert (newest.undo, middle.undo, middle.cause) == ("", "", "a new specification")
    said = (
        r'file of q in policies/challengers says it; write exploration: \{.*"start": 0\.1,.* and start again'
    )
    with pytest.raises(NotUndone, match=said):
        undoing.undo(middle.id, "bob")
    with pytest.raises(NotUndone, match=r"the specification is that of q@2; .* vocabularies"):
        undoing.undo(newest.id, "bob")
    with pytest.raises(NotUndone, match="it is the first version of q"):
        undoing.undo(oldest.id, "bob")


def test_another_member_in_charge_goes_with_its_weights(
    database: Database, clock: SimulatedClock, undoing: Undoing
) -> None:
    first = msgspec.structs.replace(cold_start(LEARNT, {}, clock.now(), after=None), member="a")
    learnt = Learnt(model_from_bytes(first.model), b"more")
    second = child(first, learnt, trained=7, through=12, metrics={}, now=clock.now())
    second = msgspec.structs.replace(second, member="b")
    for one in (first, second):
        database.write(lambda c, one=one: version_repository.insert_version(c, one, clock.now()), rows=2)  # type: ignore[misc]
    database.write(
        lambda c: version_repository.tell_of_member(c, second, "a", clock.now(), by="", why="better")
    )
    (told,) = entries(database, "member_in_charge")
    assert (told.before, told.after, told.undo) == ("a", "b", "restore")
    done = undoing.undo(told.id, "bob")
    assert (done.before, done.after, done.by, done.cause) == ("b", "a", "bob", f"takes back {told.id}")
    with pytest.raises(NotUndone, match="q@3 was published after q@2"):
        undoing.undo(told.id, "bob")


def test_constraints_are_what_they_were(
    database: Database, clock: SimulatedClock, library: LibraryService, undoing: Undoing
) -> None:
    def say(by: str, limit: int) -> None:
        rules = [Cap(id="few", limit=limit, window="P7D")]
        database.write(lambda c: keep_constraints(c, rules, by, clock.now()))

    say(FOLDER, 3)
    (first,) = entries(database, "constraints")
    with pytest.raises(NotUndone, match=r"constraints\.yaml says them; write \[\] there and start again"):
        undoing.undo(first.id, "bob")
    say("ann", 1)
    newest, oldest = entries(database, "constraints")
    assert (newest.thing, newest.before, newest.undo) == ("constraints version 2", 1, "restore")
    assert (newest.after, oldest.after) == ("changed cap.few", "added cap.few")
    done = undoing.undo(newest.id, "bob", "too few")
    assert (done.after, done.by, done.cause) == (
        "changed cap.few",
        "bob",
        f"takes back {newest.id}: too few",
    )
    version, rules = HouseRules(database).current()
    assert (version, [one.limit for one in rules if isinstance(one, Cap)]) == (3, [3])
    with pytest.raises(NotUndone, match="version 3 by now: take the later change back first"):
        undoing.undo(newest.id, "bob")
    # What a file says the next start says again.
    say(FOLDER, 9)
    with pytest.raises(NotUndone, match=r"constraints\.yaml says them.*GET /v1/constraints/versions/3 has"):
        undoing.undo(entries(database, "constraints")[0].id, "bob")


def test_a_playbook_whose_file_is_gone_comes_back_by_its_file(
    database: Database, library: LibraryService, undoing: Undoing
) -> None:
    def start(*playbooks: Playbook) -> None:
        library.import_(draft(*playbooks), by=FOLDER, source=FOLDER, publish=True, whole=True)

    start(playbook(priority=1))
    start(playbook(priority=2))
    # What a file changed is taken back, and a start with the same file leaves it so.
    newest = next(one for one in entries(database, "playbook") if one.after == "live")
    assert (newest.by, newest.actor, newest.undo) == ("folder", "machine", "publish")
    undoing.undo(newest.id, "bob")
    start(playbook(priority=2))
    assert states(library) == [(2, "retired"), (1, "live")]
    start()
    gone = entries(database, "playbook")[0]
    assert (gone.after, gone.undo) == ("retired", "")
    with pytest.raises(NotUndone, match=r"file is gone .*GET /v1/playbooks/win_back/versions/1 has"):
        undoing.undo(gone.id, "bob")


def test_what_was_learned_is_taken_back(database: Database, clock: SimulatedClock, undoing: Undoing) -> None:
    first = cold_start(LEARNT, {}, clock.now(), after=None)
    model = model_from_bytes(first.model)
    second = child(
        first, Learnt(model, b"more"), trained=7, through=12, metrics={"loss": 0.2}, now=clock.now()
    )
    for one in (first, second):
        database.write(lambda c, one=one: version_repository.insert_version(c, one, clock.now()), rows=2)  # type: ignore[misc]
    (newest, oldest) = entries(database, "policy_published")
    assert (newest.undo, oldest.undo) == ("restore", "")
    done = undoing.undo(newest.id, "bob", "it sells nothing")
    assert (done.before, done.after, done.by, done.actor) == ("q@2", "q@3", "bob", "person")
    assert done.cause == f"takes back {newest.id}: it sells nothing"
    with database.read() as connection:
        third = version_repository.latest_version(connection, "q")
    assert third is not None
    # The weights of the first, and nothing is learned again that the second had learned from.
    assert (third.model, third.state, third.through, third.trained) == (first.model, None, 12, 0)
    with pytest.raises(NotUndone, match="q@3 was published after q@2"):
        undoing.undo(newest.id, "bob")


def test_an_audience_is_what_it_was(database: Database, clock: SimulatedClock, undoing: Undoing) -> None:
    catalogs = Catalogs(database, Definitions((), (), {}, ()), Schema({"orders": Type.NUMBER}))
    undoing._audiences = catalogs
    few = AudienceSpec(id="buyers", name="Buyers", rule="orders > 1")
    catalogs.create(few, "ann", clock.now())
    many = AudienceSpec(id="buyers", name="Buyers", rule="orders > 9")
    catalogs.change(many, catalogs.read().etags["buyers"], "ann", clock.now())
    newest, oldest = entries(database, "audience")
    assert newest.thing == "buyers version 2"
    assert (newest.before["rule"], newest.after["rule"]) == ("orders > 1", "orders > 9")
    assert (newest.by, oldest.before) == ("ann", None)
    done = undoing.undo(newest.id, "bob", "too few")
    assert done.after["rule"] == "orders > 1"
    assert (done.by, done.cause) == ("bob", f"takes back {newest.id}: too few")
    assert catalogs.read().specs["buyers"] == few
    with pytest.raises(NotUndone, match="take the later change back first"):
        undoing.undo(newest.id, "bob")
    # Back and forth, and away with it, and here again.
    assert undoing.undo(done.id, "bob").after["rule"] == "orders > 9"
    catalogs.retire("buyers", catalogs.read().etags["buyers"], "ann", clock.now())
    (retired, *_) = entries(database, "audience")
    assert retired.after == "retired"
    assert undoing.undo(retired.id, "bob").after["rule"] == "orders > 9"


def test_what_files_say_differently_is_a_change(
    database: Database, clock: SimulatedClock, undoing: Undoing
) -> None:
    files = read_files(LIBRARY)
    assert tell_settings(database, clock, files) == 0
    assert tell_settings(database, clock, files) == 0
    few = replace(files.definitions, audiences=files.definitions.audiences[1:])
    bold = files.promotion.model_copy(update={"confidence": 0.9})
    assert tell_settings(database, clock, replace(files, promotion=bold, definitions=few)) == 2
    (setting,) = entries(database, "setting")
    assert (setting.thing, setting.before, setting.after) == ("promotion.yaml confidence", 0.95, 0.9)
    assert (setting.by, setting.actor, setting.undo) == ("folder", "machine", "")
    (audience,) = entries(database, "audience")
    assert (audience.thing, audience.after, audience.undo) == ("new_shopper", "retired", "")
    assert audience.before["rule"] == "days_since_first_order < 56"
    with pytest.raises(NotUndone, match=r"promotion\.yaml says it; write confidence: 0\.95 there"):
        undoing.undo(setting.id, "bob")
    with pytest.raises(NotUndone, match=r"audiences\.yaml says it; write new_shopper: .*_order < 56\""):
        undoing.undo(audience.id, "bob")
    assert tell_settings(database, clock, files) == 2
    # A score that was not there before is new, and one whose threshold moved is another.
    for least, told in ((10, 1), (20, 1)):
        points = [{"id": "order", "event": "order_completed", "points": 5}]
        grades = [{"grade": "MQL", "at": least}]
        spec = ScoreSpec.model_validate({"id": "fit", "name": "Fit", "points": points, "grades": grades})
        score = Score(spec, {}, {}, ())
        assert tell_settings(database, clock, replace(files, scores=[score])) == told
    named = files.policy.model_copy(update={"fallbacks": {"home": "welcome"}})
    assert tell_settings(database, clock, replace(files, policy=named, scores=[score])) == 1
    (shown, *_) = entries(database, "setting")
    assert (shown.thing, shown.before, shown.after) == ("policy.yaml fallbacks", {}, {"home": "welcome"})
    assert tell_settings(database, clock, replace(files, scores=[score])) == 1
    threshold, new, *_ = entries(database, "setting")[2:]
    assert (new.thing, new.before) == ("scores.yaml fit", None)
    assert (threshold.thing, threshold.before["grades"][0]["at"]) == ("scores.yaml fit", 10)
    with pytest.raises(NotUndone, match=r'scores\.yaml says it; write fit: \{.*"at": 10'):
        undoing.undo(threshold.id, "bob")
    (back, *_) = entries(database, "audience")
    with pytest.raises(NotUndone, match=r"audiences\.yaml says it; take new_shopper out of it"):
        undoing.undo(back.id, "bob")


def test_what_can_not_be_taken_back_says_what_to_do(
    database: Database, clock: SimulatedClock, undoing: Undoing
) -> None:
    now = clock.now()
    for label, said in (
        ("key_revoked", "create another with `nextplay keys create`"),
        ("users_merged", "part them with POST /v1/merges/"),
        ("coupon", "one that is void stays void"),
        ("runs_moved", "move them to where they were"),
        ("exported", "is with whoever has it"),
        ("made_up", "change it where it was changed"),
    ):
        fact = NewFact(Kind.CHANGE, new_id(now), label, None, now, {"id": "x", "by": "ann"})
        database.write(lambda connection, fact=fact: ledger.append(connection, [fact], now))  # type: ignore[misc]
        with pytest.raises(NotUndone, match=f"a change of {label} is not taken back here: .*{said}"):
            undoing.undo(fact.id, "bob")


def test_a_list_has_the_members_it_had(database: Database, clock: SimulatedClock, undoing: Undoing) -> None:
    for version, members in ((1, [1, 2]), (2, [3])):
        upload = Upload(version, BitMap(members), 0, clock.now(), "ann")
        undoing._lists._keep("friends", upload)
    newest, oldest = entries(database, "audience")
    assert (newest.thing, newest.undo, oldest.undo) == ("friends list", "restore", "")
    undoing.undo(newest.id, "bob")
    with database.read() as connection:
        latest = audiences_repository.latest_list(connection, "friends")
    assert latest is not None
    assert (latest.version, set(latest.members), latest.made_by) == (3, {1, 2}, "bob")


def test_pages_go_on_where_they_ended(database: Database, clock: SimulatedClock) -> None:
    now = clock.now()
    new = [NewFact(Kind.CHANGE, new_id(now), "made_up", None, now, {"name": f"n{n}"}) for n in range(5)]
    database.write(lambda connection: ledger.append(connection, new, now))
    with database.read() as connection:
        first = change_repository.changes_before(connection, ["made_up"], None, 3)
        second = change_repository.changes_before(connection, ["made_up"], first[-1].seq, 3)
    assert [entry_of(one).thing for one in (*first, *second)] == ["n4", "n3", "n2", "n1", "n0"]


def test_the_commands_of_the_page_are_commands() -> None:
    # A port where nobody listens, also beside a service on its own.
    text = PAGE.read_text(encoding="utf-8").replace(":8321", ":9")
    commands = re.findall(r"^nextplay (.*)$", text, re.M)
    assert len(commands) == 3
    for command in commands:
        # Nobody listens: it is the command that is tried.
        result = CliRunner().invoke(app, [*shlex.split(command), "--key", "np_x"])
        assert "no service answers" in str(result.exception), command
