"""Audiences over a real Feast repository, on both databases: evaluated in full and for those who changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audiences import repository as users_repository
from audiences.definitions import AudienceSpec, read_definitions
from audiences.errors import (
    AudienceChanged,
    AudienceError,
    AudienceOfFile,
    AudienceTaken,
    ListRefused,
    RunEnded,
    RunOverdue,
    UnknownAudience,
)
from audiences.events import Event
from audiences.feeds import FeatureFeed
from audiences.intake.intake import Intake
from audiences.rules import RuleError
from audiences.selection import repository, telling
from audiences.selection.counting import Counting
from audiences.selection.evaluation import People
from audiences.selection.labelled import Labelled
from audiences.selection.lists import Lists
from audiences.selection.looking import Looking
from audiences.selection.memberships import Memberships
from audiences.selection.service import Audiences
from audiences.selection.sets import SetSpec
from audiences.selection.telling import Membership
from audiences.service import rule_schema, set_tag
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind
from storage.pace import Pace

T1 = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
DEFINITIONS = """
audiences:
  - {id: buyer, name: Bought, rule: orders_4w > 0}
  - {id: vip, name: Tagged, rule: tag('vip') AND in_audience('buyer')}
  - {id: picked, name: Hand-picked, list: true}
  - {id: target, name: Both, sets: {intersect: [buyer, picked], except: [vip]}}
tags:
  - {tag: buys, rule: in_audience('buyer'), expires_after: P7D}
"""


class Shop:
    """A database, features and audiences; users order, and time is given."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database
        self.specs = load_specs()
        self.schema = rule_schema(self.specs)
        self.features = FeatureRepository(folder / "features", self.specs)
        self.features.apply()
        (folder / "audiences.yaml").write_text(DEFINITIONS)
        self.audiences = self.open()
        self.lists = Lists(database, self.audiences.catalogs, str)
        self.looking = Looking(database, self.audiences)
        self._orders = 0
        self.seen = 0

    def open(self, **options: Any) -> Audiences:
        definitions = read_definitions(self.folder / "audiences.yaml", self.schema)
        return Audiences(self.database, self.features, definitions, self.schema, **options)

    def order(self, user: str, at: datetime = T1 - timedelta(days=3), value: float = 20) -> None:
        self._orders += 1
        event = Event(f"order-{self._orders}", user, "order_completed", {"value": value}, at, at)
        Intake(self.database).take([event])

    def snapshot(self, as_of: datetime = T1) -> None:
        FeatureFeed(self.database, self.features).fill_history()
        self.features.snapshot(as_of)

    def tag(self, user: str) -> None:
        self.database.write(lambda connection: set_tag(connection, user, "vip", "test", T1, None))

    def of(self, user: str) -> set[str]:
        return set(self.audiences.memberships.of(user))

    def told(self) -> dict[str, int]:
        with self.database.read() as connection:
            return ledger.counts(connection).get(Kind.AUDIENCE, {})


@pytest.fixture
def shop(tmp_path: Path, database: Database) -> Iterator[Shop]:
    opened = Shop(tmp_path, database)
    for user in ("ann", "bob", "carl"):
        opened.order(user)
    opened.snapshot()
    yield opened
    opened.features.close()


def test_lists_tags_and_sets_in_one_evaluation(shop: Shop) -> None:
    shop.audiences.evaluate(T1)
    shop.tag("ann")
    taken = shop.lists.upload("picked", b"user_id\nann\nbob\nbob\nnobody\n\n", "olga", T1)
    assert (taken.members, taken.duplicates, taken.unknown_count, taken.unknown) == (2, 1, 1, ["nobody"])
    assert shop.audiences.due(T1, timedelta(hours=1))  # the list is new
    sizes = shop.audiences.evaluate(T1)
    assert sizes == {"buyer": 3, "vip": 1, "picked": 2, "target": 1}
    assert shop.of("ann") == {"buyer", "vip", "picked"}
    assert shop.of("bob") == {"buyer", "picked", "target"}
    assert shop.of("nobody") == set()
    assert not shop.audiences.due(T1, timedelta(hours=1))
    with shop.database.read() as connection:
        assert set(users_repository.tags_of(connection, ["bob"], T1)) == {"buys"}
    shown = {one["id"]: one for one in shop.looking.all()}
    assert shown["picked"]["uploaded"] == {"at": T1, "by": "olga", "unknown": 1}
    assert (shown["target"]["size"], shown["target"]["as_of"], shown["target"]["current"]) == (1, T1, True)
    assert shown["target"]["run"]["status"] == "done"
    assert shown["target"]["run"]["users"] == 3


