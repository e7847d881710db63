"""The library that decisions are made from: immutable, swapped as a whole.

While a playbook has a pilot beside its live version, both are in it; each user is served by one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b

from playbooks.constraints.rulebook import Rulebook
from playbooks.content.documents import Content
from playbooks.library.trials import Trial
from playbooks.lineup import Lineup
from playbooks.models import Arm, Playbook
from playbooks.offers import Offer, terms_of
from playbooks.offers import Terms as OfferTerms

# Combinations of playbooks that are kept; there are as many as audiences overlap.
_KEPT = 1_000


@dataclass(frozen=True)
class PublishedPlaybook:
    """One immutable version of a playbook with its arms expanded, and the offers and contents it used.

    `trial` is the pilot it runs as, `without` the pilot of a newer version, whose users it leaves to that.
    """

    document: Playbook
    version: int
    arms: tuple[Arm, ...]
    offers: Mapping[str, Offer] = field(default_factory=dict)
    contents: Mapping[str, Content] = field(default_factory=dict)
    trial: Trial | None = None
    without: Trial | None = None

    @property
    def id(self) -> str:
        return self.document.id

    @cached_property
    def key(self) -> str:
        """The version by its name, `playbook@version`."""
        return f"{self.document.id}@{self.version}"

    def serves(self, user_id: str, audiences: Set[str]) -> bool:
        """Whether this version is the one for a user, as far as pilots go."""
        if self.trial is not None:
            return self.trial.takes(user_id, audiences)
        return self.without is None or not self.without.takes(user_id, audiences)

    def arm(self, arm: str) -> Arm:
        """Return an arm by its id; KeyError when this version has none of it."""
        return self._by_arm[arm]

    @cached_property
    def terms(self) -> Mapping[str, OfferTerms]:
        """The terms of each offer, by its id."""
        return {name: terms_of(offer) for name, offer in self.offers.items()}

    @cached_property
    def _by_arm(self) -> Mapping[str, Arm]:
        return {arm.id: arm for arm in self.arms}

    @cached_property
    def fingerprint(self) -> bytes:
        """Equal for equal content."""
        digest = blake2b(f"{self.id}:{self.version};".encode(), digest_size=8)
        digest.update(repr((self.trial, self.without)).encode())
        digest.update(repr(self.arms).encode())
        for content in self.contents.values():
            digest.update(content.model_dump_json().encode())
        return digest.digest()


@dataclass(frozen=True)
class Library:
    """Everything that is served, of one version; playbooks in the order of their ids and versions.

    `idle` are placements that are asked about also while nothing is served there, `rules` the constraints.
    """

    playbooks: tuple[PublishedPlaybook, ...]
    idle: frozenset[str] = frozenset()
    rules: Rulebook = field(default_factory=Rulebook)

    @cached_property
    def version(self) -> str:
        """A fingerprint of the content: equal libraries have equal versions."""
        digest = blake2b(b"".join(one.fingerprint for one in self.playbooks), digest_size=8)
        if self.rules.version:
            digest.update(f"constraints@{self.rules.version}".encode())
        return digest.hexdigest()

    @cached_property
    def _lineups(self) -> dict[tuple[int, ...], Lineup]:
        return {}

    @cached_property
    def _by_placement(self) -> Mapping[str, Mapping[str | None, Sequence[int]]]:
        """Places of playbooks by placement and audience: deciding looks at those of the user's audiences."""
        result: dict[str, dict[str | None, list[int]]] = {}
        for place, playbook in enumerate(self.playbooks):
            document = playbook.document
            result.setdefault(document.placement, {}).setdefault(document.audience, []).append(place)
        return result

    @cached_property
    def placements(self) -> list[str]:
        """Names of all placements that may be asked about."""
        return sorted(self._by_placement.keys() | self.idle)

    def at(self, placement: str, audiences: Set[str]) -> Sequence[PublishedPlaybook]:
        """Return what serves a placement for a member of these audiences, in the order of the ids."""
        return self.lineup_at(placement, audiences).playbooks

    def lineup_at(self, placement: str, audiences: Set[str]) -> Lineup:
        """Return what serves a placement for a member of these audiences, as it is asked about."""
        of = self._by_placement.get(placement, {})
        places = [place for audience in (None, *audiences) for place in of.get(audience, ())]
        places.sort()
        return self._lineup(tuple(places))

    def lineup_of(self, playbooks: Sequence[PublishedPlaybook]) -> Lineup:
        """Return some of the library's playbooks as they are asked about."""
        return self._lineup(tuple([self._places[one.key] for one in playbooks]))

    def _lineup(self, places: tuple[int, ...]) -> Lineup:
        found = self._lineups.get(places)
        if found is None:
            if len(self._lineups) >= _KEPT:
                self._lineups.clear()
            found = Lineup([self.playbooks[place] for place in places], self.rules)
            self._lineups[places] = found
        return found

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {playbook.key: place for place, playbook in enumerate(self.playbooks)}

    def get(self, playbook: str, version: int) -> PublishedPlaybook:
        """Return a version of a playbook; KeyError when it is not served."""
        return self._by_key[playbook, version]

    def newest(self, playbook: str) -> PublishedPlaybook:
        """Return the newest version of a playbook that is served; KeyError when none is."""
        return self._newest[playbook]

    @cached_property
    def _newest(self) -> Mapping[str, PublishedPlaybook]:
        return {playbook.id: playbook for playbook in self.playbooks}

    @cached_property
    def _by_key(self) -> Mapping[tuple[str, int], PublishedPlaybook]:
        return {(playbook.id, playbook.version): playbook for playbook in self.playbooks}

    @cached_property
    def arms(self) -> Mapping[str, Arm]:
        """All arms by id; of two versions that are served, those of the newer one."""
        return {arm.id: arm for playbook in self.playbooks for arm in playbook.arms}

    @cached_property
    def offers(self) -> Mapping[str, Offer]:
        """All offers by id, each as the last playbook that uses it knows it."""
        return {name: offer for playbook in self.playbooks for name, offer in playbook.offers.items()}

    @cached_property
    def contents(self) -> Mapping[str, Content]:
        """All contents by id, each as the last playbook that uses it knows it."""
        return {name: one for playbook in self.playbooks for name, one in playbook.contents.items()}
