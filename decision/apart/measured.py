"""Metrics of two processes as those of one service: what both count is added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.registry import Collector

from decision.apart.messages import Family
from decision.observe import metrics
from decision.observe.standing import OF_JOBS, Standing

if TYPE_CHECKING:
    from decision.apart.supervisor import JobsApart
    from decision.wiring import Service

# Of the interpreter and its process, or of a scrape: each process has its own, they are not added up.
_NOT_SHARED = ("process_", "python_", "nextplay_scrape_")
_GAUGE = "gauge"


def measure(service: Service) -> list[Family]:
    """Return what the process of the jobs counted, and how its learner stands."""
    return [
        Family(
            one.name,
            one.documentation,
            one.type,
            [(sample.name, dict(sample.labels), sample.value) for sample in one.samples],
        )
        for one in (*metrics.REGISTRY.collect(), *Standing(service, OF_JOBS).collect())
        if not one.name.startswith(_NOT_SHARED)
    ]


class Together(Collector):
    """What this process counts, and what the process of the jobs does."""

    def __init__(self, jobs: JobsApart) -> None:
        self._jobs = jobs

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; those of the jobs as last told when their process does not answer."""
        theirs = {one.name: one for one in self._jobs.measured()}
        for metric in metrics.REGISTRY.collect():
            other = theirs.pop(metric.name, None)
            yield metric if other is None else _sum(metric, other)
        yield from map(_metric, theirs.values())
        yield from self._jobs_process()

    def _jobs_process(self) -> Iterator[Metric]:
        alive = Metric("nextplay_jobs_alive", "1 while the process of the jobs runs.", _GAUGE)
        alive.add_sample(alive.name, {}, float(self._jobs.is_alive))
        yield alive
        restarts = Metric(
            "nextplay_jobs_restarts", "Processes of the jobs that were lost and replaced.", "counter"
        )
        restarts.add_sample("nextplay_jobs_restarts_total", {}, float(self._jobs.restarts))
        yield restarts


def _sum(ours: Metric, theirs: Family) -> Metric:
    if ours.type == _GAUGE:
        # A moment, not a number of things: only one of the two runs the job that it is of.
        return _metric(theirs) if theirs.samples else ours
    values = {_key(name, labels): value for name, labels, value in theirs.samples}
    added = Metric(ours.name, ours.documentation, ours.type)
    for sample in ours.samples:
        other = values.pop(_key(sample.name, sample.labels), 0.0)
        # When a counter was made says nothing once two are one.
        value = sample.value if sample.name.endswith("_created") else sample.value + other
        added.add_sample(sample.name, sample.labels, value)
    for name, labels, value in theirs.samples:
        if _key(name, labels) in values:
            added.add_sample(name, labels, value)
    return added


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.documentation, family.type)
    for name, labels, value in family.samples:
        metric.add_sample(name, labels, value)
    return metric


def _key(name: str, labels: dict[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))
