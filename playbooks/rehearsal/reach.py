"""How far a playbook reaches in a crowd: who is left for it, and who was stopped by which rule. Exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from playbooks.library import PublishedPlaybook
from playbooks.rehearsal.asking import Answer, Member
from playbooks.rehearsal.crowd import Mask
from playbooks.rehearsal.groups import Groups


@dataclass(frozen=True)
class Reach:
    """Numbers of users; `audience` are those whom the playbook is for.

    `stopped` are those of whom a rule stopped all that was left of it, each counted once; `partly` those of
    whom it stopped some arms. `elsewhere` are served by another version of the playbook. `left` are all
    others, `is_left` says who, `arms` for how many of them each arm competes; `cost` and `liability` are what
    it comes to if everybody gets the dearest arm.
    """

    audience: int
    stopped: Mapping[str, int]
    partly: Mapping[str, int]
    elsewhere: int
    left: int
    is_left: Mask
    arms: Mapping[str, int]
    cost: int
    liability: int


class Stops:
    """What rules stopped of one playbook, for one user."""

    def __init__(self, playbook: str, suppressed: Mapping[str, Sequence[str]]) -> None:
        """Look for the playbook, by its id, in what rules stopped: playbooks, or single arms."""
        self.whole: str | None = None
        self.partly: list[str] = []
        for rule, names in suppressed.items():
            if playbook in names:
                self.whole = rule
            elif any(name.partition("/")[0] == playbook for name in names):
                self.partly.append(rule)

    @property
    def all(self) -> list[str]:
        """The rules that stopped anything of it."""
        return [*self.partly, *([self.whole] if self.whole else [])]

    @property
    def last(self) -> str | None:
        """The rule after which nothing was left, given that nothing is; None where none stopped anything."""
        return self.whole or (self.partly[-1] if self.partly else None)


def reach_of(
    playbook: PublishedPlaybook,
    audience: Mask,
    groups: Groups,
    members: Sequence[Member],
    answers: Sequence[Answer],
) -> Reach:
    """Return how far a playbook reaches.

    Args:
        audience: which users of the crowd it is for, shape (users,).
        members: one user of each group.
        answers: matching's of these.
    """
    own = {arm.id: arm for arm in playbook.arms}
    sizes = np.bincount(groups.of[audience], minlength=len(groups.sizes))
    left = np.zeros(len(groups.sizes), dtype=np.bool_)
    stopped: dict[str, int] = {}
    partly: dict[str, int] = {}
    arms = dict.fromkeys(own, 0)
    elsewhere = cost = liability = 0
    for group in np.flatnonzero(sizes).tolist():
        users = int(sizes[group])
        if not _is_its(playbook, members[group]):
            elsewhere += users
            continue
        stops = Stops(playbook.id, answers[group].suppressed)
        competing = own.keys() & answers[group].arms
        for arm in competing:
            arms[arm] += users
        if competing:
            left[group] = True
            cost += users * max(own[arm].cost for arm in competing)
            liability += users * max(own[arm].liability for arm in competing)
        elif (rule := stops.last) is not None:
            stopped[rule] = stopped.get(rule, 0) + users
        for rule in stops.partly:
            partly[rule] = partly.get(rule, 0) + users
    is_left = audience & left[groups.of]
    return Reach(
        audience=int(sizes.sum()),
        stopped=stopped,
        partly=partly,
        elsewhere=elsewhere,
        left=int(is_left.sum()),
        is_left=is_left,
        arms=arms,
        cost=cost,
        liability=liability,
    )


def _is_its(playbook: PublishedPlaybook, member: Member) -> bool:
    """Whether this version, and not another one, serves a user or says by its pilot that none does."""
    alone = playbook.trial is not None and playbook.trial.alone
    return alone or playbook.serves(member.user_id, member.audiences)
