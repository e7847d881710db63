"""Points fade, are capped in the order things happened, and say when they pass a threshold."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.rules import Schema, Type
from audiences.scores.definitions import Score, read_scores
from audiences.scores.facts import Answer
from audiences.scores.grading import AtOnce, Standing, Status, answered, stand
from audiences.scores.points import Grant, crosses_at, faded, worth
from audiences.scores.report import difference_interval, predictors
from feature_repo.specs import load_specs
from tests.conftest import START

LEAD = """
scores:
  - id: lead
    name: Lead
    half_life: P30D
    points:
      - {id: opened, event: email_opened, points: 10}
      - {id: pricing, event: page_viewed, points: 20, where: "event.path = '/pricing'",
         properties: {path: text}, cap: 50}
      - {id: unsubscribed, event: unsubscribed, points: -30}
      - {id: large, rule: "employees >= 500", points: 15}
    grades:
      - {grade: MQL, at: 60}
      - {grade: SQL, at: 100, at_once: [{event: trial_requested}]}
    hand_over: SQL
"""
MONTH = timedelta(days=30)
SCHEMA = Schema({"employees": Type.NUMBER})


def read(tmp_path: Path, text: str) -> Score:
    path = tmp_path / "scores.yaml"
    path.write_text(text)
    (score,) = read_scores(path, SCHEMA, load_specs().events)
    return score


@pytest.fixture
def lead(tmp_path: Path) -> Score:
    return read(tmp_path, LEAD)


def grant(line: str, points: float, days: float, number: int = 0) -> Grant:
    return Grant(line, f"{line}-{days}-{number}", START + timedelta(days=days), points)


def test_points_halve_with_every_half_life(lead: Score) -> None:
    given_ = [grant("opened", 10, 0), grant("opened", 10, 30)]
    assert worth(lead, given_, START) == {"opened": 10}
    assert worth(lead, given_, START + MONTH) == {"opened": 15}
    assert worth(lead, given_, START + 3 * MONTH)["opened"] == pytest.approx(3.75)
    assert faded(10, timedelta(days=99), None) == 10


def test_what_lay_above_the_cap_does_not_come_back(lead: Score) -> None:
    given_ = [grant("pricing", 20, 0, number) for number in range(5)]
    assert worth(lead, given_, START) == {"pricing": 50}
    assert worth(lead, given_, START + MONTH) == {"pricing": 25}


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from([20.0, 10.0, -30.0])), max_size=12), st.randoms()
)
def test_the_order_in_which_events_arrive_does_not_matter(
    happened: list[tuple[int, float]], chance: random.Random
) -> None:
    lines = {20.0: "pricing", 10.0: "opened", -30.0: "unsubscribed"}
    grants = [grant(lines[points], points, day, at) for at, (day, points) in enumerate(happened)]
    shuffled = list(grants)
    chance.shuffle(shuffled)
    score = _LEAD[0]
    assert worth(score, shuffled, START + 2 * MONTH) == worth(score, grants, START + 2 * MONTH)


@given(
    fading=st.floats(-200, 200).filter(lambda value: abs(value) > 1e-3),
    lasting=st.sampled_from([0.0, 15.0, 70.0, 120.0]),
)
def test_a_grade_changes_when_it_is_said_to_and_not_before(fading: float, lasting: float) -> None:
    thresholds = [60.0, 100.0]

    def rank(after: timedelta) -> int:
        value = faded(fading, after, MONTH) + lasting
        return sum(threshold <= value for threshold in thresholds)

    moment = crosses_at(fading, lasting, thresholds, MONTH, START)
    if moment is None:
        assert rank(timedelta(0)) == rank(200 * MONTH)
    else:
        assert rank(moment - START) != rank(timedelta(0))
        before = moment - START - timedelta(seconds=1)
        assert before < timedelta(0) or rank(before) == rank(timedelta(0))


def test_grades_rise_and_fall_until_the_hand_over(lead: Score) -> None:
    nobody = Standing(0, START)
    mql = stand(lead, nobody, 80, 0, START)
    assert (mql.rank, mql.status) == (1, Status.OPEN)
    assert mql.due_at is not None
    assert mql.due_at - START == pytest.approx(MONTH * 0.41503749928, abs=timedelta(seconds=1))
    assert stand(lead, mql, 59, 0, mql.due_at).rank == 0
    sql = stand(lead, mql, 90, 15, START)
    assert (sql.rank, sql.status, sql.due_at) == (2, Status.HANDED_OVER, None)
    assert stand(lead, sql, 0, 0, START + MONTH) == sql
    assert answered(sql, accepted=True, now=START).rank == 2


def test_one_event_makes_a_grade_at_once(lead: Score) -> None:
    sql = stand(lead, Standing(0, START), 10, 0, START, AtOnce(2, START))
    assert (sql.rank, sql.status) == (2, Status.HANDED_OVER)


def test_after_a_rejection_only_what_is_new_counts(lead: Score) -> None:
    sql = stand(lead, Standing(0, START), 120, 0, START)
    rejected = answered(sql, accepted=False, now=START + MONTH)
    assert (rejected.rank, rejected.status, rejected.counted_from) == (0, Status.REJECTED, START + MONTH)
    assert stand(lead, rejected, 70, 0, START + 2 * MONTH).rank == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("half_life: P30D", "half_life: PT0S"), "a half-life is longer than zero"),
        (("points: 10}", "points: 0}"), "a line of 0 points changes nothing"),
        (("cap: 50", "cap: -50"), "`cap` has the sign of `points`"),
        (("at: 100", "at: 50"), "grades go from low to high"),
        (("hand_over: SQL", "hand_over: PQL"), "`hand_over` names 'PQL'"),
        (("event.path", "event.pth"), 'did you mean "event.path"?'),
        (("employees >=", "employee >="), 'did you mean "employees"?'),
        (("id: opened,", "id: pricing,"), "point 'pricing' is there twice"),
        (("points: 10}", "points: .nan}"), "finite number"),
        (("event: unsubscribed,", ""), "has either `event` or `rule`"),
        (("scores:", "score:"), "Extra inputs are not permitted"),
        (("id: lead", "id: [lead"), "not YAML"),
    ],
)
def test_a_wrong_definition_is_told_where_and_why(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    from audiences.errors import ScoreError

    with pytest.raises(ScoreError) as refused:
        read(tmp_path, LEAD.replace(*change, 1))
    assert said in str(refused.value)
    assert "scores.yaml" in str(refused.value)


def test_which_lines_predicted_acceptance_is_told_with_an_interval() -> None:
    answers = [
        Answer("lead", accepted=number % 10 != 0, by="sam", reason="", value=100, lines={"pricing": 40})
        for number in range(40)
    ] + [
        Answer("lead", accepted=number % 4 == 0, by="sam", reason="", value=100, lines={"opened": 40})
        for number in range(40)
    ]
    pricing, opened, large = predictors(answers, ["large", "opened", "pricing"])
    assert {pricing["line"], opened["line"]} == {"pricing", "opened"}
    row = next(one for one in (pricing, opened) if one["line"] == "pricing")
    assert row["with"] == {"answers": 40, "accepted": 36}
    assert row["without"] == {"answers": 40, "accepted": 10}
    assert row["difference"] == pytest.approx(0.65)
    assert 0.4 < row["low"] < 0.65 < row["high"] < 0.85
    assert row["tells"] is True
    assert large == {
        "line": "large",
        "with": {"answers": 0, "accepted": 0},
        "without": {"answers": 80, "accepted": 46},
        "difference": None,
        "low": None,
        "high": None,
        "tells": False,
    }


def test_the_interval_is_that_of_the_paper() -> None:
    # R. G. Newcombe 1998, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10.
    assert difference_interval(56, 70, 48, 80) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert difference_interval(9, 10, 3, 10) == pytest.approx((0.6, 0.1705, 0.8090), abs=5e-5)


def _lead_once() -> list[Score]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return [read(Path(folder), LEAD)]


_LEAD = _lead_once()
