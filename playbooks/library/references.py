"""What a playbook says of others: its offers, contents and the attributes in its rules are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from audiences.rules import RuleError
from playbooks.content.documents import Content
from playbooks.flow import Send, WaitForEvent
from playbooks.goal_documents import wrong_property
from playbooks.goals import numbers_of, parse_where
from playbooks.library.grid import expand, wrong_arms
from playbooks.library.problems import Problem, placed
from playbooks.library.values import with_values
from playbooks.models import ARM_ATTRIBUTES, Playbook
from playbooks.offers import Offer, mixed_currencies
from playbooks.suggesting import closest
from playbooks.windows import Windows


class References:
    """Checks playbooks against the offers, contents and windows there are."""

    def __init__(
        self, offers: Mapping[str, Offer], contents: Mapping[str, Content], windows: Windows | None
    ) -> None:
        """`windows` are None where they are not known; then they are not checked."""
        self._offers, self._contents = offers, contents
        self._windows = None if windows is None else [one.id for one in windows.windows]
        self._groups = {group for offer in offers.values() if (group := offer.attributes.get("group"))}
        self._attributes = {name for offer in offers.values() for name in offer.attributes}
        self._attributes.update(ARM_ATTRIBUTES)

    def problems(self, playbook: Playbook, file: str | None = None, text: str = "") -> list[Problem]:
        """Return what is wrong with a playbook, placed in its file, else under its id."""
        place = file or f"playbooks/{playbook.id}"
        return [placed(place, message, located(field), text) for field, message in self._wrong(playbook)]

    def _wrong(self, playbook: Playbook) -> Iterator[tuple[str, str]]:
        """Yield (field, problem)."""
        for index, variants in enumerate(playbook.variants):
            place = f"variants.{index}"
            if variants.group is not None and variants.group not in self._groups:
                hint = closest(variants.group, self._groups)
                yield f"{place}.group", f"no offer has the group {variants.group!r}{hint}"
            for name in variants.offers or ([variants.offer] if variants.offer else []):
                if name not in self._offers:
                    field = "offers" if variants.offers else "offer"
                    yield f"{place}.{field}", f"there is no offer {name!r}{closest(name, self._offers)}"
            for name in variants.all_contents:
                if wrong := self._no_message(name):
                    yield f"{place}.{'contents' if variants.contents else 'content'}", wrong
        for field, window in named_windows(playbook):
            if self._windows is not None and window not in self._windows:
                yield field, f"there is no window {window!r}{closest(window, self._windows)}"
        yield from self._wrong_flow(playbook)
        yield from wrong_arms(playbook, self._offers)
        known = with_values(playbook, self._offers)
        if mixed := mixed_currencies(known[arm.offer] for arm in expand(playbook, self._offers)):
            yield "variants", mixed
        yield from self._wrong_reading(playbook)

    def _wrong_reading(self, playbook: Playbook) -> Iterator[tuple[str, str]]:
        event = playbook.goal.event
        for place, read in playbook.goal.read():
            if wrong := wrong_property(read.property, event, numbers_of(event)):
                yield place, wrong
        for place, named, where in _wheres(playbook):
            try:
                parse_where(where, named, self._attributes)
            except RuleError as error:
                yield place, str(error)

    def _wrong_flow(self, playbook: Playbook) -> Iterator[tuple[str, str]]:
        for name, state in playbook.flow.states.items():
            content = state.content if isinstance(state, Send) else None
            if content is not None and (wrong := self._no_message(content)):
                yield f"flow.states.{name}.content", wrong
        keys = {"variant", "offer", *self._attributes}
        if (reentry := playbook.flow.reentry) is not None and reentry.key not in (None, *keys):
            yield "flow.reentry.key", f"variants have no {reentry.key!r}{closest(str(reentry.key), keys)}"

    def _no_message(self, content: str) -> str:
        """Say why a content can't be sent, '' if it can."""
        if content not in self._contents:
            return f"there is no content {content!r}{closest(content, self._contents)}"
        if self._contents[content].kind == "block":
            return f"{content!r} is a block: name a message that takes it in"
        return ""


def named_windows(playbook: Playbook) -> Iterator[tuple[str, str]]:
    """Yield the send windows that a playbook names, with the fields that name them."""
    if playbook.window is not None:
        yield "window", playbook.window
    for name, state in playbook.flow.states.items():
        if isinstance(state, Send) and state.window is not None:
            yield f"flow.states.{name}.window", state.window


def located(field: str) -> list[int | str]:
    """Return the place that a field's dotted name says, `variants.0.offer`."""
    return [int(step) if step.isdigit() else step for step in field.split(".")]


def _wheres(playbook: Playbook) -> Iterator[tuple[str, str, str]]:
    yield from playbook.goal.wheres()
    for name, state in playbook.flow.states.items():
        if isinstance(state, WaitForEvent) and state.where is not None:
            yield f"flow.states.{name}.where", state.event, state.where
