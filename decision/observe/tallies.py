"""Metrics of what happens at every request, counted by the thread of the event loop alone.

Those of `prometheus_client` may be counted by any thread: their locks and checks cost as much as verifying a
key and reading a body together. These are shown as they are.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Count:
    """How often something happened; `number` is counted up by whoever sees it."""

    __slots__ = ("created", "number")

    def __init__(self) -> None:
        self.number, self.created = 0, time.time()


class Spread:
    """How many seconds things took: how many took no more than each bound, and their sum."""

    __slots__ = ("bounds", "buckets", "created", "seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.buckets = bounds, [0] * (len(bounds) + 1)
        self.seconds, self.created = 0.0, time.time()

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds


class Counts(Collector):
    """A counter by labels."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._counts: dict[tuple[str, ...], Count] = {}

    def of(self, *values: str) -> Count:
        """Return what is counted for values of the labels; to be kept, so that it is looked up once."""
        return self._counts.setdefault(values, Count())

    def collect(self) -> Iterable[Metric]:
        """Return the counter as it stands."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, one in self._counts.copy().items():
            family.add_metric(values, one.number, one.created)
        yield family


class Spreads(Collector):
    """A histogram of seconds by labels."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        """`bounds`: the most seconds of each bucket, ascending; above the last is one more."""
        self._name, self._documentation, self._labels, self._bounds = name, documentation, labels, bounds
        self._spreads: dict[tuple[str, ...], Spread] = {}

    def of(self, *values: str) -> Spread:
        """Return what is counted for values of the labels; to be kept, so that it is looked up once."""
        return self._spreads.setdefault(values, Spread(self._bounds))

    def collect(self) -> Iterable[Metric]:
        """Return the histogram as it stands."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        names = [*map(str, self._bounds), "+Inf"]
        for values, one in self._spreads.copy().items():
            family.add_metric(values, list(zip(names, accumulate(one.buckets), strict=True)), one.seconds)
            labels = dict(zip(self._labels, values, strict=True))
            family.add_sample(f"{self._name}_created", labels, one.created)
        yield family
