"""Champion and challengers on both databases: shadow rounds, proof, every reason to refuse, no flapping."""

from __future__ import annotations

import doctest
from collections.abc import Mapping
from datetime import timedelta
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from audiences.events import EventBody
from audiences.identity.people import EveryoneAlone
from audiences.liveness.repository import SILENCE
from audiences.liveness.tables import open_alerts
from decision.evaluating.claims import claims_of
from decision.evaluating.own import claimed, look
from learning import version_repository
from learning.challengers import repository
from learning.challengers.gathering import Gathering
from learning.challengers.job import Watch
from learning.challengers.models import Charge
from learning.challengers.promoting import MACHINE, Promoting
from learning.challengers.rules import PromotionRules
from learning.challengers.shadowing import Shadowing
from learning.erasure import PLACES
from learning.errors import ChargeTaken, PromotionRefused, UnknownPolicy
from learning.evaluation import How, evaluate
from learning.repository import REWARD_LABEL
from learning.rewards import Reward
from learning.spec import PolicySpec
from learning.versions import cold_start
from playbooks.content.documents import Content
from playbooks.decision import Decision
from playbooks.library import Draft
from playbooks.offers import Offer
from playbooks.protection import Protection
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.erasure import Erasing, Rows
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from tests.deciding import playbook
from tests.publishing import publish

ARMS = ("show/apples", "show/bread", "do_nothing")
RULES = {"least_effective": 50, "guards": {"complaints": 0.2, "opt_outs": 0.2}}


def spec(name: str, apples: float) -> PolicySpec:
    return PolicySpec.model_validate(
        {
            "id": name,
            "placements": ["home"],
            "exploration": {
                "kind": "fixed_split",
                "shares": {"show/apples": apples, "show/bread": 1 - apples},
            },
        }
    )


class Shop:
    """A library with three policies over one database; decisions and rewards are written as they are kept."""

    def __init__(self, database: Database, clock: SimulatedClock, **rules: Any) -> None:
        self.database, self.clock = database, clock
        self.specs = {one.id: one for one in (spec("calm", 0.7), spec("bold", 0.2), spec("odd", 0.9))}
        self.rules = PromotionRules.model_validate(RULES | rules)
        gathering = Gathering(database, self.specs, self.rules, Protection(), EveryoneAlone())
        self.promoting = Promoting(database, clock, "calm", self.specs, self.rules, gathering)
        self.watch = Watch(database, clock, Shadowing(database, self.specs), self.promoting)
        offers = {
            name: Offer.model_validate(
                {"id": name, "name": name, "attributes": {"group": "g"}, "kind": "gift", "item": name}
                | {"cost": "0.40 EUR" if name == "bread" else "0.10 EUR"}
            )
            for name in ("apples", "bread")
        }
        notice = Content(id="notice", subject="s", body="b")
        draft = Draft((playbook("show"),), offers, {"notice": notice})
        database.write(lambda c: publish(c, draft, clock.now()))
        for one in self.specs.values():
            new = cold_start(one, {}, clock.now(), after=None)
            database.write(lambda c, new=new: version_repository.insert_version(c, new, clock.now()), rows=2)  # type: ignore[misc]
        self.rng = np.random.default_rng(1)
        self.users = 0

    def live(
        self,
        number: int,
        worth: Mapping[str, float],
        policy: str = "calm",
        drawn: float | None = None,
        brings: Mapping[str, float] | None = None,
        **changed: Any,
    ) -> None:
        """Let users come, one decision each, and earn what arms are worth on average.

        Args:
            drawn: how often apples are really drawn, if not as the propensities say.
            brings: the margin that the outcome of each arm names, if it does.
        """
        self.clock.move_to(self.clock.now() + timedelta(hours=1))
        now = self.clock.now()
        apples = self.specs[policy].exploration.shares["show/apples"]  # type: ignore[union-attr]
        vector = [apples, 1 - apples, 0.0]
        facts = []
        for _ in range(number):
            chosen = int(self.rng.random() >= (apples if drawn is None else drawn))
            self.users += 1
            decision = Decision(
                decision_id=new_id(now),
                user_id=f"user-{self.users}",
                placement="home",
                decided_at=now,
                request_key="k",
                seed="s",
                library="l",
                policy=f"{policy}@1",
                features={},
                audiences=(),
                uses={},
                suppressed={},
                arms=ARMS,
                scores=(0.0, 0.0),
                probabilities=vector,
                draw=0.5,
                chosen=chosen,
                propensity=vector[chosen],
                playbook="show",
                playbook_version=1,
                **changed,
            )
            outcome = None
            if brings is not None:
                outcome = new_id(now)
                body = EventBody({"margin": brings[decision.arm]})
                facts.append(NewFact(Kind.EVENT, outcome, "order_completed", decision.user_id, now, body))
            reward = Reward(
                decision_id=decision.decision_id,
                placement="home",
                policy=decision.policy,
                playbook="show",
                arm=decision.arm,
                acts=True,
                decided_at=now,
                value=float(self.rng.random() < worth[decision.arm]),
                outcome=outcome,
            )
            facts += [
                NewFact(Kind.DECISION, decision.decision_id, "home", decision.user_id, now, decision),
                NewFact(Kind.REWARD, decision.decision_id, REWARD_LABEL, decision.user_id, now, reward),
            ]
        for start in range(0, len(facts), 400):
            self.database.write(
                lambda c, some=facts[start : start + 400]: ledger.append(c, some, now),  # type: ignore[misc]
                rows=400,
            )
        self.clock.move_to(now + timedelta(days=8))


