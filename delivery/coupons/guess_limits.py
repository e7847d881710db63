"""How many wrong coupon codes are let through."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Window(BaseModel):
    """So many wrong codes within a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tries: Annotated[int, Field(ge=1, le=100_000)]
    within: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=1))] = timedelta(minutes=10)


class GuessLimits(BaseModel):
    """How many wrong codes are let through; null: any number.

    `key` is of all calls by one key of a shop, `user` and `visitor` of those who are named in the call.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Window | None = Window(tries=2_000)
    user: Window | None = Window(tries=10)
    visitor: Window | None = Window(tries=20)
