"""Constraints are pure: what is known of a user says which arms are stopped, and by which rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from audiences.consent.models import Channel, Consent, ConsentState
from audiences.rules import Schema, Type
from playbooks.constraints.allowing import Moment, allowed, lifted_by, limits_of
from playbooks.constraints.binding import Terms
from playbooks.constraints.checking import (
    Names,
    mixed_currencies,
    unknown_in_playbook,
    unknown_names,
    wrong_constraints,
)
from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.counting import COUNTERS_UNREACHABLE, UNLIMITED, UNREADABLE, of_account
from playbooks.constraints.documents import Constraint
from playbooks.constraints.fatigue import fatigue_of
from playbooks.constraints.rulebook import with_context
from playbooks.constraints.windows import begins, length
from playbooks.content.documents import Content
from playbooks.content.expiry import ends
from playbooks.library import expand
from playbooks.models import Playbook
from playbooks.offers import Offer
from storage.times import to_micros

# A Monday.
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NO_DAY = datetime(2011, 12, 30, 12, 0, tzinfo=UTC)
SCHEMA = Schema({"age": Type.NUMBER, "city": Type.TEXT}, audiences=frozenset({"gold"}))
OFFERS = {
    one.id: one
    for one in (
        Offer(id="tea", name="Tea"),
        Offer.model_validate({"id": "coupon", "name": "C", "kind": "fixed_amount", "value": "5.00 EUR"}),
    )
}
LIST: TypeAdapter[list[Constraint]] = TypeAdapter(list[Constraint])


def read(*constraints: Mapping[str, Any]) -> list[Constraint]:
    return LIST.validate_python(list(constraints))


def playbook(**given: Any) -> Playbook:
    """One arm by e-mail and one by SMS of tea, and a coupon by e-mail that costs 3.00 EUR."""
    return Playbook.model_validate(
        {
            "id": "spring",
            "name": "Spring",
            "placement": "home",
            "labels": ["season"],
            "goal": {"event": "order_completed", "window": "P14D"},
            "variants": [
                {"offer": "tea", "channels": ["email", "sms"], "content": "hello"},
                {"offer": "coupon", "values": ["3.00 EUR"], "channel": "email", "content": "hello"},
            ],
            "flow": {"start": "x", "states": {"x": {"kind": "end", "result": "r"}}},
            **given,
        }
    )


def terms(*constraints: Mapping[str, Any], **given: Any) -> Terms:
    document = playbook(**given)
    return Terms(document, expand(document, OFFERS), read(*constraints), with_context(SCHEMA))


def stopped(under: Terms, circumstances: Circumstances | None = None, **features: Any) -> dict[str, Any]:
    """What each rule stops: `all`, or names of arms."""
    moment = Moment(NOW, "home", features, frozenset(), circumstances or Circumstances())
    found = allowed(under, moment)
    return {
        rule: "all" if arms is None else sorted(arm.partition("/")[2] for arm in arms)
        for rule, arms in found.stopped.items()
    }


def test_a_layer_that_is_not_true_stops_under_its_own_id() -> None:
    adults = {"kind": "eligibility", "id": "adults", "rule": "age >= 18"}
    assert stopped(terms(adults), age=17) == {"eligibility.adults": "all"}
    assert stopped(terms(adults), age=18) == {}
    # Nothing known is not true.
    assert stopped(terms(adults)) == {"eligibility.adults": "all"}
    own = terms(
        rules={"suitability": "city = 'Bonn'"}, constraints=[{**adults, "for": {"channels": ["sms"]}}]
    )
    assert stopped(own, age=3, city="Bonn") == {"eligibility.spring.adults": ["tea_sms"]}
    assert stopped(own, age=30, city="Rome") == {"suitability.spring": "all"}


def test_rules_may_ask_for_the_moment_and_for_tags() -> None:
    monday = {"kind": "applicability", "id": "mondays", "rule": "context.weekday = 1 and context.hour >= 9"}
    assert stopped(terms(monday)) == {}
    assert stopped(terms(monday), Circumstances(zone="America/New_York")) == {"applicability.mondays": "all"}
    calm = terms({"kind": "suitability", "id": "calm", "rule": "not tag('angry')"})
    assert calm.needs.tags
    assert stopped(calm, Circumstances(tags=frozenset({"angry"}))) == {"suitability.calm": "all"}


def test_a_rule_whose_name_is_gone_stops_what_it_holds_for() -> None:
    gone = terms(constraints=[{"kind": "eligibility", "id": "old", "rule": "income > 3"}])
    assert stopped(gone) == {"eligibility.spring.old": "all"}


def test_contents_are_given_until_they_are_over() -> None:
    def under(**contents: Content) -> dict[str, Any]:
        plain = terms()
        return stopped(replace(plain, ends=tuple(ends(contents, plain.arms))))

    foot = Content(id="foot", kind="block", body="Bye", valid_until=NOW)
    says = Content(id="hello", subject="Hi", body="{% render 'foot' %}", valid_until=NOW + timedelta(days=1))
    assert under(hello=says) == {}
    assert under(hello=says.model_copy(update={"valid_until": NOW})) == {"expired.hello": "all"}
    assert under(hello=says, foot=foot) == {"expired.hello": "all"}


def agreed(purpose: str, channel: Channel, state: ConsentState = ConsentState.GRANTED) -> Circumstances:
    return Circumstances(consents=[Consent("ann", purpose, channel, state, NOW, "page")])


def test_consent_is_asked_for_the_purpose_on_the_arms_channel() -> None:
    rule = {"kind": "consent", "id": "asked", "exempt": {"purposes": ["transactional"]}}
    assert stopped(terms(rule)) == {"consent.asked": "all"}
    by_mail = agreed("promotional", Channel.EMAIL)
    assert stopped(terms(rule), by_mail) == {"consent.asked": ["tea_sms"]}
    assert stopped(terms(rule), agreed("any", Channel.ANY)) == {}
    assert stopped(terms(rule, purpose="transactional")) == {}
    named = {"kind": "consent", "id": "news", "purpose": "newsletter", "channels": {"sms": "email"}}
    assert stopped(terms(named), agreed("newsletter", Channel.EMAIL)) == {}
    assert stopped(terms(named), by_mail) == {"consent.news": ["tea_sms"]}


def test_a_hold_lasts_from_one_event_to_the_other() -> None:
    rule = {"kind": "hold", "id": "ticket", "opened_by": "ticket_opened", "closed_by": "ticket_resolved"}
    under = terms({**rule, "for": {"purposes": ["promotional"]}})
    hour = timedelta(hours=1)
    assert stopped(under) == {}
    assert stopped(under, Circumstances(events={"ticket_opened": NOW})) == {"hold.ticket": "all"}
    closed = {"ticket_opened": NOW - hour, "ticket_resolved": NOW}
    assert stopped(under, Circumstances(events=closed)) == {}
    again = {"ticket_opened": NOW, "ticket_resolved": NOW - hour}
    assert stopped(under, Circumstances(events=again)) == {"hold.ticket": "all"}
    assert stopped(terms({**rule, "for": {"purposes": ["promotional"]}}, purpose="service")) == {}


def test_a_cap_counts_what_it_holds_for_and_exempts_the_rest() -> None:
    cap = {"id": "weekly", "limit": 1, "window": "P7D", "for": {"purposes": ["promotional"]}}
    one = Circumstances({"cap.weekly": [to_micros(NOW - timedelta(days=6))]})
    assert stopped(terms(cap), one) == {"cap.weekly": "all"}
    service = terms(cap, purpose="service")
    assert stopped(service, one) == {}
    assert limits_of(service, service.arms[0], one, NOW) == ()
    spared = terms({**cap, "exempt": {"labels": ["season"]}})
    assert stopped(spared, one) == {}


def test_counted_apart_each_channel_has_its_own_room() -> None:
    under = terms({"id": "few", "limit": 1, "window": "P7D", "each": "channel"})
    assert stopped(under, Circumstances({"cap.few@sms": [to_micros(NOW)]})) == {"cap.few": ["tea_sms"]}
    assert {limits_of(under, arm, Circumstances(), NOW)[0].counter for arm in under.arms} == {
        "cap.few@sms",
        "cap.few@email",
    }


def test_an_offer_is_known_by_its_name_whatever_its_value() -> None:
    under = terms({"id": "coupons", "limit": 1, "window": "month", "for": {"offers": ["coupon"]}})
    assert stopped(under, Circumstances({"cap.coupons": [to_micros(NOW)]})) == {
        "cap.coupons": ["coupon_3_00"]
    }


def test_an_account_has_one_cap_for_all_its_users() -> None:
    under = terms({"id": "shared", "limit": 2, "window": "P7D", "per": "account"})
    uses = {"cap.shared": [to_micros(NOW)] * 2}
    assert under.needs.account
    assert stopped(under, Circumstances(uses, account="acme")) == {"cap.shared": "all"}
    # Who belongs to no account shares no cap.
    assert stopped(under, Circumstances(uses)) == {}
    (limit,) = limits_of(under, under.arms[0], Circumstances(account="acme"), NOW)
    assert limit.subject == of_account("acme")


def test_after_a_contact_some_rest_and_all_count() -> None:
    rest = {
        "kind": "cool_down",
        "id": "rest",
        "after": "contact",
        "lasts": "P2D",
        "for": {"channels": ["sms"]},
    }
    under = terms(rest)
    assert stopped(under, Circumstances({"cool_down.rest": [to_micros(NOW - timedelta(days=1))]})) == {
        "cool_down.rest": ["tea_sms"]
    }
    limits = {arm.name: limits_of(under, arm, Circumstances(), NOW)[0].limit for arm in under.arms}
    assert limits == {"tea_sms": 1, "tea_email": UNLIMITED, "coupon_3_00": UNLIMITED}


def test_after_the_same_playbook_and_after_a_conversion() -> None:
    same = terms({"kind": "cool_down", "id": "same", "after": "playbook", "lasts": "P3D"})
    assert stopped(same, Circumstances({"cool_down.same@spring": [to_micros(NOW)]})) == {
        "cool_down.same": "all"
    }
    assert stopped(same, Circumstances({"cool_down.same@summer": [to_micros(NOW)]})) == {}
    bought = terms({"kind": "cool_down", "id": "bought", "after": "conversion", "lasts": "P3D"})
    assert bought.needs.events == {"order_completed"}
    lately = {"order_completed": NOW - timedelta(days=3) + timedelta(seconds=1)}
    assert stopped(bought, Circumstances(events=lately)) == {"cool_down.bought": "all"}
    assert stopped(bought, Circumstances(events={"order_completed": NOW - timedelta(days=3)})) == {}


def test_a_group_has_one_use_in_its_window_whichever_member_made_it() -> None:
    group = {"kind": "group", "id": "outer", "groups": ["inner"], "window": "P7D"}
    inner = {"kind": "group", "id": "inner", "labels": ["season"]}
    under = terms(group, inner)
    assert list(under.groups) == ["inner", "outer"]
    assert stopped(under, Circumstances({"group.outer": [to_micros(NOW)]})) == {"group.outer": "all"}
    assert terms(group, inner, labels=[]).counted == ()


def test_of_unreadable_counters_nothing_is_known() -> None:
    under = terms({"id": "some", "limit": 9, "window": "P7D", "for": {"channels": ["sms"]}})
    assert stopped(under, Circumstances(UNREADABLE)) == {COUNTERS_UNREACHABLE: ["tea_sms"]}


def test_each_arm_is_told_under_the_first_rule_that_stops_it() -> None:
    under = terms(
        {"kind": "eligibility", "id": "never_sms", "rule": "age > 90", "for": {"channels": ["sms"]}},
        {"id": "any", "limit": 1, "window": "P7D"},
    )
    assert stopped(under, Circumstances({"cap.any": [to_micros(NOW)]}), age=1) == {
        "eligibility.never_sms": ["tea_sms"],
        "cap.any": ["coupon_3_00", "tea_email"],
    }


@pytest.mark.parametrize(
    ("period", "zone", "begin"),
    [
        ("day", "UTC", "2026-03-02T00:00:00+00:00"),
        ("week", "Europe/Berlin", "2026-03-01T23:00:00+00:00"),
        ("month", "America/New_York", "2026-03-01T05:00:00+00:00"),
    ],
)
def test_calendar_windows_begin_on_the_users_clock(period: Any, zone: str, begin: str) -> None:
    assert begins(period, ZoneInfo(zone), NOW) == datetime.fromisoformat(begin)


@given(
    st.sampled_from(["day", "week", "month"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia"]),
    # Samoa had no 30 December 2011.
    st.integers(-6000, 3000).map(lambda days: NOW + timedelta(days=days)) | st.just(NO_DAY),
)
def test_a_use_counts_in_a_calendar_window_just_if_it_is_of_the_same_name(
    period: Any, zone: str, now: datetime
) -> None:
    at = ZoneInfo(zone)
    start = begins(period, at, now)
    since = now - length(period, at, now)
    assert start <= now
    assert since < start
    # The microsecond before it is of the period before.
    assert since == start - timedelta(microseconds=1)
    assert begins(period, at, since) < start


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"id": "x", "limit": 1, "window": "soon"}, "'soon' is no window: write a duration like P7D"),
        ({"id": "x", "limit": 1, "window": "PT0S"}, "a window must be longer than nothing"),
        ({"id": "x", "limit": 1, "window": "P99999D"}, "at most 3660 days"),
        ({"id": "x", "limit": 0, "window": "day"}, "greater than or equal to 1"),
        ({"id": "x", "kind": "capp"}, "there is no such kind of constraint; there are cap, cool_down"),
        ({"id": "x", "kind": "hold", "opened_by": "a", "closed_by": "a"}, "it would never hold"),
        ({"id": "x", "kind": "consent", "channels": {"sms": "fax"}}, "'any', 'email', 'sms' or 'push'"),
    ],
)
def test_what_is_wrong_is_said(wrong: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(wrong)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "group", "id": "x"}, "name it as `exclusive_group`"),
        ({"id": "x", "limit": 1, "window": "day", "for": {"labels": ["a"]}}, "takes channels and offers"),
    ],
)
def test_a_playbook_has_no_rules_for_others(wrong: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        playbook(constraints=[wrong])


def test_groups_do_not_contain_each_other() -> None:
    groups = [{"kind": "group", "id": name, "groups": [other]} for name, other in ("ab", "bc", "ca")]
    said = list(wrong_constraints(read(*groups)))
    assert said == [("", "groups contain each other in a circle: a → b → c → a; take one of them out")]
    assert "there is no group 'aa', did you mean 'a'?" in str(
        list(wrong_constraints(read({"kind": "group", "id": "a", "groups": ["aa"]})))
    )


def test_names_that_are_not_there_come_with_what_was_meant() -> None:
    names = Names.of([playbook()], OFFERS, ["email", "sms"], SCHEMA)
    wrong = read(
        {"id": "a", "limit": 1, "window": "day", "for": {"playbooks": ["sprin"], "labels": ["seasons"]}},
        {"id": "b", "limit": 1, "window": "day", "exempt": {"channels": ["emial"], "offers": ["coupons"]}},
        {"kind": "eligibility", "id": "c", "rule": "in_audience('golf')"},
        {"kind": "consent", "id": "d", "channels": {"smss": "sms"}},
        {"kind": "consent", "id": "e"},
    )
    said = dict(unknown_names(wrong, names))
    assert said["0.for.playbooks"] == "there is no playbook 'sprin', did you mean 'spring'?"
    assert said["0.for.labels"] == "there is no label 'seasons', did you mean 'season'?"
    assert said["1.exempt.channels"] == "there is no channel 'emial', did you mean 'email'?"
    assert said["1.exempt.offers"] == "there is no offer 'coupons', did you mean 'coupon'?"
    assert 'unknown audience "golf", did you mean "gold"?' in said["2.rule"]
    assert said["3.channels"] == "there is no channel 'smss', did you mean 'sms'?"
    assert len(said) == 6
    own = playbook(rules={"eligibility": "agee > 3"})
    assert 'did you mean "age"?' in dict(unknown_in_playbook(own, names))["rules.eligibility"]


def test_a_budget_stops_what_would_not_fit_into_its_period() -> None:
    budget = {"kind": "budget", "id": "spring", "amount": "10.00 EUR", "period": "month"}
    under = terms(budget)
    (coupon,) = [arm for arm in under.arms if arm.cost]
    (spend,) = [one for one in (under.spends[0].spend(arm, NOW) for arm in under.arms) if one]
    assert (spend.budget.key, spend.amount, coupon.cost) == ("budget.spring@2026-03", 300, 300)
    key = spend.budget.key
    # What costs nothing needs no room.
    assert stopped(under, Circumstances(levels={key: 701})) == {"budget.spring": ["coupon_3_00"]}
    assert stopped(under, Circumstances(levels={key: 700})) == {}
    assert stopped(under, Circumstances(UNREADABLE)) == {COUNTERS_UNREACHABLE: ["coupon_3_00"]}
    daily = terms({**budget, "period": "day", "zone": "Asia/Tokyo"})
    late = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)
    assert daily.spends[0].budget(late).key == "budget.spring@2026-03-03"


def test_an_offers_stock_and_maximum_liability_are_budgets() -> None:
    limited = {"stock": 3, "maximum_liability": "100.00 EUR"}
    offer = Offer.model_validate(
        {"id": "gift", "name": "G", "kind": "fixed_amount", "value": "8.00 EUR", **limited}
    )
    document = playbook(variants=[{"offers": ["gift", "tea"], "channel": "email", "content": "hello"}])
    offers = {**OFFERS, "gift": offer}
    under = Terms(document, expand(document, offers), (), SCHEMA, offers=[offer, OFFERS["tea"]])
    assert stopped(under, Circumstances(levels={"stock.gift@all": 3})) == {"stock.gift": ["gift"]}
    assert stopped(under, Circumstances(levels={"max_liability.gift@all": 9_201})) == {
        "max_liability.gift": ["gift"]
    }
    assert stopped(under, Circumstances(levels={"max_liability.gift@all": 9_200})) == {}


def test_a_quota_lifts_until_its_minimum_and_stops_at_its_maximum() -> None:
    under = terms({"kind": "quota", "id": "few", "period": "day", "minimum": 2, "maximum": 5})
    key = "quota.few@2026-03-02"
    assert lifted_by(under, Circumstances(levels={key: 1}), NOW) == "quota.few"
    assert lifted_by(under, Circumstances(levels={key: 2}), NOW) is None
    assert stopped(under, Circumstances(levels={key: 4})) == {}
    assert stopped(under, Circumstances(levels={key: 5})) == {"quota.few": "all"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "budget", "id": "x", "amount": "-5.00 EUR", "period": "day"}, "must not be negative"),
        ({"kind": "budget", "id": "x", "amount": "0.00 EUR", "period": "day"}, "0.00 EUR is nothing"),
        ({"kind": "budget", "id": "x", "amount": "5.00 EUR", "period": "P0D"}, "'month' or 'all'"),
        ({"kind": "quota", "id": "x", "period": "day"}, "needs a minimum, a maximum or both"),
        ({"kind": "quota", "id": "x", "period": "day", "minimum": 3, "maximum": 2}, "above the maximum"),
        (
            {"kind": "quota", "id": "x", "period": "day", "minimum": 3, "zone": "Berlin"},
            "no time zone 'Berlin'",
        ),
    ],
)
def test_wrong_budgets_are_refused(wrong: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(wrong)
    assert says in str(refused.value)


def test_a_budget_is_of_one_currency() -> None:
    document = playbook()
    arms = expand(document, OFFERS)
    dollars = {"kind": "budget", "id": "x", "amount": "5.00 USD", "period": "day"}
    ((place, said),) = mixed_currencies(read(dollars), document, arms)
    assert place == 0
    assert "arm spring/coupon_3_00 costs money in EUR, the amount is 5.00 USD" in said
    assert list(mixed_currencies(read({**dollars, "exempt": {"offers": ["coupon"]}}), document, arms)) == []
    # One that came otherwise is stopped: what can't be counted is not spent.
    assert stopped(terms(dollars)) == {"budget.x": ["coupon_3_00"]}


def test_each_contact_tires_and_is_forgotten_by_halves() -> None:
    rule = {"kind": "fatigue", "id": "tired", "cost": "0.20 EUR", "half_life": "P2D"}
    under = terms({**rule, "exempt": {"channels": ["sms"]}})
    uses = {"fatigue.tired": [to_micros(NOW - timedelta(days=days)) for days in (0, 2, 4)]}
    taken = fatigue_of(under.tiring, under.arms, uses, {"EUR": 0.001}, NOW)
    assert taken == pytest.approx(dict.fromkeys(("spring/tea_email", "spring/coupon_3_00"), 0.035))
    # Every use counts as a contact, and none is stopped.
    assert stopped(under, Circumstances(uses)) == {}
    assert {limits_of(under, arm, Circumstances(), NOW)[0].limit for arm in under.arms} == {UNLIMITED}
    by_sms = terms({**rule, "contacts": {"channels": ["sms"]}})
    counted = {arm.name: bool(limits_of(by_sms, arm, Circumstances(), NOW)) for arm in by_sms.arms}
    assert counted == {"tea_email": False, "tea_sms": True, "coupon_3_00": False}
    with pytest.raises(ValidationError, match="is nothing; leave the rule out"):
        read({**rule, "cost": "0.00 EUR"})
