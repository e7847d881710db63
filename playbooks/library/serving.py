"""The library that decisions are made from: immutable, swapped as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b

from playbooks.models import Arm, Content, Playbook
from playbooks.offers import Offer


@dataclass(frozen=True)
class PublishedPlaybook:
    """One immutable version of a playbook with its arms expanded, and the offers and contents it used."""

    document: Playbook
    version: int
    arms: tuple[Arm, ...]
    offers: Mapping[str, Offer] = field(default_factory=dict)
    contents: Mapping[str, Content] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.document.id

    @cached_property
    def fingerprint(self) -> bytes:
        """Equal for equal content."""
        digest = blake2b(f"{self.id}:{self.version};".encode(), digest_size=8)
        digest.update(repr(self.arms).encode())
        for content in self.contents.values():
            digest.update(content.model_dump_json().encode())
        return digest.digest()


@dataclass(frozen=True)
class Library:
    """Everything that is live, of one version; playbooks in the order of their ids."""

    playbooks: tuple[PublishedPlaybook, ...]

    @cached_property
    def version(self) -> str:
        """A fingerprint of the content: equal libraries have equal versions."""
        return blake2b(b"".join(one.fingerprint for one in self.playbooks), digest_size=8).hexdigest()

    @cached_property
    def _by_placement(self) -> Mapping[str, Sequence[PublishedPlaybook]]:
        result: dict[str, list[PublishedPlaybook]] = {}
        for playbook in self.playbooks:
            result.setdefault(playbook.document.placement, []).append(playbook)
        return result

    @property
    def placements(self) -> list[str]:
        """Names of all placements that some playbook serves."""
        return sorted(self._by_placement)

    def at(self, placement: str) -> Sequence[PublishedPlaybook]:
        """Return the playbooks that serve a placement, in the order of their ids."""
        return self._by_placement.get(placement, ())

    def get(self, playbook: str) -> PublishedPlaybook:
        """Return a playbook by its id; KeyError when it is not live."""
        return self._by_id[playbook]

    @cached_property
    def _by_id(self) -> Mapping[str, PublishedPlaybook]:
        return {playbook.id: playbook for playbook in self.playbooks}

    @cached_property
    def arms(self) -> Mapping[str, Arm]:
        """All arms by id."""
        return {arm.id: arm for playbook in self.playbooks for arm in playbook.arms}

    @cached_property
    def offers(self) -> Mapping[str, Offer]:
        """All offers by id, each as the last playbook that uses it knows it."""
        return {name: offer for playbook in self.playbooks for name, offer in playbook.offers.items()}

    @cached_property
    def contents(self) -> Mapping[str, Content]:
        """All contents by id, each as the last playbook that uses it knows it."""
        return {name: one for playbook in self.playbooks for name, one in playbook.contents.items()}
