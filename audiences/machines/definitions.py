"""What machines are: what ships with nextplay and what `tracking/machines.yaml` adds."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from audiences.errors import PlanError
from audiences.library_files import read_document

FILE = "machines.yaml"
_SHIPPED = Path(__file__).parent / "networks.yaml"
_LONGEST_WINDOW = timedelta(minutes=10)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class MachinesSpec(BaseModel):
    """`agents` and `people` are regular expressions over user agents, people's win; `networks` are CIDRs.

    A click within `click_window` of the delivery waits `patience` longer than that before it counts, so that
    clicks on the message's other links can come in. An open within `open_window` of it is a machine's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: list[str] = []
    people: list[str] = []
    networks: list[str] = []
    click_window: timedelta = timedelta(seconds=10)
    open_window: timedelta = timedelta(seconds=1)
    patience: timedelta = timedelta(seconds=5)

    @field_validator("agents", "people")
    @classmethod
    def _are_patterns(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"{value!r} is no regular expression: {error}") from error
        return values

    @field_validator("networks")
    @classmethod
    def _are_networks(cls, values: list[str]) -> list[str]:
        for value in values:
            ipaddress.ip_network(value)
        return values

    @model_validator(mode="after")
    def _short(self) -> Self:
        for name in ("click_window", "open_window", "patience"):
            if not timedelta(0) <= getattr(self, name) <= _LONGEST_WINDOW:
                raise ValueError(f"`{name}` is at least nothing and at most ten minutes, for example PT10S")
        return self


def read_machines(folder: Path | None) -> MachinesSpec:
    """Read what machines are; the networks that ship with nextplay are always among them.

    Raises:
        PlanError: `machines.yaml` is wrong.
    """
    shipped = MachinesSpec.model_validate(yaml.safe_load(_SHIPPED.read_text(encoding="utf-8")))
    path = None if folder is None else folder / FILE
    if path is None or not path.exists():
        return shipped
    own = read_document(path, MachinesSpec, PlanError)
    return own.model_copy(update={"networks": [*shipped.networks, *own.networks]})
