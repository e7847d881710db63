"""What differs between two versions of a playbook, in the words of the library.

    variant ten_off: value 5.00 EUR → 8.00 EUR
    constraint three_attempts: limit 3 → 5
    flow state wait_for_use: timeout P14D → P7D

Arms are compared by their names, constraints, offers, contents and states of the flow by their ids; how they
were written, and in which order, makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from playbooks.constraints.documents import Constraint, rule_of
from playbooks.content.documents import Content
from playbooks.library.documents import VersionBody
from playbooks.models import Arm, Playbook
from playbooks.money import shown
from playbooks.windows import Windows

_LONG = 120
# Told under a name of its own.
_PARTS = frozenset({"id", "variants", "constraints", "flow"})
# Inside of which single fields are told.
_NESTED = frozenset({"goal", "rules", "pilot", "budget"})
_WORDS = ("offer", "channel", "content", "value", "cost", "liability")


class Change(msgspec.Struct, frozen=True):
    """One difference: of what (`variant`, `flow state`, …), of which one, which field, before and after.

    Without a field, the whole was added (`before` is null) or removed (`after` is).
    """

    what: str
    id: str
    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        whose = f"{self.what} {self.id}".strip()
        if self.field:
            if not whose:
                return f"{self.field}: {_shown(self.before)} → {_shown(self.after)}"
            return f"{whose}: {self.field} {_shown(self.before)} → {_shown(self.after)}"
        if self.before is None:
            return f"{whose}: added ({_listed(self.after)})"
        return f"{whose}: removed ({_listed(self.before)})"


def differences(before: VersionBody, after: VersionBody) -> list[Change]:
    """Return what differs; nothing where two versions mean the same."""
    return [
        *_document("", "", _plain(before.playbook), _plain(after.playbook)),
        *_by_id("variant", _arms(before.arms), _arms(after.arms)),
        *_by_id("constraint", _constraints(before.playbook), _constraints(after.playbook)),
        *_flow(before.playbook, after.playbook),
        *_by_id("offer", *_offers(before, after)),
        *_by_id("content", _contents(before.contents), _contents(after.contents)),
    ]


def content_changes(before: Content, after: Content) -> list[Change]:
    """Return what differs between two versions of a content; nothing where they say the same."""
    return list(_by_id("content", _contents([before]), _contents([after])))


def window_differences(before: Windows, after: Windows) -> list[Change]:
    """Return what differs between the windows of two libraries."""
    rules = (
        {"rules": one.model_dump(mode="json", exclude_defaults=True).get("rules", [])}
        for one in (before, after)
    )
    countries = (one.countries.model_dump(mode="json") for one in (before, after))
    return [
        *_by_id("window", _named(before.windows), _named(after.windows)),
        *_document("windows", "", *rules),
        *_document("countries", "", *countries),
    ]


def constraint_differences(before: Sequence[Constraint], after: Sequence[Constraint]) -> list[Change]:
    """Return what differs between two versions of the constraints for all playbooks."""
    return list(_by_id("constraint", *(_ruled(one, rule_of) for one in (before, after))))


def told(changes: Sequence[Change]) -> str:
    """Return changes as text, one a line."""
    return "\n".join(map(str, changes)) or "nothing differs"


def _plain(playbook: Playbook) -> dict[str, Any]:
    return {name: value for name, value in playbook.model_dump(mode="json").items() if name not in _PARTS}


def _document(what: str, id_: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for field in dict.fromkeys([*before, *after]):
        old, new = before.get(field), after.get(field)
        if old == new:
            continue
        if not what and field in _NESTED and isinstance(old or new, dict):
            if old is None or new is None:
                yield Change(field, "", "", old, new)
            else:
                yield from _document(field, "", old, new)
        elif isinstance(old, dict) and isinstance(new, dict):
            inner = _document(what, id_, old, new)
            yield from (msgspec.structs.replace(one, field=f"{field}.{one.field}") for one in inner)
        else:
            yield Change(what, id_, field, old, new)


def _by_id(
    what: str, before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> Iterator[Change]:
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            yield Change(what, name, "", before[name], None)
        elif name not in before:
            yield Change(what, name, "", None, after[name])
        else:
            yield from _document(what, name, before[name], after[name])


def _arms(arms: Sequence[Arm]) -> dict[str, dict[str, Any]]:
    return {arm.name: {word: shown for word in _WORDS if (shown := _word(arm, word))} for arm in arms}


def _word(arm: Arm, word: str) -> str:
    value = getattr(arm, word)
    if word == "liability" and value == arm.value:
        return ""
    if isinstance(value, int):
        return shown(value, arm.currency) if arm.currency else ""
    return str(value)


def _constraints(playbook: Playbook) -> dict[str, dict[str, Any]]:
    return _ruled(playbook.constraints, lambda one: one.id)


def _ruled(constraints: Sequence[Constraint], name: Callable[[Constraint], str]) -> dict[str, dict[str, Any]]:
    """Return constraints by name, without what is as it would be anyway."""
    return {
        name(one): {field: value for field, value in one.written().items() if field != "id"}
        for one in constraints
    }


def _named(documents: Sequence[Any]) -> dict[str, dict[str, Any]]:
    dumped = (one.model_dump(mode="json") for one in documents)
    return {one.pop("id"): one for one in dumped}


def _contents(contents: Sequence[Content]) -> dict[str, dict[str, Any]]:
    """Return contents with each text under what it is for: `texts.mailbox de`."""
    named = _named(contents)
    for content in contents:
        named[content.id]["texts"] = {
            " ".join(filter(None, one.key(content.language))): {
                name: text for name in ("subject", "body") if (text := getattr(one, name))
            }
            for one in content.texts
        }
    return named


def _offers(before: VersionBody, after: VersionBody) -> list[dict[str, dict[str, Any]]]:
    """Return the offers of both sides without what is told of the arms that give them."""
    sides = [_named(before.offers), _named(after.offers)]
    told = {arm.offer for arm in before.arms} & {arm.offer for arm in after.arms}
    for side in sides:
        for name in told & side.keys():
            del side[name]["value"]
    return sides


def _flow(before: Playbook, after: Playbook) -> Iterator[Change]:
    if before.flow.start != after.flow.start:
        yield Change("flow", "", "start", before.flow.start, after.flow.start)
    old, new = (one.flow.model_dump(mode="json") for one in (before, after))
    if old["reentry"] != new["reentry"]:
        yield Change("flow", "", "reentry", old["reentry"], new["reentry"])
    yield from _by_id("flow state", old["states"], new["states"])
    yield from _by_id("flow exit", _given(old["exits"]), _given(new["exits"]))


def _given(exits: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: one for name, one in exits.items() if one is not None}


def _shown(value: Any) -> str:
    if value in (None, "", []):
        return "none"
    if isinstance(value, str):
        text = " ".join(value.split())
        quoted = f'"{text}"' if " " in text and not _is_amount(text) else text
    elif isinstance(value, dict):
        quoted = f"({_listed(value)})"
    elif isinstance(value, list):
        quoted = ", ".join(map(_shown, value))
    else:
        quoted = f"{value:g}" if isinstance(value, float) else str(value).lower()
    return quoted if len(quoted) <= _LONG else f"{quoted[:_LONG]}…"


def _is_amount(text: str) -> bool:
    """Whether a text is an amount of money as it is written, `5.00 EUR`."""
    amount, _, currency = text.partition(" ")
    return currency.isupper() and amount.replace(".", "", 1).isdigit()


def _listed(values: Mapping[str, Any]) -> str:
    said = {name: value for name, value in values.items() if value not in (None, "", [], {})}
    return ", ".join(f"{name} {_shown(value)}" for name, value in said.items()) or "empty"
