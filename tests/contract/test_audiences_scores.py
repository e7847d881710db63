"""Scores follow the ledger: every event counts once, grades are facts, answers are kept beside them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audiences.errors import NotHandedOver, UnknownScore
from audiences.events import Event
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from audiences.rules import Schema, Type
from audiences.scores.definitions import read_scores
from audiences.scores.facts import Answer, GradeChange
from audiences.scores.report import answers_of
from audiences.scores.service import Scores
from audiences.scores.tables import beginnings
from feature_repo.specs import load_specs
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind

LEAD = """
scores:
  - id: lead
    name: Lead
    half_life: P30D
    points:
      - {id: opened, event: email_opened, points: 10}
      - {id: pricing, event: page_viewed, points: 20, where: "event.path = '/pricing'",
         properties: {path: text}}
      - {id: paper, event: paper_downloaded, points: 40}
      - {id: unsubscribed, event: unsubscribed, points: -30}
      - {id: large, rule: "employees >= 500", points: 15}
    grades:
      - {grade: MQL, at: 60}
      - {grade: SQL, at: 100, at_once: [{event: trial_requested}]}
    hand_over: SQL
"""


LATE = """
  - id: late
    name: Late
    points:
      - {id: paper, event: paper_downloaded, points: 10}
      - {id: large, rule: "employees >= 500", points: 20}
    grades: [{grade: A, at: 20}, {grade: B, at: 100, at_once: [{event: trial_requested}]}]
    hand_over: B
