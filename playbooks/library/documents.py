"""A library as it is written: playbooks with the offers and contents they speak of, before versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from playbooks.constraints.documents import Constraint
from playbooks.constraints.rulebook import Rulebook
from playbooks.content.blocks import with_blocks
from playbooks.content.documents import Content
from playbooks.content.sent import contents_of
from playbooks.document import Document
from playbooks.library.grid import expand, used_offers
from playbooks.library.serving import Library, PublishedPlaybook
from playbooks.library.values import with_values
from playbooks.models import Arm, Playbook
from playbooks.offers import Offer
from playbooks.windows import Windows


class VersionBody(Document):
    """What is kept of a version: the playbook with the offers and contents it used, blocks among them."""

    playbook: Playbook
    offers: list[Offer]
    contents: list[Content]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms, expanded."""
        return expand(self.playbook, self.offers_by_id)

    @property
    def offers_by_id(self) -> Mapping[str, Offer]:
        """The offers by id, those among them that variants make by giving values."""
        return with_values(self.playbook, {offer.id: offer for offer in self.offers})

    def means(self, other: VersionBody) -> bool:
        """Whether another version says the same, in whatever order its offers and contents are listed."""
        return self.playbook == other.playbook and all(
            {one.id: one for one in mine} == {one.id: one for one in theirs}
            for mine, theirs in ((self.offers, other.offers), (self.contents, other.contents))
        )

    def published(self, version: int) -> PublishedPlaybook:
        """Return it as it is served under a version number."""
        contents = {content.id: content for content in self.contents}
        return PublishedPlaybook(self.playbook, version, self.arms, self.offers_by_id, contents)


@dataclass(frozen=True)
class Draft:
    """A library as read from files, before its playbooks were given versions.

    `windows` and `constraints`, the rules for all playbooks, are None where nothing is said of them: then
    those that were kept go on to hold. Constraints may name what is in the draft `beside` too.
    """

    playbooks: tuple[Playbook, ...]
    offers: Mapping[str, Offer]
    contents: Mapping[str, Content]
    windows: Windows | None = None
    constraints: tuple[Constraint, ...] | None = None
    beside: Draft | None = None

    def body(self, playbook: Playbook) -> VersionBody:
        """Return what a version of a playbook consists of."""
        wanted = with_blocks(contents_of(playbook), self.contents)
        return VersionBody(
            playbook=playbook,
            offers=used_offers(playbook, self.offers),
            contents=[content for content in self.contents.values() if content.id in wanted],
        )

    def publish(self, versions: Mapping[str, int]) -> Library:
        """Return the library in which each playbook carries the version given for its id."""
        return Library(
            tuple(self.body(one).published(versions[one.id]) for one in self.playbooks),
            rules=Rulebook(self.constraints or (), 1 if self.constraints else 0),
        )
