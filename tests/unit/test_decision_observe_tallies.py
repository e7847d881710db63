"""What is counted without locks is shown as the library's own metrics show it."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder

from decision.observe.tallies import Counts, Spreads

BOUNDS = (0.001, 0.0025, 1.0, 10.0)
# On a bound, between two, below all, above all, and none at all.
SECONDS = (0.001, 0.0025, 0.5, 0.0, 11.0, 0.0026)


def shown(registry: CollectorRegistry) -> list[str]:
    """What is scraped in both formats, but for when things were counted first."""
    encoders = [choose_encoder(accepted)[0] for accepted in ("text/plain", "application/openmetrics-text")]
    texts = [encode(registry).decode() for encode in encoders]
    assert texts[0] != texts[1]
    return [re.sub(r"(_created\{.*\}) .*", r"\1", text) for text in texts]


def test_they_are_shown_as_the_librarys_own_are() -> None:
    own, ours = CollectorRegistry(), CollectorRegistry()
    counter = Counter("things", "Things.", ("kind", "size"), registry=own)
    histogram = Histogram("thing_seconds", "Seconds.", ("kind",), buckets=BOUNDS, registry=own)
    counts, spreads = (
        Counts("things", "Things.", ("kind", "size")),
        Spreads("thing_seconds", "Seconds.", ("kind",), BOUNDS),
    )
    for tally in (counts, spreads):
        ours.register(tally)
    assert shown(ours) == shown(own)
    for kind, size, seconds in zip("abcaba", "112211", SECONDS, strict=True):
        counter.labels(kind, size).inc()
        histogram.labels(kind).observe(seconds)
        counts.of(kind, size).number += 1
        spreads.of(kind).observe(seconds)
    assert shown(ours) == shown(own)
    assert 'thing_seconds_bucket{kind="a",le="0.001"} 2.0' in shown(ours)[0]


def test_when_something_was_counted_first_is_kept() -> None:
    counts, spreads = Counts("things", "Things.", ("kind",)), Spreads("s", "Seconds.", ("kind",), BOUNDS)
    assert counts.of("a") is counts.of("a")
    assert spreads.of("a") is spreads.of("a")
    assert spreads.of("a") is not spreads.of("b")