"""


class Sales:
    """A database with one score, and what happens in it."""

    def __init__(self, database: Database, clock: SimulatedClock, folder: Path) -> None:
        (folder / "scores.yaml").write_text(LEAD)
        self._definitions = read_scores(
            folder / "scores.yaml", Schema({"employees": Type.NUMBER}), load_specs().events
        )
        self.database, self.clock, self.identity = database, clock, IdentityService(database)
        self.scores = Scores(database, clock, self._definitions, self.identity.people)
        self.scores.begin()
        self._intake = Intake(database, identities=self.identity)
        self._sent = 0

    def happens(self, *names: str, user: str = "ann", past: bool = False, **properties: Any) -> None:
        for name in names:
            self._sent += 1
            now = self.clock.now()
            self._intake.take([Event(f"e{self._sent}", user, name, properties, now, now)], past=past)

    def grade(self, user: str = "ann") -> str | None:
        self.scores.run()
        return self.scores.grades_by_user().get(user, {}).get("lead")

    def changes(self) -> list[GradeChange]:
        with self.database.read() as connection:
            facts = ledger.read_after(connection, 0, kind=Kind.SCORE)
        return [one.decode(GradeChange) for one in facts if not one.label.endswith(("accepted", "rejected"))]


@pytest.fixture
def sales(database: Database, clock: SimulatedClock, tmp_path: Path) -> Sales:
    return Sales(database, clock, tmp_path)


def test_points_make_grades_and_grades_fade(sales: Sales) -> None:
    sales.happens("email_opened", "paper_downloaded")
    assert sales.grade() is None
    sales.happens("page_viewed", path="/pricing")
    assert sales.grade() == "MQL"
    sales.happens("page_viewed", path="/about")
    assert sales.scores.run() == 0
    sales.clock.move_to(sales.clock.now() + timedelta(days=8))
    assert sales.grade() is None
    assert [(one.before, one.after) for one in sales.changes()] == [(None, "MQL"), ("MQL", None)]
    assert sales.changes()[0].lines == {"opened": 10, "paper": 40, "pricing": 20}


def test_an_event_counts_once_however_often_jobs_run(sales: Sales) -> None:
    sales.happens("email_opened")
    for _ in range(3):
        sales.scores.run()
    again = Scores(sales.database, sales.clock, sales._definitions)
    again.run()
    assert sales.scores.explain("ann", "lead")["value"] == 10


def test_every_point_is_explained(sales: Sales) -> None:
    sales.happens("email_opened")
    sales.clock.move_to(sales.clock.now() + timedelta(days=30))
    sales.happens("unsubscribed")
    sales.scores.run()
    sales.scores.hold("lead", "large", {"ann"})
    told = sales.scores.explain("ann", "lead")
    assert told["value"] == 5 - 30 + 15
    assert told["lines"] == {"opened": 5, "unsubscribed": -30, "large": 15}
    assert [(one["line"], one["given"], one["now"]) for one in told["points"]] == [
        ("unsubscribed", -30, -30),
        ("opened", 10, 5),
    ]


def test_before_the_hand_over_the_score_decides_and_after_it_sales(sales: Sales) -> None:
    sales.happens("trial_requested")
    assert sales.grade() == "SQL"
    assert sales.changes()[-1].handed_over
    sales.happens("unsubscribed", "unsubscribed")
    assert sales.grade() == "SQL"
    sales.scores.answer("ann", "lead", accepted=False, by="sam", reason="a student")
    assert sales.grade() is None
    assert sales.scores.explain("ann", "lead")["status"] == "rejected"
    with pytest.raises(NotHandedOver, match="rejected in the score 'lead'"):
        sales.scores.answer("ann", "lead", accepted=True, by="sam")
    # Only what happens after the answer counts.
    sales.clock.move_to(sales.clock.now() + timedelta(seconds=1))
    sales.happens("paper_downloaded", "email_opened", "email_opened")
    assert sales.grade() == "MQL"
    with sales.database.read() as connection:
        assert answers_of(connection, "lead") == [Answer("lead", False, "sam", "a student", 0, {})]


def test_an_answer_is_kept_beside_the_score_that_caused_it(sales: Sales) -> None:
    sales.happens("paper_downloaded", "paper_downloaded", "page_viewed", path="/pricing")
    sales.scores.run()
    sales.scores.answer("ann", "lead", accepted=True, by="sam")
    with sales.database.read() as connection:
        (answer,) = answers_of(connection, "lead")
    assert (answer.accepted, answer.value, answer.lines) == (True, 100, {"paper": 80, "pricing": 20})


def test_who_is_not_with_sales_has_no_answer(sales: Sales) -> None:
    with pytest.raises(UnknownScore, match="nothing was ever counted"):
        sales.scores.answer("ann", "lead", accepted=True, by="sam")
    with pytest.raises(UnknownScore, match="there are lead"):
        sales.scores.answer("ann", "leads", accepted=True, by="sam")
    sales.happens("email_opened")
    sales.scores.run()
    with pytest.raises(NotHandedOver, match="is open"):
        sales.scores.answer("ann", "lead", accepted=True, by="sam")


def test_rules_over_features_give_points_while_they_hold(sales: Sales) -> None:
    sales.happens("paper_downloaded", "email_opened")
    assert sales.grade() is None
    assert sales.scores.hold("lead", "large", {"ann", "bob"}) == 1
    assert sales.grade() == "MQL"
    assert sales.scores.hold("lead", "large", {"bob"}) == 1
    assert sales.grade() is None


def test_imported_history_is_counted_quietly(sales: Sales) -> None:
    sales.happens("paper_downloaded", "paper_downloaded", past=True)
    assert sales.grade() == "MQL"
    assert [one.quiet for one in sales.changes()] == [True]


def test_what_is_older_than_a_score_is_counted_quietly(sales: Sales, tmp_path: Path) -> None:
    """The score `lead` is there; one more comes when the ledger is old, then a line of it over features."""
    sales.happens("paper_downloaded", "paper_downloaded", "email_opened")
    sales.happens("trial_requested", user="eve")
    assert sales.grade() == "MQL"
    (tmp_path / "scores.yaml").write_text(LEAD + LATE)
    later = Scores(
        sales.database,
        sales.clock,
        read_scores(tmp_path / "scores.yaml", Schema({"employees": Type.NUMBER}), load_specs().events),
        sales.identity.people,
    )
    later.begin()
    # Two of the old events of ann count, and one that came after the score; bob has new ones only.
    sales.happens("paper_downloaded", "paper_downloaded", user="bob")
    later.run()
    grades = later.grades_by_user()
    assert {user: of.get("late") for user, of in grades.items()} == {"ann": "A", "bob": "A", "eve": "B"}
    told = [(one.after, one.handed_over, one.quiet) for one in sales.changes() if one.score == "late"]
    assert sorted(told) == [("A", False, False), ("A", False, True), ("B", True, True)]
    assert later.explain("ann", "late")["value"] == 20
    # Nothing counts twice, and what comes now is told.
    assert Scores(sales.database, sales.clock, later.definitions, sales.identity.people).run() == 0
    sales.happens("trial_requested")
    assert later.run() == 2
    assert not sales.changes()[-1].quiet
    # A rule is evaluated for the first time: for whom it holds then, it has held before.
    later.hold("late", "large", {"carl"})
    later.hold("late", "large", {"carl", "dora"})
    assert [one.quiet for one in sales.changes()[-2:]] == [True, False]


def test_a_first_score_counts_what_is_there_quietly_too(sales: Sales) -> None:
    later = Scores(sales.database, sales.clock, [*sales.scores.definitions], sales.identity.people)
    sales.database.write(lambda connection: connection.execute(beginnings.delete()))
    sales.happens("trial_requested")
    sales.happens("paper_downloaded", "email_opened", user="bob")
    later.begin()
    sales.happens("paper_downloaded", user="bob")
    assert later.run() == 2
    assert {one.after: one.quiet for one in sales.changes()} == {"SQL": True, "MQL": False}


def test_a_person_of_two_profiles_has_one_score_until_they_part(sales: Sales) -> None:
    sales.happens("paper_downloaded")
    sales.happens("paper_downloaded", user="bob")
    assert sales.grade() is None
    join = sales.identity.merge("bob", "ann", by="sam", why="the same", now=sales.clock.now())
    sales.identity.refresh()
    assert sales.grade() == "MQL"
    assert sales.scores.explain("bob", "lead")["value"] == 80
    sales.happens("email_opened", user="bob")
    assert sales.grade() == "MQL"
    sales.identity.undo(join.id, by="sam", why="not the same", now=sales.clock.now())
    sales.identity.refresh()
    assert sales.grade() is None
    assert sales.scores.explain("ann", "lead")["value"] == 40
    assert sales.scores.explain("bob", "lead")["value"] == 50
