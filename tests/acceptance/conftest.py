"""A real service, in a process of its own, driven over HTTP; the clock is moved, not waited for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

import feature_repo.specs
from decision.demo.run import LIBRARY
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
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all stories; each story has users of its own."""
    data = tmp_path_factory.mktemp("service")
    shutil.copytree(LIBRARY, data / "library")
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


@pytest.fixture(scope="session")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for the stories of its operators: it knows zones and countries, and keeps quiet hours."""
    data = tmp_path_factory.mktemp("operated")
    library = data / "library"
    shutil.copytree(LIBRARY, library)
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
    (library / "triggers.yaml").write_text("zones: {feature: zone, fallback: Europe/Berlin}\ntriggers: []\n")
    (library / "windows.yaml").write_text(WINDOWS)
    (library / "protection.yaml").write_text("{sample: 8, complaints: 0.2, opt_outs: 0.3}\n")
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


@pytest.fixture
def user() -> str:
    """The id of a user nobody else has."""
    return f"user-{uuid4().hex[:12]}"
