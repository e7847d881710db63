"""Who is right about a user: the owner of a trait, once it has spoken; what did not count is shown."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.errors import TraitError
from audiences.events import Event, EventBody
from audiences.identity.people import PersonsProfiles
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake, Outcome
from audiences.traits.definitions import read_owners
from audiences.traits.models import OVERRULED, Trait, effective, settle, source_of
from audiences.traits.service import Traits
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind
from tests.conftest import START

HOUR = timedelta(hours=1)
OWNERS = {"tier": "crm", "plan": "product"}


def identify(number: int, hours: int, source: str, user: str = "ann", **traits: Any) -> Event:
    at = START + hours * HOUR
    return Event(f"m{number}", user, "identify", traits, at, START, type="identify", source=source)


@pytest.fixture
def traits(database: Database) -> Traits:
    return Traits(database, OWNERS, PersonsProfiles())


@pytest.fixture
def intake(database: Database, traits: Traits) -> Intake:
    return Intake(database, identities=IdentityService(database), traits=traits)


def bodies(database: Database) -> dict[str, EventBody]:
    with database.read() as connection:
        facts = ledger.read_after(connection, 0, kind=Kind.EVENT)
    return {fact.id: fact.decode(EventBody) for fact in facts}


def latest(database: Database, name: str) -> Any:
    """Return what whoever takes the latest identify event takes for a trait."""
    with database.read() as connection:
        facts = ledger.read_after(connection, 0, kind=Kind.EVENT)
    told = [(fact.occurred_at, fact.decode(EventBody).properties) for fact in facts]
    return max((at, said[name]) for at, said in told if name in said)[1]


def test_the_owner_counts_and_the_others_are_shown(
    intake: Intake, traits: Traits, database: Database
) -> None:
    intake.take([identify(1, 1, "crm.acme", tier="gold"), identify(2, 2, "key", tier="free", city="Bonn")])
    shown = traits.of("ann")
    assert (shown["tier"]["value"], shown["tier"]["source"], shown["tier"]["owner"]) == (
        "gold",
        "crm.acme",
        "crm",
    )
    assert [(one["value"], one["source"]) for one in shown["tier"]["overruled"]] == [("free", "product")]
    assert (shown["city"]["value"], shown["city"]["owner"]) == ("Bonn", None)
    second = bodies(database)["m2"]
    assert (second.properties, second.context[OVERRULED]) == ({"city": "Bonn"}, {"tier": "free"})


def test_before_the_owner_spoke_others_count(intake: Intake, traits: Traits, database: Database) -> None:
    intake.take([identify(1, 5, "key", tier="free")])
    assert traits.of("ann")["tier"]["value"] == "free"
    assert latest(database, "tier") == "free"
    intake.take([identify(2, 3, "crm.acme", tier="gold")])
    assert traits.of("ann")["tier"]["value"] == "gold"
    assert latest(database, "tier") == "gold"


@pytest.mark.parametrize("together", [True, False])
def test_whatever_the_order_the_same_counts(database: Database, together: bool) -> None:
    told = [("crm.acme", 1, "silver"), ("crm.acme", 3, "gold"), ("key", 4, "free"), ("key", 2, "basic")]
    traits = Traits(database, OWNERS)
    intake = Intake(database, traits=traits)
    for number, order in enumerate(permutations(told)):
        user = f"user-{number}"
        events = [
            identify(4 * number + place, hours, source, user, tier=value)
            for place, (source, hours, value) in enumerate(order)
        ]
        for share in [events] if together else [[one] for one in events]:
            intake.take(share)
        assert traits.of(user)["tier"]["value"] == "gold"


def test_an_overruled_message_sent_again_is_a_duplicate(intake: Intake) -> None:
    message = identify(2, 2, "key", tier="free", city="Bonn")
    intake.take([identify(1, 1, "crm.acme", tier="gold"), message])
    assert [one.outcome for one in intake.take([message])] == [Outcome.DUPLICATE]
    other = identify(2, 2, "key", tier="basic", city="Bonn")
    assert [one.outcome for one in intake.take([other])] == [Outcome.CONFLICT]


def test_one_persons_profiles_are_settled_together(
    intake: Intake, traits: Traits, database: Database
) -> None:
    intake.take([identify(1, 1, "crm.acme", "crm-7", tier="gold")])
    alias = Event("m2", "ann", "alias", {}, START, START, type="alias", previous_id="crm-7")
    intake.take([alias, identify(3, 2, "key", tier="free")])
    assert traits.of("ann")["tier"]["value"] == "gold"
    assert bodies(database)["m3"].properties == {}


def test_history_that_is_imported_is_a_source_of_its_own(intake: Intake, traits: Traits) -> None:
    intake.take([identify(1, 1, "key", city="Bonn")], past=True)
    assert traits.of("ann")["city"]["source"] == "import"
    assert (source_of("form.a", past=False), source_of("crmx", past=False)) == ("form.a", "product")


def test_what_a_sender_calls_overruled_does_no_harm(intake: Intake) -> None:
    event = Event("m1", "ann", "order", {"value": 1}, START, START, context={OVERRULED: ["x"]})
    assert [one.outcome for one in intake.take([event, event])] == [Outcome.RECORDED, Outcome.DUPLICATE]


words = st.lists(
    st.builds(
        Trait,
        st.just("ann"),
        st.just("tier"),
        st.integers(0, 3),
        st.sampled_from(["crm.a", "crm.b", "product", "form.x", "import"]),
        st.integers(0, 3).map(lambda hours: START + hours * HOUR),
    ),
    min_size=1,
    unique_by=lambda one: one.source,
)


@given(words, st.sampled_from([None, "crm", "crm.a", "product"]))
def test_the_owner_counts_whenever_it_spoke(told: list[Trait], owner: str | None) -> None:
    found = effective(told, owner)
    assert effective(told[::-1], owner) == found
    owned = [one for one in told if owner and (one.source == owner or one.source.startswith(owner + "."))]
    assert found in (owned or told)
    assert found.at == max(one.at for one in owned or told)


@given(words, st.sampled_from(["crm.a", "product", "import"]))
def test_nothing_is_lost_in_settling(told: list[Trait], source: str) -> None:
    said = {"tier": 9, "city": "Bonn"}
    result = settle(said, source, START, {"tier": told}, {"tier": "crm"})
    assert {**result.counted, **result.overruled} == said
    assert result.at >= START


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("traits: [{name: tier, owner: nobody}]", "an owner is crm, product, form, import"),
        ("traits: [{name: tier, owner: crm}, {name: tier, owner: form}]", "has two owners"),
        ("traits: [{name: plan, owner: crm}]", "has two owners"),
    ],
)
def test_a_wrong_definition_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "traits.yaml"
    path.write_text(text)
    with pytest.raises(TraitError, match=what):
        read_owners(path, {"plan": "product"})
    path.unlink()
    assert read_owners(path, {"plan": "product"}) == {"plan": "product"}
