"""What the library is made of: variants, playbooks, arms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

import msgspec
from pydantic import Field, field_validator, model_validator

from playbooks.constraints.documents import Constraint, Group, Purpose, rule_of
from playbooks.content.documents import Language
from playbooks.document import Document, Name
from playbooks.exploring import ExplorationBudget
from playbooks.flow import Flow, Send
from playbooks.goal_documents import Goal
from playbooks.money import Money

# "Do nothing" takes part in every draw under this id.
DO_NOTHING = "do_nothing"
# The placement of what is sent and not shown at once.
OUTBOUND = "outbound"
# Attributes that arms have beside those of their offers; `value`, in minor units, where it carries money.
ARM_ATTRIBUTES = ("kind", "channel", "content", "value")


class VariantSet(Document):
    """Variants that are alike: one arm for each offer, on each channel, with each content.

    Offers are either those of a `group`, or named; one that is a fixed amount may be given a `value` or
    several `values`, each with the cost that its cost model then comes to. What is a list becomes part of
    the arms' names, so that an arm keeps its name when a list grows: `playbook/id_value_channel_content`
    (see `playbooks.library.grid`).
    """

    id: Name | None = None
    group: str | None = None
    offer: Name | None = None
    offers: Annotated[list[Name], Field(min_length=1)] | None = None
    value: Money | None = None
    values: Annotated[list[Money], Field(min_length=1)] | None = None
    channel: Name | None = None
    channels: Annotated[list[Name], Field(min_length=1)] | None = None
    content: Name | None = None
    contents: Annotated[list[Name], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _said_once(self) -> VariantSet:
        for names in (("group", "offer", "offers"), ("channel", "channels"), ("content", "contents")):
            given = [name for name in names if getattr(self, name) is not None]
            if len(given) != 1:
                said = " and ".join(given) or "none of them"
                raise ValueError(f"just one of {', '.join(names)} is to be given, not {said}")
        for name in ("offers", "values", "channels", "contents"):
            listed = [str(one) for one in getattr(self, name) or []]
            if doubles := sorted({one for one in listed if listed.count(one) > 1}):
                raise ValueError(f"{name} lists {', '.join(doubles)} more than once")
        if self.value is not None and self.values is not None:
            raise ValueError("just one of value, values is to be given, not value and values")
        if self.all_values and self.offer is None:
            raise ValueError("values are given to one `offer`, not to a group or a list of offers")
        return self

    @property
    def all_values(self) -> list[Money]:
        """The face value or values that the offer is given, none where it keeps its own."""
        return self.values or ([] if self.value is None else [self.value])

    @property
    def all_channels(self) -> list[Name]:
        """The channel or channels."""
        return self.channels or [self.channel or ""]

    @property
    def all_contents(self) -> list[Name]:
        """The content or contents."""
        return self.contents or [self.content or ""]


class Rules(Document):
    """Who may get a playbook at all, to whom it applies now, for whom it is suitable: SQL rules.

    They speak of the user's features, tags and audiences, and stop a playbook as
    `eligibility.<playbook>`, `applicability.<playbook>` and `suitability.<playbook>`.
    """

    eligibility: str | None = None
    applicability: str | None = None
    suitability: str | None = None


class PilotTest(Document):
    """How a pilot is judged by what its decisions earned.

    `always_valid` looks at any time, by a confidence sequence; `fixed` once, when `decisions` have their
    rewards. `alpha` is how often a pilot at its floor may be called better, or worse, by chance.
    """

    kind: Literal["always_valid", "fixed"] = "always_valid"
    decisions: int = Field(default=10_000, ge=10, le=10_000_000)
    alpha: float = Field(default=0.05, ge=0.0001, le=0.2)


class Pilot(Document):
    """For whom a playbook is tried first, and what is expected of it.

    `users` and the members of the audience `audience` are the hand list; `share` of all others take part
    too, fixed by a salted hash. `floor` and `ceiling` are the mean reward of a decision: proven above the
    floor the pilot graduates, proven below it ends; proven above the ceiling it is too good to be true, and
    is paused for a person to look.
    """

    users: Annotated[list[str], Field(max_length=10_000)] = []
    audience: Name | None = None
    share: float = Field(default=0.0, ge=0.0, le=0.5)
    floor: float
    ceiling: float
    test: PilotTest = PilotTest()

    @model_validator(mode="after")
    def _of_somebody(self) -> Pilot:
        if not self.users and self.audience is None and self.share == 0:
            raise ValueError("a pilot needs users, an audience or a share of the traffic")
        if not self.floor < self.ceiling:
            raise ValueError(f"the floor {self.floor:g} must be below the ceiling {self.ceiling:g}")
        return self


class GivenTag(Document):
    """A tag that a decision puts on the user, for a while or for good."""

    tag: Annotated[str, Field(min_length=1, max_length=64)]
    expires_after: Annotated[timedelta, Field(gt=timedelta(0))] | None = None


Evidence = Annotated[str, Field(min_length=1, max_length=2000)]
Parent = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}@[1-9][0-9]{0,8}$")]


class Playbook(Document):
    """A plan. Its version is given by the library: it grows whenever the content changes.

    What has not gone out `expires_after` its decision never does.
    `window` names one of windows.yaml, which its messages find open beside those that the rules there name.
    `parent` is the `playbook@version` it was made from, `evidence` what speaks for it: sentences or links.
    `tags` are put on whoever a decision gives one of its arms, with that decision.
    Service messages and transactional ones are no promotion, and exempt from what holds for promotions.
    """

    id: Name
    name: Annotated[str, Field(min_length=1, max_length=200)]
    notes: str = ""
    owner: Annotated[str, Field(max_length=200)] = ""
    labels: list[Name] = []
    origin: Literal["person", "template", "generated"] = "person"
    parent: Parent | None = None
    evidence: list[Evidence] = []
    purpose: Purpose = "promotional"
    trigger: Name | None = None
    placement: Name
    audience: Name | None = None
    rules: Rules = Rules()
    priority: int = Field(default=0, ge=-1000, le=1000)
    weight: float = Field(default=1.0, ge=0.0, le=1000.0)
    holdout: float = Field(default=0.0, ge=0.0, le=0.5)
    exclusive_group: Name | None = None
    languages: list[Language] = []
    goal: Goal
    variants: list[VariantSet] = Field(min_length=1)
    window: Name | None = None
    expires_after: Annotated[timedelta, Field(gt=timedelta(0))] | None = None
    constraints: list[Constraint] = []
    exploration_budget: ExplorationBudget | None = None
    pilot: Pilot | None = None
    tags: Annotated[list[GivenTag], Field(max_length=8)] = []
    flow: Flow

    @field_validator("tags")
    @classmethod
    def _each_once(cls, tags: list[GivenTag]) -> list[GivenTag]:
        names = [one.tag for one in tags]
        if doubles := sorted({one for one in names if names.count(one) > 1}):
            raise ValueError(f"tags lists {', '.join(doubles)} more than once")
        return tags

    @field_validator("constraints")
    @classmethod
    def _its_own(cls, constraints: list[Constraint]) -> list[Constraint]:
        for one in constraints:
            if isinstance(one, Group):
                raise ValueError(
                    f"the group {one.id!r} is no constraint of one playbook: name it as `exclusive_group`, "
                    "and describe it in constraints.yaml"
                )
            wide = {name for scope in (one.for_, one.exempt) for name in scope.given} - {"channels", "offers"}
            if wide:
                raise ValueError(
                    f"{one.id!r} holds for this playbook's arms; it takes channels and offers, not "
                    f"{', '.join(sorted(wide))} (constraints.yaml does)"
                )
        rules = [rule_of(one) for one in constraints]
        if doubles := sorted({one for one in rules if rules.count(one) > 1}):
            raise ValueError(f"more than one constraint is {', '.join(doubles)}")
        return constraints

    def windows_of(self, state: str) -> list[str]:
        """Return the send windows that a message of a state of the flow names, beside those of rules."""
        step = self.flow.states.get(state)
        named = (self.window, step.window if isinstance(step, Send) else None)
        return [name for name in named if name is not None]


class Arm(msgspec.Struct, frozen=True):
    """One variant of one playbook as it competes in a draw; `id` is `playbook/name`.

    `value` is what the user is promised, `cost` what giving it once is expected to cost, `liability` what it
    may cost at worst: minor units of `currency`, 0 where the offer carries no money. `attributes` are what
    the value model and rules see as `arm.<attribute>`: those of the offer, and its channel, content and kind.
    """

    id: str
    playbook: str
    offer: str
    channel: str
    content: str
    attributes: Mapping[str, str]
    value: int = 0
    cost: int = 0
    liability: int = 0
    currency: str = ""

    @property
    def name(self) -> str:
        """The arm's name within its playbook."""
        return self.id.partition("/")[2]
