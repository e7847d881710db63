"""The calendar: what is drawn is counted, caps and budgets run out, plans that never win are named."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from audiences.triggers.definitions import OnDate, OnSchedule, Trigger, Triggers, TriggerSpec, ZonesSpec
from decision.foresight.heat_map import draw
from decision.foresight.occasions import Occasions, Sampled, Span
from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.documents import Cap, MoneyBudget
from playbooks.library import Library, PublishedPlaybook
from playbooks.matching import Snapshot
from playbooks.money import Money
from playbooks.policy import FloatArray, Stakes
from playbooks.rehearsal import calendar
from playbooks.rehearsal.asking import Member
from playbooks.rehearsal.calendar import Calendar, Cell
from playbooks.rehearsal.simulation import Occasion, Played, Sending, Simulation
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind, NewFact
from tests.unit.test_playbooks_matching import Favourite
from tests.unit.test_playbooks_rehearsal import playbook

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
USERS, WEIGHT = 20, 5.0


class First(Favourite):
    """A policy that always draws the first arm; with none, nothing."""

    def explore(self, stakes: Stakes) -> FloatArray:
        vector: FloatArray = np.eye(len(stakes.values))[0]
        return vector


def played(*playbooks: PublishedPlaybook, days: int = 4) -> Played:
    """Everybody is decided about once a day, at noon."""
    members = [Member(f"u{number}", set(), {"likes": "gem"}, Circumstances()) for number in range(USERS)]
    occasions = [
        Occasion(NOW + day * DAY + timedelta(hours=3), user, "home", "noon")
        for day in range(days)
        for user in range(USERS)
    ]
    snapshot = Snapshot(Library(playbooks), First(), "seed")
    return Simulation(snapshot, {"home": members}, WEIGHT, "seed").play(occasions)


def shown_at_once(found: Played) -> list[Sending]:
    return [Sending(one.at, one.user, one.arm.channel) for one in found.contacts]


def test_a_cap_spreads_contacts_and_is_a_breach() -> None:
    capped = playbook("capped", constraints=[Cap(id="two", limit=2, window=7 * DAY)])
    found = played(capped)
    sent = shown_at_once(found)
    users = calendar.contacts_per_user(sent, USERS, WEIGHT)
    assert [(one.contacts, one.users) for one in users] == [(2, USERS * WEIGHT)]
    cells = calendar.volume(sent, WEIGHT)
    noon = NOW + timedelta(hours=3)
    assert [(one.hour, one.expected) for one in cells] == [(noon, 100.0), (noon + DAY, 100.0)]
    (channel,) = calendar.channels(sent, cells, USERS, 100)
    assert (channel.contacts.expected, channel.busiest, channel.at_most) == (200.0, noon, 100.0)
    (breach,) = calendar.breaches(found, WEIGHT)
    assert (breach.kind, breach.rule, breach.stopped) == ("cap", "cap.capped.two", 200.0)
    assert breach.first == noon + 2 * DAY


def test_a_budget_runs_out_for_all_whom_a_user_stands_for() -> None:
    """1.00 for each of 100 users a day; 250.00 a month is spent half-way through the third day.

    What costs nothing goes on.
    """
    budget = MoneyBudget(
        kind="budget", id="month", amount=Money(25_000, "EUR"), period="month", counts="liability"
    )
    found = played(playbook("plan", constraints=[budget]))
    assert sum(bool(one.arm.currency) for one in found.contacts) == 50
    spent = calendar.spend(found.contacts, WEIGHT)
    assert [(one.day, one.liability) for one in spent] == [
        ("2026-03-02", 10_000.0),
        ("2026-03-03", 10_000.0),
        ("2026-03-04", 5_000.0),
    ]
    breach = next(one for one in calendar.breaches(found, WEIGHT) if one.kind == "budget")
    assert (breach.rule, breach.first) == ("budget.plan.month", NOW + 2 * DAY + timedelta(hours=3))


def test_a_channel_that_takes_less_than_is_due() -> None:
    """Ninety an hour from eleven at night until one in the morning, by the clock of Berlin."""
    late = NOW.replace(hour=22)
    cells = [Cell("sms", late + timedelta(hours=n), 90.0) for n in range(2)] + [Cell("mail", late, 900.0)]
    daily = {"sms": (100, ZoneInfo("UTC"))}
    rate, quota = calendar.crowded(cells, {"sms": 60.0, "push": 1.0}, daily)
    assert (rate.kind, rate.rule, rate.stopped, rate.first) == ("rate", "rate.sms", 60.0, late)
    assert (quota.kind, quota.rule, quota.stopped, quota.first) == ("daily", "quota.sms", 80.0, late)
    assert "takes 60 messages an hour" in rate.said
    # By the clock of Berlin these are two days.
    in_berlin = {"sms": (100, ZoneInfo("Europe/Berlin"))}
    assert list(calendar.crowded(cells, {"sms": 90.0}, in_berlin)) == []


def test_a_plan_that_never_wins_starves() -> None:
    plans = [playbook("weak", priority=-1), playbook("strong"), playbook("elsewhere", audience="gold")]
    found = played(*plans)
    starving = {one.playbook: one for one in calendar.starving(Library(tuple(plans)), found, WEIGHT)}
    assert set(starving) == {"weak", "elsewhere"}
    assert (starving["weak"].considered, starving["weak"].competed) == (400.0, 0.0)
    assert "priority stops it most often" in starving["weak"].said
    assert "nobody is in its audience" in starving["elsewhere"].said


@pytest.fixture
def occasions(sqlite_url: str) -> Occasions:
    """Two schedules and a birthday; ten users of whom half live in Berlin; 28 firings on 14 days at eight."""
    database = Database(sqlite_url)
    facts = [
        NewFact(Kind.TRIGGER, f"f{day}:{number}", "cart", "u1", NOW - day * DAY - timedelta(hours=1), {})
        for day in range(14)
        for number in range(20)
    ]
    database.write(lambda connection: ledger.append(connection, facts, NOW))
    specs = [
        TriggerSpec(id="mondays", name="m", when=OnSchedule(cron="0 9 * * 1", zone="user"), audience="all"),
        TriggerSpec(id="birthday", name="b", when=OnDate(date="born", at=time(8))),
        TriggerSpec(id="cart", name="c", when={"event": "cart_left"}),
    ]
    values = [
        {"zone": "Europe/Berlin" if number % 2 else None, "born": "1990-03-05" if number < 3 else None}
        for number in range(10)
    ]
    sampled = Sampled([{"all"} for _ in values], values)
    triggers = Triggers(ZonesSpec(feature="zone", fallback="UTC"), tuple(Trigger(one) for one in specs))
    return Occasions(database, triggers, sampled, 2.0, seed=1)


def test_occasions_come_from_schedules_dates_and_rates(occasions: Occasions) -> None:
    library = Library(tuple(playbook(f"on_{name}", trigger=name) for name in ("mondays", "birthday", "cart")))
    found, rests = occasions.of(library, Span(NOW, NOW + 14 * DAY))
    mondays = {one.at for one in found if one.why == "mondays"}
    # In Berlin nine o'clock is at eight UTC: the first Monday's is over.
    assert mondays == {
        NOW + 7 * DAY,
        NOW + 14 * DAY,
        NOW + 7 * DAY - timedelta(hours=1),
        NOW + 14 * DAY - timedelta(hours=1),
    }
    born = [(one.user, one.at) for one in found if one.why == "birthday"]
    day = datetime(2026, 3, 5, 8, tzinfo=UTC)
    assert born == [(1, day - timedelta(hours=1)), (0, day), (2, day)]
    carts = [one for one in found if one.why == "cart"]
    # Twenty a day for all users are ten for those sampled, all of them at eight.
    assert 100 <= len(carts) <= 180
    assert {one.at.hour for one in carts} == {8}
    said = {one.playbook: one for one in rests}
    assert said["on_mondays"].occasions == 40.0
    assert "fired 280 times" in said["on_cart"].said


def test_what_nobody_begins_has_no_occasions(occasions: Occasions) -> None:
    plans = playbook("lost", trigger="gone"), playbook("asked")
    found, rests = occasions.of(Library(plans), Span(NOW, NOW + DAY))
    assert found == []
    assert "there is no trigger gone" in rests[0].said
    assert rests[1].said.startswith("0 decisions at home")


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    sent = shown_at_once(played(playbook("plan")))
    cells = calendar.volume(sent, WEIGHT)
    whole = Calendar(
        begins=NOW,
        ends=NOW + 4 * DAY,
        users=100,
        sampled=USERS,
        seed="s",
        rests_on=[],
        channels=calendar.channels(sent, cells, USERS, 100),
        volume=cells,
        contacts=[],
        spend=[],
        breaches=[],
        starving=[],
    )
    draw(whole, tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_trigger_begins_chooses_among_those_that_name_it() -> None:
    plans = playbook("strong", priority=5), playbook("on_cart", trigger="cart")
    members = [Member("u1", set(), {"likes": "gem"}, Circumstances())]
    simulation = Simulation(Snapshot(Library(plans), First(), "seed"), {"home": members}, WEIGHT, "seed")
    found = simulation.play([Occasion(NOW, 0, "home", "cart", "cart"), Occasion(NOW, 0, "home", "asked")])
    assert [one.arm.playbook for one in found.contacts] == ["on_cart", "strong"]
