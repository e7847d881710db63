"""Lint: what is right in its form and hardly meant, one module a concept.

`lint` looks at a library and says what it found, the worst first. What is wrong in its form is validation's
(`playbooks.library`), and refused.
"""

from __future__ import annotations

from playbooks.lint import (
    collisions,
    events,
    fallbacks,
    nobody,
    states,
    triggers,
    unused,
    variables,
    variants,
    wording,
)
from playbooks.lint.finding import ORDER, Code, Finding, Severity
from playbooks.lint.subject import Events, Subject, Users

__all__ = ["CODES", "Code", "Events", "Finding", "Severity", "Subject", "Users", "lint"]

_CONCEPTS = (triggers, nobody, variables, wording, events, states, variants, collisions, fallbacks, unused)
CODES: tuple[Code, ...] = tuple(code for concept in _CONCEPTS for code in concept.CODES)


def lint(subject: Subject) -> list[Finding]:
    """Return what lint finds in a library, the worst first, then by place."""
    found = [finding for concept in _CONCEPTS for finding in concept.find(subject)]
    return sorted(found, key=lambda one: (ORDER.index(one.severity), one.document, one.field, one.code))
