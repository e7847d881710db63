"""Messages under way are stopped when what they say is over, on every database."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from decision.expiry_check import ExpiryCheck
from delivery.gate import Send
from delivery.models import Enrolment
from playbooks.content.documents import Content
from playbooks.library import Draft
from playbooks.offers import Offer
from playbooks.windows import Skip
from storage.clock import SimulatedClock
from storage.engine import Database
from tests.deciding import playbook
from tests.publishing import publish


def test_what_is_over_is_not_sent(database: Database, clock: SimulatedClock) -> None:
    over = clock.now() + timedelta(hours=1)
    contents = {
        "notice": Content(id="notice", subject="s", body="{% render 'foot' %}"),
        "foot": Content(id="foot", kind="block", body="Bye", valid_until=over),
    }
    draft = Draft(
        (playbook("spring"),), {"milk": Offer(id="milk", name="milk", attributes={"group": "g"})}, contents
    )
    library = database.write(lambda connection: publish(connection, draft, clock.now()))
    (served,) = library.playbooks
    run = Enrolment(
        id="run",
        user_id="ann",
        playbook=served.id,
        playbook_version=served.version,
        decision_id="run",
        arm=served.arms[0],
        state="x",
        entered_at=clock.now(),
        due_at=clock.now(),
    )
    sends = [
        Send("run:1", run, "mailbox", clock.now(), "notice"),
        Send("run:2", run, "webhook", clock.now()),
    ]
    check = ExpiryCheck()
    before = database.write(partial(check.rule, sends=sends, now=over - timedelta(microseconds=1)))
    assert before == [None, None]
    assert database.write(partial(check.rule, sends=sends, now=over)) == [Skip("expired.notice"), None]
