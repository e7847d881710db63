"""What lint says: a finding has a code, a place, what is the matter and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How bad it is: an `error` can't be meant, a `warning` hardly, a `note` may well be."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


# The worst first.
ORDER = tuple(Severity)


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that lint found.

    `document` is what it is about, `playbooks/win_back` or `contents/hello`, `field` the place in it, ''
    where it is about the whole.
    """

    code: str
    severity: Severity
    document: str
    message: str
    advice: str
    field: str = ""

    @property
    def place(self) -> str:
        """Where it is, as text."""
        return f"{self.document}: {self.field}" if self.field else self.document

    @property
    def playbook(self) -> str | None:
        """The playbook it is about, if it is about one."""
        folder, _, name = self.document.partition("/")
        return name if folder == "playbooks" else None

    def __str__(self) -> str:
        return f"{self.severity.value} {self.code} {self.place}: {self.message}; {self.advice}"


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding: its name, how bad it is, and what it means in general."""

    name: str
    severity: Severity
    meaning: str

    def at(self, document: str, field: str, message: str, advice: str) -> Finding:
        """Return a finding of this kind."""
        return Finding(self.name, self.severity, document, message, advice, field)

    def in_playbook(self, playbook: str, field: str, message: str, advice: str) -> Finding:
        """Return a finding of this kind in a playbook."""
        return self.at(f"playbooks/{playbook}", field, message, advice)
