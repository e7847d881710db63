"""The parameters of the market, read from the file in which they were fixed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).parent / "parameters.yaml"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Group(_Part):
    """Customers of one taste: `margin` is median and spread, `deal_share` a beta's mean and size."""

    id: str
    share: float
    margin: tuple[float, float]
    base: float
    deal_share: tuple[float, float]


class Hidden(_Part):
    """How much customers differ in what is not seen of them."""

    base: float
    sensitivity: float


class Fading(_Part):
    """Something that adds up to `most` and fades by half every `half_life` days."""

    adds: float
    half_life: float
    most: float


class Season(_Part):
    """A year with its top on the day `top`, and a bump on some days of it; log-odds."""

    amplitude: float
    top: int
    bump: float
    bump_days: tuple[int, int]


class OptOut(_Part):
    """How likely a message makes its receiver leave, and what that costs."""

    chance: float
    costs: float


class Delay(_Part):
    """After how many days an order comes, in the mean."""

    mean: float


class Logistic(_Part):
    """The response whose log-odds grow with the face value beside the margin."""

    slope: float
    scale: float


class Reference(_Part):
    """The response that begins at a reference value of each customer."""

    low: float
    high: float
    width: float
    lift: float
    insult: float
    half: float


class Forms(_Part):
    """Both forms of response."""

    logistic: Logistic
    reference: Reference


class Parameters(_Part):
    """All there is to fix of a market but its seed and its form of response."""

    start: date
    cadence: int
    window: int
    customers: int
    face_values: tuple[float, ...]
    groups: tuple[Group, ...]
    hidden: Hidden
    order_spread: float
    habit: Fading
    fatigue: Fading
    season: Season
    opt_out: OptOut
    delay: Delay
    forms: Forms


def read_parameters(path: Path = FILE) -> Parameters:
    """Return the parameters of a file, by default those that were fixed."""
    return Parameters.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
