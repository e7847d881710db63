"""The file `windows.yaml`: the windows there are, and which messages each one is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from playbooks.document import Document, Name
from playbooks.suggesting import closest
from playbooks.windows.spec import Country, Window

Purpose = Literal["promotional", "service", "transactional"]


class Rule(Document):
    """Which messages a window is for: of these purposes, on these channels, to users in these countries.

    Without `purposes` a rule is for promotional messages and those of service; transactional ones are bound
    by no rule that does not name them. Without `channels` or `countries` it is for all of them.
    """

    window: Name
    purposes: Annotated[list[Purpose], Field(min_length=1)] = ["promotional", "service"]
    channels: Annotated[list[Name], Field(min_length=1)] | None = None
    countries: Annotated[list[Country], Field(min_length=1)] | None = None

    def covers(self, purpose: str, channel: str, country: str) -> bool:
        """Whether it is for a message; a country covers its parts (`DE` those of `DE-BY`)."""
        if purpose not in self.purposes or (self.channels is not None and channel not in self.channels):
            return False
        return self.countries is None or country in self.countries or country[:2] in self.countries


class Countries(Document):
    """Where a user's country is found, a text feature, and the country of those for whom it says none."""

    feature: Name | None = None
    fallback: Country | None = None


class Windows(Document):
    """The windows of a library. A playbook or a send may name one more, beside those of the rules."""

    countries: Countries = Countries()
    windows: Annotated[list[Window], Field(max_length=200)] = []
    rules: Annotated[list[Rule], Field(max_length=500)] = []

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        ids = Counter(one.id for one in self.windows)
        if doubles := [name for name, times in ids.items() if times > 1]:
            raise ValueError(f"the id {doubles[0]!r} is used {ids[doubles[0]]} times")
        for index, rule in enumerate(self.rules):
            if rule.window not in ids:
                raise ValueError(
                    f"rules.{index}: there is no window {rule.window!r}{closest(rule.window, ids)}"
                )
        return self

    def get(self, name: str) -> Window | None:
        """Return a window by its id."""
        return next((one for one in self.windows if one.id == name), None)

    def of(self, purpose: str, channel: str, country: str, named: Sequence[str] = ()) -> list[Window] | None:
        """Return the windows that bind a message: those of the rules, and those it names itself.

        None: it names one that is not there.
        """
        wanted = {rule.window for rule in self.rules if rule.covers(purpose, channel, country)} | set(named)
        found = [one for one in self.windows if one.id in wanted]
        return found if len(found) == len(wanted) else None

    @property
    def codes(self) -> set[str]:
        """The countries whose holidays are named, and the one for users of whom none is known."""
        listed = {code for one in self.windows if isinstance(one.holidays, list) for code in one.holidays}
        users = self.by_country and self.countries.fallback
        return listed | ({users} if users else set())

    @property
    def by_country(self) -> bool:
        """Whether anything depends on a user's country."""
        return any(rule.countries for rule in self.rules) or any(
            one.holidays == "user" for one in self.windows
        )
