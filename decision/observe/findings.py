"""What `nextplay doctor` finds: one verdict for each thing it looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from decision.settings import Settings


class Verdict(StrEnum):
    """How a thing is; a service runs with warnings, and hardly with a failure."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """`said` is how a thing is; `todo`, empty when all is well, is what to do about it."""

    verdict: Verdict
    said: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined: the service of these settings; `url` where it runs if not there, `key` to ask it."""

    settings: Settings
    url: str | None = None
    key: str | None = None


# Looks at one thing and changes nothing. What it raises is a failure, in the words of the error.
Check = Callable[[Subject], Finding]


def ok(said: str) -> Finding:
    """All is well."""
    return Finding(Verdict.OK, said)


def warn(said: str, todo: str) -> Finding:
    """It works, but somebody should know."""
    return Finding(Verdict.WARN, said, todo)


def fail(said: str, todo: str) -> Finding:
    """It does not work."""
    return Finding(Verdict.FAIL, said, todo)
