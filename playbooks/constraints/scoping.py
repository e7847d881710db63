"""For which arms of a playbook a constraint holds, and to which groups a playbook belongs; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from playbooks.constraints.documents import Group, Scope, Scoped
from playbooks.models import Arm, Playbook
from playbooks.offers.naming import offer_id

# Every arm of the playbook.
ALL = None
Arms = frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Offered:
    """The arms of one version of a playbook, and the offers that its values were made from."""

    playbook: Playbook
    arms: Sequence[Arm]
    bases: Mapping[str, str]

    @classmethod
    def of(cls, playbook: Playbook, arms: Sequence[Arm]) -> Offered:
        """Return the arms of a playbook; an offer that was given a value is also known by its own name."""
        bases = {
            offer_id(variants.offer, value): variants.offer
            for variants in playbook.variants
            if variants.offer is not None
            for value in variants.all_values
        }
        return cls(playbook, arms, bases)

    def where(self, holds: Callable[[Arm], bool]) -> Arms:
        """Return the ids of the arms of which something holds, `ALL` where it holds of each."""
        found = frozenset(arm.id for arm in self.arms if holds(arm))
        return ALL if len(found) == len(self.arms) else found

    def held_by(self, constraint: Scoped) -> Arms:
        """Return the arms that a constraint holds for."""
        if constraint.for_ == constraint.exempt == _EVERYTHING:
            return ALL
        return self.where(lambda arm: self.covers(constraint, arm))

    def covers(self, constraint: Scoped, arm: Arm) -> bool:
        """Whether a constraint holds for an arm: all of its `for` fits, nothing of its `exempt`."""
        exempt = constraint.exempt.given.items()
        return self.fits(constraint.for_, arm) and not any(
            self._fits(field, names, arm) for field, names in exempt
        )

    def fits(self, scope: Scope, arm: Arm) -> bool:
        """Whether all that a scope gives fits an arm."""
        return all(self._fits(field, names, arm) for field, names in scope.given.items())

    def _fits(self, field: str, names: list[str], arm: Arm) -> bool:
        if field == "labels":
            return not set(names).isdisjoint(self.playbook.labels)
        if field == "offers":
            return arm.offer in names or self.bases.get(arm.offer) in names
        said = {"purposes": self.playbook.purpose, "playbooks": self.playbook.id, "channels": arm.channel}
        return said[field] in names


_EVERYTHING = Scope()


def groups_of(playbook: Playbook, groups: Iterable[Group]) -> list[str]:
    """Return the exclusive groups that a playbook belongs to, by itself or through others, by name."""
    listed = list(groups)
    mine = {one.id for one in listed if _is_member(playbook, one)}
    if playbook.exclusive_group is not None:
        mine.add(playbook.exclusive_group)
    while more := {one.id for one in listed if not mine.isdisjoint(one.groups)} - mine:
        mine |= more
    return sorted(mine)


def cycle_in(groups: Iterable[Group]) -> list[str]:
    """Return the names of groups that contain each other in a circle, first one last again; else nothing."""
    inside = {one.id: one.groups for one in groups}

    def follow(path: list[str]) -> list[str]:
        for name in inside.get(path[-1], ()):
            if name in path:
                return [*path[path.index(name) :], name]
            if found := follow([*path, name]):
                return found
        return []

    return next((found for name in inside if (found := follow([name]))), [])


def _is_member(playbook: Playbook, group: Group) -> bool:
    return playbook.id in group.playbooks or not set(group.labels).isdisjoint(playbook.labels)
