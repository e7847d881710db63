"""Self-protection: from which rates on a playbook or a channel pauses itself (`protection.yaml`); pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import msgspec
from pydantic import Field

from playbooks.document import Document

Share = Annotated[float, Field(gt=0, lt=1)]


class Protection(Document):
    """Thresholds for what goes out, over the latest `window`; one that is null stops nothing.

    `success` is the share of messages that a provider took and did not give back, at least; `reach` that of
    sent ones which it says arrived, at least, where it says so of any; `complaints` and `opt_outs` are shares
    of sent ones, at most.
    A rate counts once there are `sample` messages, and only if chance is ruled out: the bound of its
    one-sided interval is past the threshold, which holds by chance once in 1 / (1 - `confidence`) looks.
    `complaint_events` are events by which providers, or backends, tell of a complaint; one counts, like an
    opt-out, for the last message that its user was sent within `attribution`.
    """

    window: Annotated[timedelta, Field(ge=timedelta(minutes=10), le=timedelta(days=30))] = timedelta(days=1)
    sample: int = Field(default=200, ge=5, le=1_000_000)
    confidence: float = Field(default=0.999, ge=0.9, le=0.999999)
    success: Share | None = 0.8
    reach: Share | None = 0.5
    complaints: Share | None = 0.003
    opt_outs: Share | None = 0.03
    complaint_events: list[Annotated[str, Field(min_length=1, max_length=200)]] = [
        "email_complained",
        "complained",
    ]
    attribution: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=30))] = timedelta(days=3)


class Outcomes(msgspec.Struct, frozen=True):
    """What became of messages; no provider took `failed` ones, all others are among those sent.

    `returned` are those that came back: bounced, or failed after all.
    """

    sent: int = 0
    failed: int = 0
    delivered: int = 0
    complaints: int = 0
    opt_outs: int = 0
    returned: int = 0


class Breach(msgspec.Struct, frozen=True):
    """A rate past its threshold: `hits` of `of`, at least `bound` of them for sure."""

    rate: str
    hits: int
    of: int
    bound: float
    threshold: float

    def __str__(self) -> str:
        return (
            f"{self.rate}: {self.hits} of {self.of}, for sure at least {100 * self.bound:.3g} %, "
            f"above {100 * self.threshold:.3g} %"
        )


def breaches(protection: Protection, seen: Outcomes) -> Iterator[Breach]:
    """Yield the rates that are past their thresholds."""
    looks: list[tuple[str, int, int, float | None]] = [
        (
            "not taken by a provider, or returned",
            seen.failed + seen.returned,
            seen.sent + seen.failed,
            _most(protection.success),
        ),
        ("complaints", seen.complaints, seen.sent, protection.complaints),
        ("opt-outs", seen.opt_outs, seen.sent, protection.opt_outs),
    ]
    if seen.delivered:
        missing = max(0, seen.sent - seen.delivered)
        looks.append(("not known to have arrived", missing, seen.sent, _most(protection.reach)))
    for rate, hits, of, threshold in looks:
        if threshold is None or of < protection.sample:
            continue
        bound = lower_bound(min(hits, of), of, protection.confidence)
        if bound > threshold:
            yield Breach(rate, hits, of, bound, threshold)


def _most(least: float | None) -> float | None:
    """Return the share that may be otherwise where so much has to be so."""
    return None if least is None else 1 - least


def lower_bound(hits: int, of: int, confidence: float) -> float:
    """Return the lower end of the one-sided interval of a share (Clopper and Pearson 1934).

    >>> round(lower_bound(10, 100, 0.95), 4)
    0.0553
    >>> lower_bound(0, 100, 0.95)
    0.0
    """
    from scipy.special import betaincinv  # noqa: PLC0415 - SciPy, for the process that looks

    return 0.0 if hits == 0 else float(betaincinv(hits, of - hits + 1, 1 - confidence))