GOOD_BREAD = {"show/apples": 0.1, "show/bread": 0.8, "do_nothing": 0.0}
ALIKE = {"show/apples": 0.3, "show/bread": 0.3, "do_nothing": 0.0}


def test_examples_in_the_documentation_hold() -> None:
    for module in ("learning.challengers.rules", "learning.challengers.record"):
        assert doctest.testmod(import_module(module)).failed == 0


def test_proof_promotes_by_itself_and_a_turn_rolls_back(database: Database, clock: SimulatedClock) -> None:
    shop = Shop(database, clock, promotion="automatic", live_window="P3D")
    assert shop.watch.run(asked=True)["promoted"] is None
    shop.live(150, GOOD_BREAD)
    report = shop.watch.run(asked=True)
    assert (report["vectors"], report["promoted"], report["rolled_back"]) == (300, "bold", None)
    charge = shop.promoting.charge()
    assert (charge.policy, charge.former, charge.how, charge.number) == ("bold", "calm", "promoted", 1)
    # Of its decisions bread earns no more; the one before is proven better.
    shop.live(200, {**ALIKE, "show/bread": 0.0, "show/apples": 0.9}, policy="bold")
    report = shop.watch.run(asked=True)
    assert (report["promoted"], report["rolled_back"], report["scored"]) == (None, "bold", 1)
    assert shop.promoting.charge().policy == "calm"
    with database.read() as connection:
        (claim,) = repository.claims(connection, "calm")
    assert claim.live is not None
    assert not claim.live.held
    # All evidence is gathered anew, and bold needs twice the proof now, of each of two challengers.
    assert shop.promoting.evidence("bold").confidence == pytest.approx(1 - 0.05 / 2 / 2)
    assert shop.promoting.evidence("odd").confidence == pytest.approx(1 - 0.05 / 2)
    with pytest.raises(PromotionRefused, match="no decision of calm has matured since bold watches"):
        shop.promoting.promote("bold", "ann")


def said(shop: Shop, version: str) -> str:
    """Evaluate a version on the decisions so far, and return what is said of earlier claims."""
    own = look(shop.database, version, None)
    return claimed(shop.database, own, evaluate(*own.judged, How(["snips"])), shop.clock.now()).record or ""


def test_what_an_evaluation_said_is_scored_when_the_policy_has_been_in_charge(
    database: Database, clock: SimulatedClock
) -> None:
    shop = Shop(database, clock, live_window="P3D")
    shop.live(150, GOOD_BREAD)
    assert said(shop, "bold@1") == "no claim has been made yet"
    # Who asks the same again claims nothing more.
    assert said(shop, "bold@1") == "1 evaluations were made; of none is it known yet what came of it"
    said(shop, "calm@1")
    # Of odd nothing will come: it never is in charge.
    said(shop, "odd@1")
    shop.live(60, {**ALIKE, "show/apples": 0.9})
    clock.move_to(clock.now() + timedelta(days=4))
    assert shop.watch.run(asked=True)["scored"] == 1
    found = {one.version: one for one in claims_of(database, None, None, 50).evaluations}
    came = found["calm@1"].came
    # It was in charge, and the world became another: apples sell now.
    assert came is not None
    assert (came.rounds, came.by_version, came.held, came.lift) == (60, 60, False, None)
    assert came.value.low < 0.7 * 0.9 + 0.3 * 0.3 < came.value.high
    assert found["bold@1"].came is None
    shop.live(150, GOOD_BREAD)
    shop.watch.run(asked=True)
    shop.promoting.promote("bold", "ann")
    shop.live(150, GOOD_BREAD, policy="bold")
    shop.watch.run(asked=True)
    (bold,) = claims_of(database, "bold", None, 50).evaluations
    assert bold.came is not None
    assert (bold.came.rounds, bold.came.held, bold.came.lift_held) == (150, True, True)
    assert bold.came.lift is not None
    assert bold.came.lift.low < 0.5 * 0.7 < bold.came.lift.high
    assert bold.lift.low < 0.5 * 0.7 < bold.lift.high
    record = claims_of(database, None, None, 1).record.estimates
    assert (record.made, record.scored, record.held, record.lifts, record.lifts_held) == (3, 2, 1, 1, 1)
    assert "of 2 evaluations with 95% intervals the value of 1 held" in said(shop, "bold@1")
    clock.move_to(clock.now() + timedelta(days=90))
    shop.watch.run(asked=True)
    (odd,) = claims_of(database, "odd", None, 50).evaluations
    assert odd.unscored == "odd has not been in charge since"
    first = claims_of(database, None, None, 2)
    rest = claims_of(database, None, first.next, 2)
    ids = [one.id for page in (first, rest) for one in page.evaluations]
    assert len(set(ids)) == len(ids) == 4


