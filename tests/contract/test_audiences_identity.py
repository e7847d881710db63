"""Events become one person's by what they name; every join can be taken back, and is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiences.errors import EventRefused, UnknownUser
from audiences.events import Claim, Event
from audiences.identity import repository
from audiences.identity.errors import (
    AlreadyOne,
    AlreadyUndone,
    BelongsToAnother,
    MergeCycle,
    SameUser,
    UnknownKind,
    UnknownMerge,
    UserErased,
)
from audiences.identity.models import CARRIER, KindRule
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake, Outcome
from storage import ledger
from storage.engine import Database
from storage.ledger import Fact, Kind
from storage.schema import erasures
from tests.conftest import START

EMAIL = Claim("email", "Ann@Example.com ", verified=True)
PHONE = Claim("phone", "+49 30 901820", verified=True)
WECHAT = Claim("wechat_open_id", "oABC", verified=True)


class People:
    """Sends events to one service and asks who is one person."""

    def __init__(self, database: Database, rules: dict[str, KindRule] | None = None) -> None:
        self.database = database
        self.identity = IdentityService(database, rules)
        self.intake = Intake(database, identities=self.identity)
        self._minutes = 0

    def event(self, user: str = "", anonymous: str | None = None, *claims: Claim, **more: Any) -> Event:
        self._minutes += 1
        at = START + timedelta(minutes=self._minutes)
        return Event(uuid4().hex, user, "page", {}, at, at, anonymous_id=anonymous, claims=claims, **more)

    def send(self, user: str = "", anonymous: str | None = None, *claims: Claim, **more: Any) -> str:
        """Record an event; returns the profile it came under."""
        event = self.event(user, anonymous, *claims, **more)
        (taken,) = self.intake.take([event])
        assert taken.outcome is Outcome.RECORDED
        with self.database.read() as connection:
            fact = ledger.get(connection, Kind.EVENT, event.event_id)
        assert fact is not None
        return fact.user_id or ""

    def alias(self, previous: str, user: str) -> None:
        self.send(user, type="alias", previous_id=previous)

    def of(self, user: str) -> tuple[str, set[str]]:
        person = self.identity.people.person(user)
        with self.database.read() as connection:
            graph = repository.graph_of(connection, [user])
        assert set(person.members) == graph.person(user), "the map in memory is what the joins say"
        assert person.canonical == graph.canonical(user)
        return person.canonical, set(person.members)

    def facts(self, label: str) -> list[Fact]:
        with self.database.read() as connection:
            return ledger.read_after(connection, 0, kind=Kind.IDENTITY, labels=[label])

    def undo_last(self) -> None:
        with self.database.read() as connection:
            ((join, _),) = repository.joins_page(connection, before=None, limit=1)
        parted = self.identity.undo(join.id, by="key", why="a mistake", now=START + timedelta(days=1))
        assert parted.apart


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    """One database for all examples; each has users of its own."""
    opened = Database(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def people(database: Database) -> People:
    return People(database)


def test_a_message_that_names_both_joins_the_anonymous_visits(people: People) -> None:
    assert people.send("", "x") == "anonymous:x"
    assert people.send("ann", "x") == "ann"
    assert people.of("anonymous:x") == ("ann", {"ann", "anonymous:x"})
    assert people.send("", "x") == "anonymous:x"
    (joined,) = people.facts("joined")
    assert joined.user_id == "anonymous:x"
    assert '"anonymous"' in joined.body


def test_the_order_of_visit_and_user_does_not_matter(people: People) -> None:
    people.send("ann", "x")
    assert people.send("", "x") == "anonymous:x"
    assert people.of("ann") == ("ann", {"ann", "anonymous:x"})


def test_a_shared_device_follows_its_user_and_joins_nobody(people: People) -> None:
    people.send("", "x")
    people.send("ann", "x")
    people.send("bob", "x")
    assert people.send("", "x") == "anonymous::2:x"
    people.send("ann", "x")
    assert people.send("", "x") == "anonymous:x"
    people.send("bob", "x")
    assert people.send("", "x") == "anonymous::2:x"
    assert people.of("ann") == ("ann", {"ann", "anonymous:x"})
    assert people.of("bob") == ("bob", {"bob", "anonymous::2:x"})


@pytest.mark.parametrize("claim", [EMAIL, PHONE, WECHAT])
def test_an_equal_verified_identity_joins(people: People, claim: Claim) -> None:
    people.send("ann", None, claim)
    people.send("shop-7", None, claim)
    people.send("", "x", claim)
    assert people.of("shop-7") == ("ann", {"ann", "shop-7", "anonymous:x"})


def test_one_spelling_counts(people: People) -> None:
    people.send("ann", None, EMAIL, Claim("phone", "+4930901820", verified=True))
    people.send("bob", None, Claim("email", "ann@example.COM", verified=True))
    people.send("cid", None, Claim("phone", "0049 30 90 18 20", verified=True))
    people.send("dan", None, PHONE)
    assert people.of("ann")[1] == {"ann", "bob", "dan"}, "0049… needs a region to be read"


def test_what_nobody_vouches_for_joins_nobody(people: People) -> None:
    said = Claim("email", "ann@example.com")
    people.send("ann", None, said)
    people.send("bob", None, EMAIL)
    assert people.of("ann") == ("ann", {"ann"})
    people.send("ann", None, EMAIL)
    assert people.of("ann")[1] == {"ann", "bob"}


def test_a_device_only_helps_to_find_candidates(people: People) -> None:
    people.send("ann", None, Claim("device", "d1", verified=True))
    people.send("bob", None, Claim("device", "d1", verified=True))
    assert people.of("ann")[1] == {"ann"}


def test_a_device_that_may_join_still_joins_no_two_users(database: Database) -> None:
    people = People(database, {"device": KindRule(joins=True)})
    device = Claim("device", "d1", verified=True)
    people.send("", "x", device)
    people.send("ann", None, device)
    people.send("bob", None, device)
    assert people.of("ann")[1] == {"ann", "anonymous:x"}
    assert people.of("bob")[1] == {"bob"}


def test_an_anonymous_visit_with_anothers_address_is_the_others(people: People) -> None:
    people.send("ann", "x")
    people.send("bob", None, EMAIL)
    assert people.send("", "x", EMAIL) == "anonymous::2:x"
    assert people.of("bob")[1] == {"bob", "anonymous::2:x"}
    assert people.of("ann")[1] == {"ann", "anonymous:x"}


def test_two_addresses_from_one_kiosk_join_no_two_users(people: People) -> None:
    other = Claim("email", "bob@example.com", verified=True)
    people.send("", "kiosk", EMAIL)
    people.send("", "kiosk", other)
    people.send("ann", None, EMAIL)
    people.send("bob", None, other)
    assert people.of("ann")[1] == {"ann", "anonymous:kiosk"}
    assert people.of("bob")[1] == {"bob"}


def test_a_message_that_names_an_identity_only_has_a_profile_of_its_own(people: People) -> None:
    people.send("ann", None, PHONE)
    first, second = people.send("", None, PHONE), people.send("", None, PHONE)
    assert first == second
    assert first.startswith(CARRIER)
    assert people.of("ann") == ("ann", {"ann", first})
    assert people.send("", None, Claim("phone", PHONE.value)) == first
    assert people.send("", None, Claim("email", "ann@example.com")) != first


def test_beyond_its_limit_an_identity_joins_nobody_in_whatever_order(database: Database) -> None:
    people = People(database, {"email": KindRule(max_users=2)})
    people.send("ann", None, EMAIL)
    people.send("bob", None, EMAIL, PHONE)
    people.send("cid", None, PHONE)
    assert people.of("ann")[1] == {"ann", "bob", "cid"}
    people.send("dan", None, EMAIL)
    people.send("eve", None, EMAIL)
    assert people.of("ann")[1] == {"ann"}
    assert people.of("bob")[1] == {"bob", "cid"}
    assert people.of("dan")[1] == {"dan"}
    assert [fact.label for fact in people.facts("shared")] == ["shared"]


def test_alias_joins_by_command_and_names_the_person(people: People) -> None:
    people.send("ann-1")
    people.send("ann-2")
    people.alias("ann-1", "ann-2")
    people.alias("ann-2", "ann-3")
    assert people.of("ann-1") == ("ann-3", {"ann-1", "ann-2", "ann-3"})


def test_alias_of_an_anonymous_id_is_as_good_as_a_login(people: People) -> None:
    people.send("", "x")
    people.alias("x", "ann")
    people.alias("x", "bob")
    assert people.of("ann") == ("ann", {"ann", "anonymous:x"})
    assert people.of("bob") == ("bob", {"bob", "anonymous::2:x"})


def test_alias_of_somebody_unknown_waits_for_their_events(people: People) -> None:
    people.alias("late", "ann")
    people.send("late")
    assert people.of("late") == ("ann", {"ann", "late"})


@pytest.mark.parametrize(
    ("previous", "user", "why"),
    [("ann", "ann", "an alias of itself"), ("ann", "bob", "'bob' was made the same as 'ann' before")],
)
def test_an_alias_that_can_not_be_is_told_and_changes_nothing(
    people: People, previous: str, user: str, why: str
) -> None:
    people.alias("bob", "ann")
    before = people.of("ann")
    people.alias(previous, user)
    assert people.of("ann") == before
    (told,) = people.facts("not_joined")
    assert why in told.body.replace('\\"', "'")


def test_an_alias_said_twice_is_one_join(people: People) -> None:
    people.alias("bob", "ann")
    people.alias("bob", "ann")
    assert len(people.facts("joined")) == 1
    assert people.facts("not_joined") == []


def test_an_alias_into_somebody_being_erased_joins_nobody(people: People) -> None:
    people.send("ann")
    people.send("bob")
    people.database.write(
        lambda c: c.execute(erasures.insert().values(user_id="ann", pseudonym="erased-1", places="{}"))
    )
    people.alias("bob", "ann")
    assert people.of("bob")[1] == {"bob"}
    assert "is being erased" in people.facts("not_joined")[0].body
    with pytest.raises(UserErased):
        people.identity.merge("bob", "ann", by="key", why="", now=START)


@pytest.mark.parametrize("cause", ["identity", "anonymous", "alias", "merge"])
def test_a_join_taken_back_is_as_if_it_had_not_been_and_not_made_again(people: People, cause: str) -> None:
    def say(again: bool) -> None:
        if cause == "identity":
            people.send("bob", None, Claim("email", "ANN@example.com", verified=True))
            people.send("cid" if again else "ann", None, EMAIL)
        elif cause == "anonymous":
            people.send("ann", "x")
        elif cause == "alias":
            people.alias("bob", "ann")
        elif not again:
            people.identity.merge("bob", "ann", by="key", why="seen at the desk", now=START)

    people.send("ann", None, EMAIL)
    people.send("bob", None, PHONE)
    people.send("", "x", WECHAT)
    before = {user: people.of(user) for user in ("ann", "bob", "anonymous:x")}
    say(False)
    assert {user: people.of(user) for user in before} != before
    people.undo_last()
    assert {user: people.of(user) for user in before} == before
    say(True)
    assert {user: people.of(user) for user in before} == before
    assert len(people.facts("undone")) == 1


def test_an_operator_may_join_again_what_was_taken_back(people: People) -> None:
    people.send("ann", None, EMAIL)
    people.send("bob", None, EMAIL)
    people.undo_last()
    people.identity.merge("bob", "ann", by="key", why="it is her after all", now=START)
    assert people.of("bob") == ("ann", {"ann", "bob"})


def test_undo_says_what_still_holds_the_two_together(people: People) -> None:
    people.send("ann", None, EMAIL, PHONE)
    people.send("bob", None, EMAIL)
    people.send("bob", None, PHONE)
    by_email, by_phone = (fact.id for fact in people.facts("joined"))
    parted = people.identity.undo(by_email, by="key", why="", now=START)
    assert (parted.apart, parted.still_by) == (False, (by_phone,))
    assert people.identity.split("bob", by="key", why="", now=START)[0].apart
    assert people.of("bob")[1] == {"bob"}


def test_merges_that_can_not_be_are_said_precisely(people: People) -> None:
    def merge(profile: str, into: str) -> None:
        people.identity.merge(profile, into, by="key", why="", now=START + timedelta(hours=1))

    people.send("ann", "x")
    people.send("bob")
    with pytest.raises(SameUser):
        merge("ann", "ann")
    with pytest.raises(UnknownUser, match="'nobody'"):
        merge("ann", "nobody")
    with pytest.raises(BelongsToAnother, match="belongs to 'ann'"):
        merge("anonymous:x", "bob")
    merge("bob", "ann")
    with pytest.raises(AlreadyOne):
        merge("bob", "ann")
    with pytest.raises(MergeCycle):
        merge("ann", "bob")
    with pytest.raises(UnknownMerge):
        people.identity.undo("nothing", by="key", why="", now=START)
    people.undo_last()
    with pytest.raises(AlreadyUndone):
        people.identity.undo(people.facts("joined")[-1].id, by="key", why="", now=START)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"user": "anonymous:x"}, "begins with 'anonymous:'"),
        ({"anonymous": ":2:x"}, "must not begin with a colon"),
        ({}, "say who did it"),
        ({"user": "ann", "type": "alias"}, "`previousId` is missing"),
        ({"previous_id": "x", "type": "alias"}, "`userId` is missing: an alias"),
    ],
)
def test_ids_that_can_not_be_are_refused(people: People, wrong: dict[str, Any], said: str) -> None:
    good = people.event("ann")
    with pytest.raises(EventRefused, match=said):
        people.intake.take([good, people.event(**wrong)])
    with people.database.read() as connection:
        assert ledger.counts(connection) == {}


def test_a_value_that_is_none_names_nobody(people: People) -> None:
    with pytest.raises(EventRefused, match="whole e-mail address"):
        people.send("", None, Claim("email", "undefined", verified=True), Claim("phone", "12", verified=True))


def test_another_process_follows(people: People) -> None:
    other = IdentityService(people.database)
    people.send("ann", "x")
    other.refresh()
    assert other.people.canonical("anonymous:x") == "ann"
    people.send("bob", "x")
    people.undo_last()
    other.refresh()
    assert other.people.members("bob") == ("bob",)
    assert other.people.members("ann") == people.identity.people.members("ann")


def test_who_was_erased_is_nobody_to_those_who_follow(people: People) -> None:
    other = IdentityService(people.database)
    people.send("ann", "x", EMAIL)
    people.send("bob", "y")
    other.refresh()
    people.database.write(lambda c: repository.forget(c, ["bob", "anonymous:y"]))
    people.send("cid", "z")
    for service in (people.identity, other):
        service.refresh()
        assert service.people.members("bob") == ("bob",)
        assert service.people.canonical("anonymous:x") == "ann"
        assert service.people.canonical("anonymous:z") == "cid"
    people.send("", "y")
    assert people.of("anonymous:y")[0] == "anonymous:y"
    people.send("dan", "y")
    assert people.of("dan")[1] == {"dan", "anonymous:y"}


def test_what_was_rolled_back_is_not_remembered(people: People) -> None:
    event = people.event("ann", "x", EMAIL)

    def work(connection: Any) -> None:
        people.identity.resolve(connection, [event])
        raise RuntimeError("rolled back")

    with pytest.raises(RuntimeError):
        people.database.write(work)
    people.identity.committed()
    assert people.identity.people.members("ann") == ("ann",)
    people.send("ann", "x", EMAIL)
    assert people.of("ann")[1] == {"ann", "anonymous:x"}


def test_joins_of_many_at_once_neither_deadlock_nor_split(people: People) -> None:
    """A ring of users, each with the addresses of two, recorded by many threads: one person in the end."""
    size, threads = 24, 8
    events = []
    for index in range(size):
        mine, next_ = (
            Claim("email", f"{one % size}@example.com", verified=True) for one in (index, index + 1)
        )
        events += [
            people.event(f"user-{index:02}", f"device-{index}", mine),
            people.event(f"user-{index:02}", None, next_),
        ]
        events.append(people.event("", f"device-{index}"))
    shares = [events[start::threads] for start in range(threads)]
    others = [IdentityService(people.database) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        for taken in pool.map(
            lambda pair: Intake(people.database, identities=pair[0]).take(pair[1]),
            zip(others, shares, strict=True),
        ):
            assert {one.outcome for one in taken} == {Outcome.RECORDED}
    people.identity.refresh()
    members = people.of("user-00")[1]
    assert {one for one in members if not one.startswith("anonymous:")} == {
        f"user-{i:02}" for i in range(size)
    }
    assert {f"anonymous:device-{index}" for index in range(size)} <= members


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(8)))
def test_the_order_of_users_addresses_does_not_matter(sqlite_database: Database, order: list[int]) -> None:
    """Two users of one address and phone each, one through both, one alone, and an address too many have."""
    mark = uuid4().hex
    people = People(sqlite_database, {"email": KindRule(max_users=3)})

    def claim(name: str) -> Claim:
        return Claim("email", f"{name}{mark}@example.com", verified=True)

    said = ["a:1", "b:1", "b:2", "c:2", "d:info", "e:info", "a:info", "f:info"]
    for one in (said[index] for index in order):
        user, _, name = one.partition(":")
        people.send(user + mark, None, claim(name))
    assert {one[0] for one in people.of(f"a{mark}")[1]} == {"a", "b", "c"}
    assert {one[0] for user in "def" for one in people.of(user + mark)[1]} == {"d", "e", "f"}
    assert people.of(f"d{mark}")[1] == {f"d{mark}"}


def test_a_kind_of_identities_is_known_from_the_first_message_with_it_or_from_the_settings(
    database: Database,
) -> None:
    people = People(database, {"memberCard": KindRule()})
    with pytest.raises(UnknownKind, match="no identity of the kind 'loyaltyId' was ever recorded"):
        people.identity.lookup.identity("loyaltyId", "7")
    people.send("ann", None, Claim("loyaltyId", "7"))
    for kind in ("loyaltyId", "loyalty_id", "member_card", "phone"):
        people.identity.lookup.identity(kind, "+493090182000")
    with pytest.raises(UnknownKind, match=r"did you mean 'loyalty_id'.* loyalty_id, member_card, phone"):
        people.identity.lookup.identity("loyalti_id", "7")
