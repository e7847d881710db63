"""Who is one person: what holds whatever is joined, taken back, and in whatever order."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from audiences.identity.graph import Graph
from audiences.identity.models import (
    ANONYMOUS_ID,
    CARRIER,
    Cause,
    Identity,
    Join,
    is_device_profile,
    is_known,
)
from tests.conftest import START

USERS = ["ann", "bob", "cid", "dan"]
DEVICES = ["anonymous:x", "anonymous:y", "anonymous::2:x"]
PROFILES = [*USERS, *DEVICES, f"{CARRIER}1"]
FIRST_SEEN = {profile: START + timedelta(minutes=index) for index, profile in enumerate(PROFILES)}

pairs = st.tuples(st.sampled_from(PROFILES), st.sampled_from(PROFILES)).filter(
    lambda ends: ends[0] != ends[1]
)
ends_of_all = st.lists(pairs, max_size=12)


def joins_of(ends: list[tuple[str, str]]) -> list[Join]:
    made = []
    for index, (profile, into) in enumerate(ends):
        weak = is_device_profile(profile) or is_device_profile(into)
        evidence = Identity(ANONYMOUS_ID, "x") if weak else Identity("email", f"{index}@example.com")
        cause = Cause.ANONYMOUS if weak else Cause.IDENTITY
        made.append(Join(f"{index:03}", profile, into, cause, START + timedelta(seconds=index), evidence))
    return made


def persons(graph: Graph) -> dict[str, tuple[str, frozenset[str]]]:
    return {profile: (graph.canonical(profile), graph.person(profile)) for profile in PROFILES}


@given(ends_of_all)
def test_persons_are_a_partition_and_go_by_one_of_them(ends: list[tuple[str, str]]) -> None:
    graph = Graph(FIRST_SEEN, joins_of(ends))
    for profile in PROFILES:
        members = graph.person(profile)
        assert profile in members
        assert graph.canonical(profile) in members
        for other in members:
            assert graph.person(other) == members
            assert graph.canonical(other) == graph.canonical(profile)
            assert graph.path(profile, other) or profile == other
        if any(map(is_known, members)):
            assert is_known(graph.canonical(profile))


@given(ends_of_all)
def test_two_users_are_never_one_person_through_a_device(ends: list[tuple[str, str]]) -> None:
    joins = joins_of(ends)
    with_devices = Graph(FIRST_SEEN, joins)
    without = Graph(FIRST_SEEN, [join for join in joins if not join.is_weak])
    for one in USERS:
        assert with_devices.users(one) == without.users(one)


@given(ends_of_all, st.randoms(use_true_random=False))
def test_without_devices_the_order_does_not_matter(ends: list[tuple[str, str]], random: object) -> None:
    joins = [join for join in joins_of(ends) if not join.is_weak]
    shuffled = list(joins)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one_by_one = Graph(FIRST_SEEN)
    for join in shuffled:
        one_by_one.add(join)
    assert persons(one_by_one) == persons(Graph(FIRST_SEEN, joins))


@settings(max_examples=300)
@given(ends_of_all)
def test_joined_one_by_one_or_at_once_is_the_same(ends: list[tuple[str, str]]) -> None:
    one_by_one = Graph(FIRST_SEEN)
    for join in joins_of(ends):
        one_by_one.add(join)
    assert persons(one_by_one) == persons(Graph(FIRST_SEEN, one_by_one.joins))


@settings(max_examples=300)
@given(ends_of_all, pairs)
def test_taking_a_join_back_puts_everything_back(ends: list[tuple[str, str]], more: tuple[str, str]) -> None:
    graph = Graph(FIRST_SEEN, joins_of(ends))
    before = persons(graph)
    (join,) = joins_of([more])
    graph.add(Join("999", *more, join.cause, START + timedelta(hours=1), join.evidence))
    graph.remove("999")
    assert persons(graph) == before


def test_a_command_says_by_which_id_a_person_goes() -> None:
    graph = Graph(FIRST_SEEN)
    commands = [("bob", "cid"), ("ann", "bob"), ("cid", "dan")]
    for index, (profile, into) in enumerate(commands):
        graph.add(Join(str(index), profile, into, Cause.ALIAS, START + timedelta(seconds=index)))
    assert {graph.canonical(one) for one in USERS} == {"dan"}
    assert graph.leads("ann", "dan")
    assert not graph.leads("dan", "ann")
    graph.remove("2")
    assert {graph.canonical(one) for one in USERS[:3]} == {"cid"}


def test_the_user_known_first_gives_the_id() -> None:
    graph = Graph(FIRST_SEEN, joins_of([("cid", "bob"), ("anonymous:x", "cid")]))
    assert graph.canonical("anonymous:x") == "bob"