def test_what_can_not_be_told_is_no_claim(database: Database, clock: SimulatedClock) -> None:
    shop = Shop(database, clock)
    shop.live(300, GOOD_BREAD, drawn=0.3)
    said(shop, "bold@1")
    assert claims_of(database, None, None, 50).evaluations == []


def test_one_policy_alone_keeps_its_promise_too(database: Database, clock: SimulatedClock) -> None:
    shop = Shop(database, clock, live_window="P3D")
    for name in ("bold", "odd"):
        del shop.specs[name]
    shop.live(100, ALIKE)
    said(shop, "calm@1")
    shop.live(100, ALIKE)
    assert shop.watch.run(asked=True)["scored"] == 1
    (calm,) = claims_of(database, None, None, 50).evaluations
    assert calm.came is not None
    assert calm.came.held
    # Later nobody decided anything: that is said, and not asked again.
    said(shop, "calm@1")
    clock.move_to(clock.now() + timedelta(days=4))
    assert shop.watch.run(asked=True)["scored"] == 1
    newest = claims_of(database, None, None, 1).evaluations[0]
    assert newest.unscored == "nothing it drew tells: there are no decisions to judge on"
    assert shop.watch.run(asked=True)["scored"] == 0


def test_without_a_difference_nobody_takes_charge(database: Database, clock: SimulatedClock) -> None:
    shop = Shop(database, clock, promotion="automatic", least_effective=5_000)
    shop.live(400, ALIKE)
    assert shop.watch.run(asked=True)["promoted"] is None
    found = shop.promoting.evidence("bold")
    assert found.low is not None
    assert found.low < 0
    assert [one.partition(":")[0] for one in found.reasons] == ["the gain is not proven", "thin support"]
    with pytest.raises(UnknownPolicy, match="did you mean 'bold'"):
        shop.promoting.promote("bald", "ann")


def test_a_dearer_policy_is_refused_by_its_guard(database: Database, clock: SimulatedClock) -> None:
    guards = {"complaints": None, "opt_outs": None, "cost": "0.05 EUR"}
    shop = Shop(database, clock, guards=guards)
    shop.live(150, GOOD_BREAD)
    shop.watch.run(asked=True)
    said = r"the guard cost is not kept: it may be worse by 0\.\d+ EUR a decision, more than 0\.05 EUR"
    with pytest.raises(PromotionRefused, match=said):
        shop.promoting.promote("bold", "ann")
    (guard,) = shop.promoting.evidence("bold").guards
    assert (guard.margin, guard.unit) == (5, "EUR")
    # Bread costs 30 cents more than apples, and is shown half a time more often.
    assert guard.low < 15 < guard.high
    rules = PromotionRules.model_validate({"guards": guards | {"cost": "1.00 USD"}})
    gathering = Gathering(database, shop.specs, rules, Protection(), EveryoneAlone())
    promoting = Promoting(database, clock, "calm", shop.specs, rules, gathering)
    assert "arms that were drawn cost EUR" in " ".join(promoting.evidence("bold").reasons)


