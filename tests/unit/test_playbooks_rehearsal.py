"""Rehearsals: users grouped as matching sees them, counted exactly, expected from a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.documents import Cap, CoolDown, Group, MoneyBudget, Quota
from playbooks.constraints.rulebook import Rulebook
from playbooks.controls.models import Control, Controls, Mode, Scope
from playbooks.flow import Flow
from playbooks.goal_documents import Goal
from playbooks.guards import LoyalGuard
from playbooks.library import Library, PublishedPlaybook, expand
from playbooks.library.trials import Trial
from playbooks.matching import Request, Snapshot, decide
from playbooks.models import Playbook, VariantSet
from playbooks.money import Money
from playbooks.offers import Offer
from playbooks.rehearsal.asking import Answer, Asker, Member, rivals
from playbooks.rehearsal.crowd import Accounts, Crowd, audiences_of
from playbooks.rehearsal.drawing import Draws, budgets_of
from playbooks.rehearsal.expecting import Expected, expect
from playbooks.rehearsal.groups import Look, grouped
from playbooks.rehearsal.reach import reach_of
from playbooks.rehearsal.uses import CountedUses
from storage.times import to_micros
from tests.unit.test_playbooks_matching import Favourite

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
OFFERS = {
    name: Offer.model_validate({"id": name, "name": name, "attributes": {"group": group}, **given})
    for name, group, given in (
        ("apple", "all", {"kind": "fixed_amount", "value": "1.00 EUR"}),
        ("pear", "all", {}),
        ("gem", "dear", {"kind": "fixed_amount", "value": "9.00 EUR"}),
    )
}
FLOW = Flow.model_validate({"start": "over", "states": {"over": {"kind": "end", "result": "done"}}})
AUDIENCES = ("gold", "silver")
# Where it is Monday morning, and where it is Sunday night: their days and weeks began at other moments.
ZONES = ("Europe/Berlin", "America/Los_Angeles")


def playbook(
    name: str, trial: Trial | None = None, without: Trial | None = None, group: str = "all", **given: Any
) -> PublishedPlaybook:
    document = Playbook(
        id=name,
        name=name,
        placement="home",
        goal=Goal(event="order_completed", window=timedelta(days=14)),
        variants=[VariantSet(group=group, channels=["mailbox", "push"], content="notice")],
        flow=FLOW,
        **given,
    )
    return PublishedPlaybook(document, 1, expand(document, OFFERS), trial=trial, without=without)


def cap(name: str, limit: int, days: int, **given: Any) -> Cap:
    return Cap(id=name, limit=limit, window=days * DAY, **given)


TRIAL = Trial("salt", frozenset({"u3"}), "silver", 0.3, alone=False)
RULES = Rulebook(
    (
        Cap(id="a_day", limit=2, window="day", each="channel"),
        Cap(id="of_all", limit=3, window=7 * DAY, per="account"),
        CoolDown(kind="cool_down", id="rest", after="playbook", lasts=2 * DAY),
        Group(kind="group", id="one", playbooks=["everyone", "capped", "late"], window=None),
    )
)
LIFTS = Quota(kind="quota", id="some", period="day", minimum=5)
LIBRARY = Library(
    (
        playbook("capped", constraints=[cap("week", 1, 7), cap("month", 3, 30)], audience="gold"),
        playbook("everyone", constraints=[cap("day", 2, 1)], purpose="service", holdout=0.3),
        playbook("late", priority=-1),
        playbook("dear", group="dear", audience="silver"),
        playbook("quota", priority=-2, audience="silver", constraints=[LIFTS]),
        playbook("tried", trial=replace(TRIAL, salt="other", alone=True), priority=2),
        playbook("twice", without=TRIAL, audience="silver"),
        replace(playbook("twice", trial=TRIAL, audience="silver"), version=2),
    ),
    rules=RULES,
)
STOPPED = Controls([Control(Scope.USER, "u1", Mode.DRAIN, "ann", "", NOW)])
GUARD = LoyalGuard(loyal="gold", newer="silver")
SNAPSHOT = Snapshot(LIBRARY, Favourite(), "seed", 0.2, STOPPED, [GUARD])
COUNTERS = (
    "cap.capped.week",
    "cap.capped.month",
    "cap.everyone.day",
    "cap.a_day@mailbox",
    "cap.a_day@push",
    "cool_down.rest@everyone",
    "cool_down.rest@tried",
)
OF_ACCOUNTS = ("cap.of_all",)


class Users(NamedTuple):
    """A crowd, and each of its users as matching is asked about one."""

    crowd: Crowd
    members: list[Member]


def counted(used: Sequence[tuple[int, str, float]]) -> CountedUses:
    """Uses are (place, counter, days ago)."""
    names = sorted({counter for _, counter, _ in used})
    columns = np.array(
        [(place, names.index(counter), to_micros(NOW - ago * DAY)) for place, counter, ago in used], np.int64
    ).reshape(-1, 3)
    return CountedUses(columns[:, 0], columns[:, 1], columns[:, 2], names)


def users_of(
    inside: dict[str, list[bool]],
    used: list[tuple[int, str, float]],
    accounts: list[int],
    used_by_accounts: list[tuple[int, str, float]],
    lives: list[int],
) -> Users:
    size = len(lives)
    crowd = Crowd(
        size,
        lambda places: [f"u{place}" for place in places],
        {name: np.array(mask, dtype=np.bool_) for name, mask in inside.items()},
        counted(used),
        Accounts(np.array(accounts, np.int64), 2, counted(used_by_accounts)),
        [ZoneInfo(name) for name in ZONES],
        np.array(lives, np.int64),
        {},
    )
    return Users(crowd, [_member(crowd, place, used, used_by_accounts) for place in range(size)])


def _member(
    crowd: Crowd, place: int, used: list[tuple[int, str, float]], by_accounts: list[tuple[int, str, float]]
) -> Member:
    assert crowd.accounts is not None
    account = int(crowd.accounts.of[place])
    uses: dict[str, list[int]] = {}
    mine = [one[1:] for one in used if one[0] == place]
    for counter, ago in mine + [one[1:] for one in by_accounts if one[0] == account]:
        uses.setdefault(counter, []).append(to_micros(NOW - ago * DAY))
    return Member(
        f"u{place}",
        {name for name, mask in crowd.inside.items() if mask[place]},
        {"likes": "pear"},
        Circumstances(
            uses=uses, zone=ZONES[crowd.lives[place]], account=None if account < 0 else f"a{account}"
        ),
    )


def told_alone(snapshot: Snapshot, member: Member, now: datetime) -> Answer:
    """What `decide` says of a user by the policy in charge, asked about nobody else."""
    decision = decide(
        snapshot,
        Request("", member.user_id, "home", "key"),
        features=member.features,
        audiences=member.audiences,
        circumstances=member.circumstances,
        now=now,
    )
    return Answer(frozenset(decision.arms[:-1]), decision.suppressed)


AGO = st.sampled_from([0.1, 0.3, 0.5, 1, 2, 7, 8, 30])
crowds = st.integers(1, 24).flatmap(
    lambda size: st.builds(
        users_of,
        st.fixed_dictionaries(
            {name: st.lists(st.booleans(), min_size=size, max_size=size) for name in AUDIENCES}
        ),
        st.lists(st.tuples(st.integers(0, size - 1), st.sampled_from(COUNTERS), AGO), max_size=40),
        st.lists(st.integers(-1, 1), min_size=size, max_size=size),
        st.lists(st.tuples(st.integers(0, 1), st.sampled_from(OF_ACCOUNTS), AGO), max_size=8),
        st.lists(st.integers(0, 1), min_size=size, max_size=size),
    )
)


@settings(max_examples=40, deadline=None)
@given(crowds)
def test_what_is_said_of_a_group_holds_for_each_of_its_users(users: Users) -> None:
    crowd, members = users
    asker = Asker(SNAPSHOT, "home", NOW)
    groups = crowd.groups(SNAPSHOT, NOW)
    of_groups = [asker.ask(members[place]) for place in groups.first]
    assert [of_groups[group] for group in groups.of] == [
        told_alone(SNAPSHOT, member, NOW) for member in members
    ]
    assert groups.sizes.sum() == crowd.size


@settings(max_examples=25, deadline=None)
@given(crowds)
def test_everybody_in_the_audience_is_accounted_for(users: Users) -> None:
    """By the rivals alone, and as `decide` says it of each user by the whole library."""
    crowd, members = users
    said = [told_alone(SNAPSHOT, member, NOW) for member in members]
    for one in LIBRARY.playbooks:
        before = rivals(one, SNAPSHOT)
        groups = crowd.groups(before, NOW)
        of_groups = [members[place] for place in groups.first]
        asker = Asker(before, "home", NOW)
        audience = one.document.audience
        mask = crowd.inside[audience] if audience else np.ones(crowd.size, np.bool_)
        reach = reach_of(one, mask, groups, of_groups, [asker.ask(member) for member in of_groups])
        assert reach.left + reach.elsewhere + sum(reach.stopped.values()) == reach.audience == mask.sum()
        assert reach.is_left.sum() == reach.left
        fates = Counter(
            _fate(one, member, answer)
            for member, answer, is_inside in zip(members, said, mask, strict=True)
            if is_inside
        )
        assert Counter({"left": reach.left, "elsewhere": reach.elsewhere}) - fates == Counter()
        assert sum(reach.stopped.values()) == fates["stopped"]
        for arm in one.arms:
            competes = [
                arm.id in answer.arms and _fate(one, member, answer) == "left"
                for member, answer in zip(members, said, strict=True)
            ]
            assert reach.arms[arm.id] == np.sum(np.array(competes) & mask)


def _fate(one: PublishedPlaybook, member: Member, answer: Answer) -> str:
    """What becomes of a user, told from the answer about that user alone."""
    alone = one.trial is not None and one.trial.alone
    if not alone and not one.serves(member.user_id, member.audiences):
        return "elsewhere"
    return "left" if any(arm.startswith(f"{one.id}/") for arm in answer.arms) else "stopped"


def test_groups_are_as_few_as_what_is_looked_at() -> None:
    size = 1000
    crowd, _ = users_of(
        {"gold": [place % 2 == 0 for place in range(size)], "silver": [False] * size},
        [(place, "cap.capped.week", 1) for place in range(0, size, 4)],
        [-1] * size,
        [],
        [0] * size,
    )
    served = Library(LIBRARY.playbooks[:1])
    what = Snapshot(served, Favourite(), "seed")
    assert audiences_of(what) == {"gold"}
    groups = crowd.groups(what, NOW)
    assert sorted(groups.sizes.tolist()) == [250, 250, 500]


def test_what_can_stop_a_playbook() -> None:
    """Itself, what goes before it, and what shares a group with any of these; all else is left out."""
    capped = LIBRARY.playbooks[0]
    assert {one.id for one in rivals(capped, SNAPSHOT).library.playbooks} == {
        "capped",
        "everyone",
        "late",
        "quota",
        "tried",
    }
    tried = next(one for one in LIBRARY.playbooks if one.id == "tried")
    assert {one.id for one in rivals(tried, SNAPSHOT).library.playbooks} == {"quota", "tried"}


def test_a_budget_runs_out_on_the_way() -> None:
    """100 users at 1.00 each, half of whom draw it; of 60.00 a month 40.00 are taken."""
    budget = MoneyBudget(
        kind="budget", id="month", amount=Money(6_000, "EUR"), period="month", counts="liability"
    )
    one = playbook("plan", constraints=[budget])
    own = np.full((10, len(one.arms)), 0.25)
    rest = np.zeros(10)
    draws = Draws(own, rest, rest, rest, 100)
    terms = Rulebook().terms(one)
    (use,) = budgets_of(one, terms, {"budget.plan.month@2026-03": 4_000}, draws, NOW)
    # Two of four arms are worth 1.00.
    assert (use.limit, use.taken, use.expected.expected) == (6_000, 4_000, 5_000.0)
    assert use.lost == pytest.approx(50 * 0.6)
    (enough,) = budgets_of(one, terms, {}, draws, NOW)
    assert enough.lost == 0


def test_nobody_is_no_group() -> None:
    assert grouped(0, [Look(np.empty(0, np.int64), 3)]).sizes.tolist() == []


def test_more_looks_than_a_key_has_room_for() -> None:
    rng = np.random.default_rng(1)
    columns = [rng.integers(0, 1000, 500) for _ in range(20)]
    columns = [np.concatenate([column, column]) for column in columns]
    assert grouped(1000, [Look(column, 1000) for column in columns]).sizes.tolist() == [2] * 500


def test_the_interval_holds_what_is_drawn_95_times_of_100() -> None:
    rng = np.random.default_rng(7)
    users, sample, rounds, held = 4000, 400, 300, 0
    for _ in range(rounds):
        chances = rng.beta(0.6, 3, users)
        drawn = (rng.random(users) < chances).sum()
        seen = rng.choice(chances, sample, replace=False)
        found = expect(seen, seen * (1 - seen), users)
        held += found.low <= drawn <= found.high
    assert 0.90 <= held / rounds <= 0.99


@pytest.mark.parametrize(
    ("sampled", "users", "expected"),
    [([], 0, Expected(0, 0, 0)), ([], 10, Expected(0, 0, 10)), ([1.0], 1, Expected(1, 1, 1))],
)
def test_what_is_expected_of_few(sampled: list[float], users: int, expected: Expected) -> None:
    means = np.array(sampled)
    assert expect(means, means * (1 - means), users) == expected
