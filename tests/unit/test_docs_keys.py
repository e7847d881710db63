"""docs/how-to/keys.md says how large bodies may be as they are counted."""

from __future__ import annotations

from pathlib import Path

from decision.body_limit import DEFAULT_LIMIT, LIMITS

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "keys.md"


def test_the_sizes_of_bodies_are_those_that_are_counted() -> None:
    decide, event, batch = (LIMITS[f"/v1/{one}"] // 1024 for one in ("decide", "track", "batch"))
    said = f"{decide} KiB to decide, {event} KiB for an event, {batch} KiB for a batch, "
    assert f"{said}{DEFAULT_LIMIT // 1024**2} MiB for most others" in PAGE.read_text(encoding="utf-8")