def test_only_those_who_changed_are_looked_at_and_it_comes_out_the_same(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = T1 + timedelta(hours=1)
    assert shop.audiences.evaluate_changed(T1) is None  # there was no full evaluation
    shop.audiences.evaluate(T1)
    shop.order("dora", later - timedelta(minutes=5))
    shop.tag("ann")
    # Features don't know of dora yet: she is looked at, and again once they do.
    shop.audiences.evaluate_changed(later)
    assert (shop.of("ann"), shop.of("dora")) == ({"buyer", "vip"}, set())
    shop.snapshot(later)
    read: list[list[str]] = []
    real = shop.audiences.population.read

    def watched(users: Any, *arguments: Any, **options: Any) -> People:
        read.append([user.user_id for user in users])
        return real(users, *arguments, **options)

    monkeypatch.setattr(shop.audiences.population, "read", watched)
    shop.audiences.evaluate_changed(later)
    assert shop.of("dora") == {"buyer"}
    assert "dora" in read[0]
    assert "bob" in read[0] or len(read[0]) < 4  # at most a generation of features is looked at twice
    shop.audiences.evaluate_changed(later)
    assert "bob" not in read[1]
    incremental = {user: shop.of(user) for user in ("ann", "bob", "carl", "dora")}
    told = shop.told()
    shop.audiences.evaluate(later)
    assert {user: shop.of(user) for user in incremental} == incremental
    assert shop.told() == told


def test_all_audiences_become_live_at_once_and_each_change_is_told_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(*_: Any) -> None:
        raise RuntimeError("torn")

    with monkeypatch.context() as patched:
        patched.setattr(repository, "make_live", torn)
        with pytest.raises(RuntimeError):
            shop.audiences.evaluate(T1)
    assert shop.of("ann") == set()
    assert shop.told() == {}
    assert shop.looking.one("buyer")["run"]["status"] == "failed"
    # This one becomes live, and stops before everything is told.
    with monkeypatch.context() as patched:
        patched.setattr(shop.audiences._telling, "_pace", Pace(2))
        real, calls = telling.record, []

        def record(*arguments: Any, **options: Any) -> int:
            calls.append(1)
            if len(calls) > 1:
                raise RuntimeError("torn")
            return real(*arguments, **options)

        patched.setattr(telling, "record", record)
        with pytest.raises(RuntimeError):
            shop.audiences.evaluate(T1)
    assert shop.told() == {"buyer.entered": 2}
    with shop.database.read() as connection:
        assert repository.live(connection)["buyer"].size == 3
    shop.audiences.evaluate(T1)
    assert shop.told() == {"buyer.entered": 3}
    with shop.database.read() as connection:
        assert not repository.untold(connection)


def test_an_audience_begins_quietly_and_says_so_of_a_changed_rule(shop: Shop) -> None:
    def aloud() -> list[str]:
        """What may start something, since the last time."""
        with shop.database.read() as connection:
            facts = ledger.read_after(connection, shop.seen, kind=Kind.AUDIENCE, limit=1_000)
            shop.seen = ledger.head(connection)
        return sorted(f"{one.user_id} {one.label}" for one in facts if not one.decode(Membership).quiet)

    catalogs = shop.audiences.catalogs
    shop.audiences.evaluate(T1)
    assert shop.told() == {"buyer.entered": 3}
    assert aloud() == []
    shop.order("dora")
    shop.snapshot()
    shop.audiences.evaluate(T1)
    assert aloud() == ["dora buyer.entered"]
    # Who is put on a list enters it, and what is made of it; a list that is new is no exception.
    shop.lists.upload("picked", b"ann\n", "olga", T1)
    shop.audiences.evaluate(T1)
    assert aloud() == ["ann picked.entered", "ann target.entered"]
    # Changes of a definition are quiet, in whatever is made of it too.
    etag = catalogs.create(AudienceSpec(id="rich", name="Rich", rule="value_12w > 10"), "olga", T1)
    richer = AudienceSpec(id="richer", name="R", sets=SetSpec(union=["rich"]))
    catalogs.create(richer, "olga", T1)
    shop.audiences.evaluate(T1)
    etag = catalogs.change(AudienceSpec(id="rich", name="Rich", rule="value_12w > 99"), etag, "olga", T1)
    shop.audiences.evaluate(T1)
    assert shop.told()["richer.left"] == 4
    assert aloud() == []
    # Unless it is said otherwise.
    spec = AudienceSpec(id="rich", name="Rich", rule="value_12w > 10", quiet=False)
    etag = catalogs.change(spec, etag, "olga", T1)
    shop.audiences.evaluate(T1)
    assert aloud() == [f"{user} rich.entered" for user in ("ann", "bob", "carl", "dora")]
    catalogs.retire("richer", catalogs.read().etags["richer"], "olga", T1)
    shop.audiences.evaluate(T1)
    assert shop.told()["richer.left"] == 8
    assert aloud() == []
    with pytest.raises(ValueError, match="`quiet` is not for lists"):
        AudienceSpec(id="some", name="S", list=True, quiet=False)


def test_a_run_that_hangs_is_named_and_given_up_and_what_it_writes_is_refused(shop: Shop) -> None:
    shop.audiences.evaluate(T1)
    hanging = shop.open(overdue_after=timedelta(seconds=0.3))
    go_on, refused = threading.Event(), []
    real = hanging.population.read

    def hang(*arguments: Any, **options: Any) -> People:
        go_on.wait(60)
        try:
            return real(*arguments, **options)
        except RunEnded as error:
            refused.append(error)
            raise

    hanging.population.read = hang  # type: ignore[method-assign]
    shown: list[dict[str, Any]] = []
    looker = threading.Timer(0.6, lambda: shown.append(Looking(shop.database, hanging).one("buyer")["run"]))
    looker.start()
    with pytest.raises(RunOverdue, match="was given up"):
        hanging.evaluate(T1 + timedelta(days=1))
    looker.join()
    assert shop.looking.one("buyer")["run"]["status"] == "lost"
    assert shop.of("ann") == {"buyer"}
    shop.audiences.evaluate(T1 + timedelta(days=2))
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "audiences-run":
            thread.join(20)
    assert refused
    assert shop.looking.one("buyer")["as_of"] == T1 + timedelta(days=2)


def test_an_erased_user_is_nowhere(shop: Shop) -> None:
    shop.audiences.evaluate(T1)
    shop.lists.upload("picked", b"ann\nbob\n", "olga", T1)
    shop.audiences.evaluate(T1)
    other = Memberships()
    with shop.database.read() as connection:
        other.load(connection)
    assert shop.database.write(lambda connection: repository.forget(connection, "ann"))
    assert not shop.database.write(lambda connection: repository.forget(connection, "ann"))
    with shop.database.read() as connection:
        assert other.load(connection)
        assert other.of("ann") == set()
        assert other.of("bob") == {"buyer", "picked", "target"}
        assert len(repository.latest_lists(connection)["picked"].members) == 1
        assert {name: state.size for name, state in repository.live(connection).items()} == {
            "buyer": 2,
            "vip": 0,
            "picked": 1,
            "target": 1,
        }


def test_edits_are_whole_or_nothing(shop: Shop) -> None:
    catalogs = shop.audiences.catalogs
    spec = AudienceSpec(id="rich", name="Rich", rule="value_12w > 10")
    first = catalogs.create(spec, "olga", T1)
    shop.audiences.evaluate(T1)
    assert shop.of("ann") == {"buyer", "rich"}
    with pytest.raises(AudienceTaken):
        catalogs.create(spec, "olga", T1)
    with pytest.raises(AudienceOfFile):
        catalogs.change(AudienceSpec(id="buyer", name="B", rule="orders_4w > 1"), '"x"', "olga", T1)
    with pytest.raises(UnknownAudience):
        catalogs.change(AudienceSpec(id="none", name="N", rule="orders_4w > 1"), '"x"', "olga", T1)
    wrong: dict[str, dict[str, Any]] = {
        "unknown feature": {"rule": "value_13w > 10"},
        "made of itself": {"rule": "in_audience('rich')"},
        "there is no audience": {"sets": {"union": ["buyr"]}},
        "a list stays a list": {"list": True},
        "not part of the rule language": {"rule": "value_12w > (SELECT 1)"},
    }
    for said, definition in wrong.items():
        with pytest.raises(AudienceError, match=said):
            catalogs.change(
                AudienceSpec.model_validate({"id": "rich", "name": "Rich", **definition}), first, "olga", T1
            )
    assert len(catalogs.history("rich")) == 1
    assert catalogs.read().etags["rich"] == first
    second = catalogs.change(AudienceSpec(id="rich", name="Rich", rule="value_12w > 1000"), first, "ole", T1)
    assert shop.looking.one("rich")["current"] is False
    assert shop.of("ann") == {"buyer", "rich"}  # live stays live until the next evaluation
    with pytest.raises(AudienceChanged):
        catalogs.change(spec, first, "olga", T1)
    assert shop.audiences.evaluate_changed(T1) is None
    shop.audiences.evaluate(T1)
    assert shop.of("ann") == {"buyer"}
    assert [(one.version, one.made_by) for one in catalogs.history("rich")] == [(2, "ole"), (1, "olga")]
    needing = catalogs.create(AudienceSpec(id="richer", name="R", sets=SetSpec(union=["rich"])), "olga", T1)
    with pytest.raises(AudienceError, match="richer is made of it"):
        catalogs.retire("rich", second, "olga", T1)
    catalogs.change(AudienceSpec(id="richer", name="R", sets=SetSpec(union=["buyer"])), needing, "olga", T1)
    shop.audiences.evaluate(T1)
    assert shop.of("ann") == {"buyer", "richer"}
    catalogs.retire("richer", catalogs.read().etags["richer"], "olga", T1)
    catalogs.retire("rich", second, "olga", T1)
    assert "rich" not in catalogs.read().specs
    shop.audiences.evaluate(T1)
    assert shop.of("ann") == {"buyer"}
    assert shop.told()["richer.left"] == 3
    assert shop.audiences.memberships.live["richer"].size == 0


def test_a_definition_that_no_longer_fits_keeps_its_members_and_says_so(shop: Shop) -> None:
    shop.audiences.catalogs.create(AudienceSpec(id="rich", name="Rich", rule="value_12w > 10"), "olga", T1)
    shop.audiences.evaluate(T1)
    poorer = {name: kind for name, kind in shop.schema.names.items() if name != "value_12w"}
    shop.schema = type(shop.schema)(poorer)
    reopened = shop.open()
    reopened.evaluate(T1)
    assert set(reopened.memberships.of("ann")) == {"buyer", "rich"}
    assert 'unknown feature "value_12w"' in Looking(shop.database, reopened).one("rich")["problem"]


def test_a_wrong_list_changes_nothing(shop: Shop) -> None:
    shop.audiences.evaluate(T1)
    shop.lists.upload("picked", b"ann\n", "olga", T1)
    for body, said in {
        b"": "has no ids",
        b"user_id\n": "has no ids",
        b"ann,1\nbob": "line 1: 2 cells, not 1",
        b"ann\n" + b"x" * 300: "line 2: a user id has at most 255 characters",
        b"\xff\xfe": "not UTF-8",
        b'ann\n"bob': "line 2: this is no CSV",
        b"nobody\nno one": "none of the 2 ids is known, the first of them 'nobody'",
    }.items():
        with pytest.raises(ListRefused, match=said):
            shop.lists.upload("picked", body, "olga", T1)
    with pytest.raises(AudienceError, match="is no list"):
        shop.lists.upload("buyer", b"ann", "olga", T1)
    with pytest.raises(UnknownAudience):
        shop.lists.upload("nothing", b"ann", "olga", T1)
    shop.audiences.evaluate(T1)
    assert shop.of("ann") == {"buyer", "picked", "target"}


def test_drafts_are_counted_and_audiences_laid_over_each_other(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(20):
        shop.order(f"user-{place}", value=place)
    shop.snapshot()
    counting = Counting(shop.database, shop.audiences)
    nobody = counting.count("value_12w >= 10", None, T1)
    assert (nobody.selected, nobody.users, nobody.sampled) == (0, 0, None)  # nobody is numbered yet
    assert counting.held("value_12w >= 10") is None
    shop.audiences.evaluate(T1)
    exact = counting.count("value_12w >= 10", None, T1)
    assert (exact.selected, exact.users, exact.sampled, exact.as_of) == (13, 23, None, T1)
    # A tag that no audience asks for is known all the same, and who is in an audience.
    shop.database.write(lambda connection: set_tag(connection, "user-1", "odd", "test", T1, None))
    assert counting.count("tag('odd') AND in_audience('buyer')", None, T1).selected == 1
    # Another process asks this one, reads in time, or reads as many as it has time for.
    monkeypatch.setattr("audiences.selection.counting.READ", 12)
    other = shop.open()
    assert Counting(shop.database, other, counting.held).count("value_12w >= 10", None, T1) == exact
    patient = Counting(shop.database, other, seconds=600)
    assert patient.count("value_12w >= 10", None, T1) == exact
    assert patient.count("tag('odd')", None, T1).selected == 1
    sampled = Counting(shop.database, other, seconds=0).count("value_12w >= 10", None, T1)
    assert sampled.sampled == 12
    assert 0 <= sampled.low <= sampled.selected <= sampled.high <= 23
    shop.lists.upload("picked", b"ann\nuser-1\n", "olga", T1)
    shop.audiences.evaluate(T1)
    assert counting.count(None, SetSpec(union=["picked", "vip"]), T1).selected == 2
    with pytest.raises(RuleError, match="did you mean"):
        counting.count("value_12 > 1", None, T1)
    over = shop.looking.overlap(["buyer", "picked"])
    assert (over["in_any"], over["in_all"], over["sizes"]) == (23, 2, {"buyer": 23, "picked": 2})
    assert over["pairs"][0]["jaccard"] == pytest.approx(2 / 23, abs=1e-6)
    with pytest.raises(AudienceError, match="2 to 20"):
        shop.looking.overlap(["buyer", "buyer"])
    drawn = shop.looking.sample("buyer", 5, "seed")
    assert len(drawn["members"]) == 5
    assert drawn == shop.looking.sample("buyer", 5, "seed")
    assert shop.looking.sample("picked", 5, "seed")["members"] == ["ann", "user-1"]


def test_labels_judge_an_audience_and_say_where_they_do_not_apply(shop: Shop) -> None:
    for place in range(60):
        shop.order(f"user-{place}", value=place)
    shop.snapshot()
    shop.audiences.catalogs.create(AudienceSpec(id="rich", name="R", rule="value_12w >= 30"), "olga", T1)
    shop.audiences.evaluate(T1)
    labelled = Labelled(shop.database, shop.audiences)
    users = "".join(f"user-{place},{'true' if place >= 25 else 'false'}\n" for place in range(60))
    report = labelled.judge("rich", f"user_id,expected\n{users}nobody,true\n".encode(), T1)
    assert (report["accuracy"], report["precision"], report["recall"]) == (
        pytest.approx(55 / 60, abs=1e-6),
        1.0,
        pytest.approx(30 / 35, abs=1e-6),
    )
    assert report["confusion"]["false_negative"] == 5
    assert report["unknown"] == {"count": 1, "first": ["nobody"]}
    assert report["wrong"][0] == {
        "user_id": "user-25",
        "expected": True,
        "found": False,
        "because": "value_12w >= 30 is false: value_12w is 25",
    }
    assert report["drift"]["applies"]
    rich_only = "".join(f"user-{place},true\n" for place in range(40, 60)).encode()
    assert not labelled.judge("rich", rich_only, T1)["drift"]["applies"]
    for body, said in {
        b"ann,maybe": "line 1: expected is 'maybe'",
        b"ann,true\nann,false": "line 2: 'ann' is labelled both",
        b"ann": "1 cells, not 2",
        b"": "no labels",
        b"x,true": "none of the 1 users is known",
    }.items():
        with pytest.raises(ListRefused, match=said):
            labelled.judge("rich", body, T1)
