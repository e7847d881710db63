"""Triggers as they are defined: what is refused, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiences.errors import TriggerError
from audiences.triggers.definitions import Known, OnDate, OnEvent, OnSchedule, Triggers, read_triggers
from feature_repo.specs import load_specs

TEXT = """
zones: {feature: time_zone, fallback: Europe/Berlin}
triggers:
  - id: browsed
    name: Browsed, not bought
    when:
      event: product_viewed
      where: "event.product = 'A'"
      properties: {product: text}
      unless: {event: order_completed, after: P3D}
    tag: {tag: browsed_a_no_order, expires_after: P30D}
  - id: golden
    name: Golden moment
    when: {event: page_viewed, count: 3, within: PT10M}
  - {id: new_buyer, name: New buyer, when: {entered: buyers}, again: P7D}
  - {id: hot, name: Hot lead, when: {score: lead, grade: SQL}}
  - {id: lapsed, name: Lapsing, when: {lifecycle: customer, stage: lapsing}}
  - {id: renewal, name: Renewal in 30 days, when: {date: renewal_on, offset: -P30D, at: "08:00"}}
  - {id: monday, name: Every Monday, when: {cron: "0 9 * * MON", zone: Europe/Berlin}, audience: buyers}
  - {id: third, name: Third Friday, when: {rrule: "FREQ=MONTHLY;BYDAY=+3FR", start: "2026-01-01T09:00:00",
     zone: user}, audience: buyers}
  - {id: hand, name: By hand, when: {by_hand: true}}
"""
KNOWN = Known(
    features={"time_zone": "text", "renewal_on": "time", "orders_4w": "int"},
    audiences=["buyers"],
    grades={"lead": ["MQL", "SQL"]},
    stages={"customer": ["new", "lapsing"]},
)


def read(folder: Path, text: str = TEXT) -> Triggers:
    (folder / "triggers.yaml").write_text(text)
    return read_triggers(folder / "triggers.yaml", load_specs().events, KNOWN)


def test_every_kind_is_read(tmp_path: Path) -> None:
    triggers = {one.spec.id: one for one in read(tmp_path).triggers}
    assert len(triggers) == 9
    browsed = triggers["browsed"].spec.when
    assert isinstance(browsed, OnEvent)
    assert triggers["browsed"].where is not None
    assert isinstance(triggers["renewal"].spec.when, OnDate)
    assert isinstance(triggers["third"].spec.when, OnSchedule)
    assert read_triggers(tmp_path / "none.yaml", load_specs().events, KNOWN).triggers == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("event.product", "event.prodct"), "browsed.when.where: line 1, column 1"),
        (("count: 3, within: PT10M", "count: 3"), "`count` above 1 and `within` go together"),
        (("within: PT10M", "within: P90D"), "`within` is at most 31 days"),
        (("entered: buyers", "entered: byers"), "there is no audience 'byers'; there are buyers"),
        (("entered: buyers", "entered: buyers, left: buyers"), "either `entered` or `left`"),
        (("grade: SQL", "grade: PQL"), "hot: there is no grade 'PQL' of a score 'lead'"),
        (("stage: lapsing", "stage: gone"), "lapsed: there is no stage 'gone'"),
        (("date: renewal_on", "date: orders_4w"), "no feature 'orders_4w' that is a time or text"),
        (("feature: time_zone", "feature: orders_4w"), "there is no text feature 'orders_4w'"),
        (("fallback: Europe/Berlin", "fallback: Europe/Berln"), "there is no time zone 'Europe/Berln'"),
        (('"0 9 * * MON"', '"0 9 30 2 *"'), "'0 9 30 2 *' is no cron line"),
        (('"0 9 * * MON"', '"0 9 * *"'), "a cron line has five fields"),
        (('"0 9 * * MON"', '"99 9 * * MON"'), "is no cron line"),
        (("FREQ=MONTHLY;BYDAY=+3FR", "FREQ=NEVER"), "is no RRULE"),
        (("FREQ=MONTHLY;BYDAY=+3FR", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), "names no day that ever comes"),
        ((', start: "2026-01-01T09:00:00"', ""), "`rrule` needs `start`"),
        (("zone: Europe/Berlin}, audience: buyers", "zone: Europe/Berlin}"), "a schedule needs `audience`"),
        (("after: P3D", "after: PT0S"), "the time must be longer than zero"),
        (("again: P7D", "again: -P7D"), "the time must be longer than zero"),
        (("when: {by_hand: true}", "when: {by_hand: false}"), "hand"),
        (("id: golden", "id: browsed"), "browsed: used twice"),
        (("triggers:", "trigger:"), "Extra inputs are not permitted"),
        (("when: {lifecycle: customer, stage: lapsing}", "when: {lifecycle: customer}"), "triggers.4.when"),
    ],
)
def test_a_wrong_trigger_is_told_where_and_why(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in TEXT
    with pytest.raises(TriggerError) as refused:
        read(tmp_path, TEXT.replace(*change, 1))
    assert said in str(refused.value)
    assert "triggers.yaml" in str(refused.value)


def test_only_the_kind_that_was_meant_is_spoken_of(tmp_path: Path) -> None:
    with pytest.raises(TriggerError) as refused:
        read(tmp_path, TEXT.replace("count: 3, within: PT10M", "count: 0, within: PT10M"))
    assert str(refused.value).count("triggers.1") == 1
