"""Holdouts: shares of users, fixed by salted hashes, by whom it is measured what playbooks add; pure.

The universal holdout gets no promotional playbook; each playbook can hold out more. Whoever is held out is
decided for as all others are, and the decision says what from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from playbooks.draws import share_of
from playbooks.library import PublishedPlaybook
from playbooks.models import Playbook

# The rule of the universal holdout; that of a playbook carries its id.
UNIVERSAL = "holdout"
# A lower priority waits until no playbook of a higher one is left; the rule that says so in the log.
PRIORITY_RULE = "priority"

# Draws of their own, independent of pilots and of the draw of an arm.
_OF_ALL, _OF_ONE = b"holdout", b"holdout.playbook"


def holdout_rule(playbook: str) -> str:
    """Return the rule id under which a playbook's own holdout is reported."""
    return f"{UNIVERSAL}.{playbook}"


class Competing(NamedTuple):
    """The playbooks that compete, what stopped the others, and the holdouts among that."""

    playbooks: list[PublishedPlaybook]
    suppressed: dict[str, list[str]]
    holdouts: list[str]


def holdout_of(user_id: str, seed: str, universal: float) -> Callable[[Playbook], str | None]:
    """Return what tells by which rule a user is held out from a playbook, None where they are not.

    Args:
        universal: the share in [0, 1) of users who get no promotional playbook.
    """
    from_all = is_held_out(user_id, seed, universal)

    def rule(playbook: Playbook) -> str | None:
        if from_all and playbook.purpose == "promotional":
            return UNIVERSAL
        return holdout_rule(playbook.id) if is_held_out_from(playbook, user_id, seed) else None

    return rule


def is_held_out(user_id: str, seed: str, universal: float) -> bool:
    """Whether a user is in the universal holdout of this share."""
    return universal > 0 and share_of((seed, user_id), _OF_ALL) < universal


def is_held_out_from(playbook: Playbook, user_id: str, seed: str) -> bool:
    """Whether a user is in a playbook's own holdout."""
    return playbook.holdout > 0 and share_of((seed, playbook.id, user_id), _OF_ONE) < playbook.holdout


def competing(allowed: Sequence[PublishedPlaybook], held_out: Callable[[Playbook], str | None]) -> Competing:
    """Return the playbooks of the highest priority at which somebody is left who is not held out.

    A holdout is noted only where the playbook would have competed, so that the held out are like the others
    in all but that.
    """
    found = Competing([], {}, [])
    for priority in sorted({one.document.priority for one in allowed}, reverse=True):
        for one in allowed:
            if one.document.priority != priority:
                continue
            rule = PRIORITY_RULE if found.playbooks and _above(found, priority) else held_out(one.document)
            if rule is None:
                found.playbooks.append(one)
            else:
                found.suppressed.setdefault(rule, []).append(one.id)
    found.holdouts.extend(rule for rule in found.suppressed if rule != PRIORITY_RULE)
    return found


def _above(found: Competing, priority: int) -> bool:
    return found.playbooks[0].document.priority > priority
