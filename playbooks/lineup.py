"""What is asked of playbooks side by side, worked out once for each combination of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from audiences.consent.models import Channel
from playbooks.constraints.binding import Terms
from playbooks.constraints.circumstances import Needs
from playbooks.constraints.rulebook import Rulebook
from playbooks.constraints.scoping import ALL, Arms

if TYPE_CHECKING:
    from playbooks.library.serving import PublishedPlaybook


@dataclass(frozen=True, slots=True)
class Side:
    """A playbook in a contest, and those of its arms that nothing stops; known by its version and these."""

    key: str
    arms: Arms
    playbook: PublishedPlaybook = field(compare=False)


class Lineup:
    """Versions of playbooks in the order of their ids, and what their terms come to together. Immutable.

    `sides` are theirs with all of their arms. `names` are the features that their rules read, `agreements`
    the consents and `events` the events that they ask for. `grouped`: some of them exclude each other;
    `tiring`: some cost more after other contacts; `promised` are those that a quota may lift. `plain`: each
    is for everybody, as far as pilots go.
    """

    __slots__ = (
        "_needs",
        "_timed",
        "agreements",
        "events",
        "grouped",
        "names",
        "plain",
        "playbooks",
        "promised",
        "sides",
        "terms",
        "tiring",
    )

    def __init__(self, playbooks: Sequence[PublishedPlaybook], rules: Rulebook) -> None:
        self.playbooks = tuple(playbooks)
        self.terms: tuple[Terms, ...] = tuple(rules.terms(one) for one in playbooks)
        self.sides = tuple(Side(one.key, ALL, one) for one in playbooks)
        self.plain = all(one.trial is None and one.without is None for one in playbooks)
        self.names = sorted({name for one in self.terms for name in one.names})
        asked: set[tuple[str, Channel]] = {
            (need.purpose, need.channel) for one in self.terms for need in one.agreements
        }
        self.agreements = sorted(asked)
        self.events = frozenset[str]().union(*(one.needs.events for one in self.terms))
        self.grouped = any(one.groups for one in self.terms)
        self.tiring = any(one.tiring for one in self.terms)
        self.promised = [
            (playbook, one)
            for playbook, one in zip(self.playbooks, self.terms, strict=True)
            if any(spending.minimum for spending in one.spends)
        ]
        self._needs = reduce(or_, (one.needs for one in self.terms), Needs())
        self._timed = [one for one in self.terms if one.counts_by_period]

    def needs_at(self, now: datetime) -> Needs:
        """Return what has to be known of a user, and of the budgets of the periods that it is now."""
        return reduce(or_, (one.needs_at(now) for one in self._timed), self._needs)
