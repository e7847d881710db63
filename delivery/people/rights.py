"""Whose tasks somebody sees and does: their own, their team's, those of people they supervise. Pure."""

from __future__ import annotations

from delivery.people.models import Caller, Task
from delivery.people.staff import Staff


def may_see(staff: Staff, task: Task, caller: Caller) -> bool:
    """Say whether a task is the caller's own, the team's, or of somebody the caller supervises."""
    if caller.everything or (caller.person is not None and task.person == caller.person):
        return True
    person, teams = caller.person, teams_of(staff, caller)
    return person is not None and (task.team in teams or task.person in staff.below(person))


def teams_of(staff: Staff, caller: Caller) -> frozenset[str]:
    """Return the teams whose tasks are a caller's to see: their own, and those they supervise."""
    over = {one.id for one in staff.teams.values() if one.supervisor == caller.person and caller.person}
    own = staff.team_of(caller.person)
    return frozenset(over | ({own} if own else set()))