def test_less_margin_is_refused_by_its_guard(database: Database, clock: SimulatedClock) -> None:
    margin = {"property": "margin", "largest": "5.00 EUR", "most": "0.20 EUR"}
    shop = Shop(database, clock, guards={"complaints": None, "opt_outs": None, "margin": margin})
    # Bread brings 2 euros less than apples, of which more than 5 count as 5; and it costs 30 cents more.
    shop.live(150, GOOD_BREAD, brings={"show/apples": 50.0, "show/bread": 3.0})
    shop.watch.run(asked=True)
    with pytest.raises(PromotionRefused, match="the guard margin is not kept"):
        shop.promoting.promote("bold", "ann")
    (guard,) = shop.promoting.evidence("bold").guards
    assert guard.low < 0.5 * 230 < guard.high
    assert guard.low > 20


def test_around_a_recall_all_arms_are_left_out_alike(database: Database, clock: SimulatedClock) -> None:
    shop = Shop(database, clock)
    shop.live(40, GOOD_BREAD)
    shop.live(30, GOOD_BREAD)
    shop.watch.run(asked=True)
    with database.read() as connection:
        drawn = repository.rounds(connection, "bold", "calm", None, None)
    last = drawn[-1]
    assert shop.promoting.evidence("bold").rounds == 70
    mark = NewFact(Kind.RECALL, last.decision_id, "show", last.user_id, clock.now(), {"why": "wrong price"})

    database.write(lambda c: ledger.append(c, [mark], clock.now()))
    found = shop.promoting.evidence("bold")
    # All who could have drawn it at that moment, whatever they drew.
    assert found.rounds == 40
    assert "30 decisions that could have drawn what was recalled were left out" in " ".join(found.doubts)


def test_what_speaks_against_the_decisions_is_named(database: Database, clock: SimulatedClock) -> None:
    shop = Shop(database, clock)
    shop.live(150, GOOD_BREAD)
    shop.watch.run(asked=True)
    assert shop.promoting.evidence("bold").promote
    alert = {
        "source": "web",
        "name": "order_completed",
        "what": SILENCE,
        "alert_id": new_id(clock.now()),
        "since": clock.now(),
        "opened_at": clock.now(),
        "expected": 9.0,
        "seen": 0,
        "resumed_at": None,
        "names": '["order_completed"]',
    }
    database.write(lambda c: c.execute(open_alerts.insert(), alert))
    with pytest.raises(PromotionRefused, match="feed of 'order_completed' has been silent since"):
        shop.promoting.promote("bold", "ann")
    database.write(lambda c: c.execute(open_alerts.delete()))
    # Arms came up otherwise than their propensities promise.
    shop.live(300, GOOD_BREAD, drawn=0.3)
    shop.watch.run(asked=True)
    with pytest.raises(PromotionRefused, match="the propensities do not fit the log"):
        shop.promoting.promote("bold", "ann")


def test_what_is_no_draw_of_a_policy_is_not_shadowed(database: Database, clock: SimulatedClock) -> None:
    shop = Shop(database, clock)
    shop.live(2, ALIKE, fallback="policy_broken")
    shop.live(2, ALIKE, test=True)
    shop.live(2, ALIKE, holdout=("universal",))
    assert shop.watch.run(asked=True)["vectors"] == 0
    shop.live(1, ALIKE)
    assert shop.watch.run(asked=True)["vectors"] == 2
    assert shop.watch.run(asked=True)["vectors"] == 0
    with database.read() as connection:
        (one,) = repository.rounds(connection, "bold", "calm", None, None)
    assert np.frombuffer(one.vector).tolist() == pytest.approx([0.2, 0.8, 0.0])
    place = next(one for one in PLACES if one.name == "shadow_rounds")
    assert isinstance(place, Rows)
    whom = Erasing(one.user_id, "erased", clock.now())
    assert database.write(lambda c: place.erase(c, whom, 100)) == 2
    assert database.write(lambda c: place.erase(c, whom, 100)) == 0


def test_of_two_who_change_the_charge_one_is_refused(database: Database, clock: SimulatedClock) -> None:
    shop = Shop(database, clock)
    first = Charge("calm", 1, "bold", "calm", clock.now(), "promoted", new_id(clock.now()))
    database.write(lambda c: repository.take_charge(c, first))
    with pytest.raises(ChargeTaken, match="changed meanwhile"):
        database.write(lambda c: repository.take_charge(c, first))
    with database.read() as connection:
        assert repository.in_charge(connection, "calm", shop.specs) == "bold"
        # A policy whose file is gone is not in charge.
        assert repository.in_charge(connection, "calm", ["calm"]) == "calm"
    del shop.specs["bold"]
    shop.promoting.leave_gone()
    charge = shop.promoting.charge()
    assert (charge.policy, charge.how) == ("calm", "gone")
    assert MACHINE != "folder"
