"""Flow types: a playbook's flow is data, a state machine that delivery/ interprets."""

from playbooks.flow.flow import Exits, Flow, OnExpiry, OnGoal, OnOptOut, OnRule, Reentry
from playbooks.flow.states import (
    Branch,
    Doing,
    End,
    GoalReached,
    Issue,
    Score,
    Send,
    Split,
    State,
    Tag,
    Waiting,
    Webhook,
)
from playbooks.flow.tasks import Escalation, Task
from playbooks.flow.waits import BestHour, DecideAgain, UntilDate, Wait, WaitForEvent

__all__ = [
    "BestHour",
    "Branch",
    "DecideAgain",
    "Doing",
    "End",
    "Escalation",
    "Exits",
    "Flow",
    "GoalReached",
    "Issue",
    "OnExpiry",
    "OnGoal",
    "OnOptOut",
    "OnRule",
    "Reentry",
    "Score",
    "Send",
    "Split",
    "State",
    "Tag",
    "Task",
    "UntilDate",
    "Wait",
    "WaitForEvent",
    "Waiting",
    "Webhook",
]
