"""A real service, in a process of its own, driven over HTTP; the clock is moved, not waited for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

import feature_repo.specs
from decision.demo.run import LIBRARY
from delivery.sandbox.running import TOKEN, Sandbox, running
from playbooks.library.templates import files_with
from tests.acceptance.driver import Running
from tests.launching import running_service

SHIPPED = Path(feature_repo.specs.__file__).parent
WINDOWS = """
countries: {feature: country, fallback: DE}
windows:
  - {id: waking_hours, quiet: ["21:00-08:00"]}
  - {id: no_holidays, holidays: user, outside: reschedule, at: "10:00"}
rules:
  - {window: waking_hours}
  - {window: no_holidays, channels: [mailbox]}
"""
CHANNELS = """
channels:
  - {{id: mailbox, kind: mailbox}}
  - {{id: app, kind: inbox}}
  - id: push
    kind: push_gateway
    settings:
      url: {url}/push/messages
      auth: {{bearer: carrier}}
      request: {{to: "{{address}}", title: "{{subject}}", text: "{{body}}"}}
      answer: {{id: id, error: error}}
  - id: sms
    kind: twilio
    settings:
      url: {url}
      account_sid: AC00000000000000000000000000000000
      auth_token: carrier
      sender: "+15005550006"
"""
TRIGGERS = """
  - id: browsed_a
    name: Looked at product A, no order for three days
    when:
      event: product_viewed
      where: event.product = 'A'
      unless: {event: order_completed, after: P3D}
    tag: {tag: browsed_a_no_order, expires_after: P30D}
  - id: considers_a
    name: Came among those who browsed A
    when: {entered: considering_a}
"""
EVENING = """
id: evening
name: Eight in the evening
trigger: considers_a
audience: considering_a
placement: outbound
priority: 60
goal: {event: coupon_redeemed, window: P3D, value: 1}
variants:
  - {offer: evening_coupon, channel: sms, content: evening_notice}
flow:
  start: evening
  states:
    evening: {kind: wait, until_time: "20:00", next: give}
    give: {kind: issue, next: tell}
    tell: {kind: send, next: show}
    show: {kind: send, channel: app, next: look}
    look: {kind: wait_for_event, event: coupon_redeemed, timeout: P2D, on_event: used, on_timeout: over}
    used: {kind: tag, tag: used_coupon, next: bought}
    bought: {kind: tag, tag: bought_A, next: reached}
    reached: {kind: goal, next: done}
    done: {kind: end, result: used}
    over: {kind: end, result: expired}
"""
# What a cent takes from a variant's value in the shop.
A_CENT = 0.00001
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def tell_where_users_live(library: Path) -> None:
    """Let identities say zone and country, and decisions read both."""
    events = (
        (SHIPPED / "events.yaml")
        .read_text()
        .replace("  identify:\n", "  identify:\n    zone: text\n    country: text\n")
    )
    (library / "events.yaml").write_text(events)
    features = (SHIPPED / "aggregates.yaml").read_text() + "\n"
    lives = "  user_lives:\n    entity: user\n    event: identify\n    features:\n" + "".join(
        f"      - {{name: {name}, function: last, column: {name}}}\n" for name in ("zone", "country")
    )
    features = features.replace("\nservices:", f"\n{lives}\nservices:")
    for service in ("audience_rules", "decide"):
        features = features.replace(f"  {service}: [", f"  {service}: [user_lives, ")
    (library / "aggregates.yaml").write_text(features)


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all stories; each story has users of its own."""
    data = tmp_path_factory.mktemp("service")
    shutil.copytree(LIBRARY, data / "library")
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


@pytest.fixture(scope="package")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for the stories of its operators: it knows zones and countries, and keeps quiet hours."""
    data = tmp_path_factory.mktemp("operated")
    library = data / "library"
    shutil.copytree(LIBRARY, library)
    tell_where_users_live(library)
    (library / "triggers.yaml").write_text("zones: {feature: zone, fallback: Europe/Berlin}\ntriggers: []\n")
    (library / "windows.yaml").write_text(WINDOWS)
    (library / "protection.yaml").write_text("{sample: 8, complaints: 0.2, opt_outs: 0.3}\n")
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


@pytest.fixture
def user() -> str:
    """The id of a user nobody else has."""
    return f"user-{uuid4().hex[:12]}"


@pytest.fixture(scope="package")
def provider() -> Iterator[Sandbox]:
    """What takes messages on this machine, as providers of SMS and push do."""
    with running() as sandbox:
        yield sandbox


@pytest.fixture(scope="package")
def shop(provider: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A shop that reaches its customers by push and SMS; where they don't say so they live in New York.

    It took the template of the two-hour coupon, and has a plan for those who browse.
    """
    data = tmp_path_factory.mktemp("shop")
    library = data / "library"
    shutil.copytree(LIBRARY, library)
    tell_where_users_live(library)
    with (library / "events.yaml").open("a") as events:
        events.write("\n  product_viewed:\n    product: text\n")
    texts, _ = files_with(library, "cart_reminder", "cart_reminder")
    for path, text in texts.items():
        path.write_text(text)

    def edit(name: str, old: str, new: str) -> None:
        text = (library / name).read_text()
        assert old in text, (name, old)
        (library / name).write_text(text.replace(old, new))

    edit("playbooks/cart_reminder.yaml", "channel: mailbox", "channel: push")
    edit("playbooks/cart_reminder.yaml", "content: cart_again", f"channel: sms\n{' ' * 6}content: cart_again")
    edit("contents.yaml", "the coupon in your wallet is good", "your coupon {{ coupon.code }} is good")
    policy = library / "policy.yaml"
    policy.write_text(policy.read_text() + f"costs: {{EUR: {A_CENT}}}\n")
    with (library / "triggers.yaml").open("a") as triggers:
        triggers.write(TRIGGERS)
    edit("triggers.yaml", "triggers:", "zones: {feature: zone, fallback: America/New_York}\ntriggers:")
    edit(
        "audiences.yaml",
        "audiences:",
        "audiences:\n  - {id: considering_a, name: Browsed A, rule: tag('browsed_a_no_order')}",
    )
    with (library / "offers.yaml").open("a") as offers:
        offers.write("\n- {id: evening_coupon, name: Five off A, kind: fixed_amount, value: 5.00 EUR}\n")
    with (library / "contents.yaml").open("a") as contents:
        contents.write('\n- {id: evening_notice, subject: A, body: "{{ offer.name }}: {{ coupon.code }}"}\n')
    (library / "playbooks" / "evening.yaml").write_text(EVENING)
    (library / "channels.yaml").write_text(CHANNELS.format(url=provider.url))
    secrets = json.dumps({"carrier": TOKEN})
    (data / "settings.env").write_text(f"NEXTPLAY_CHANNEL_SECRETS={secrets}\n")
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)
