"""Variables of contents that nothing fills for some of the variants that use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from liquid import Environment, Mode
from liquid.exceptions import LiquidError

from playbooks.lint.conditions import arms_of
from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject
from playbooks.models import Arm, Content, Playbook
from playbooks.offers import Offer

UNFILLED = Code(
    "unfilled-variable",
    Severity.ERROR,
    "a content speaks of what no feature provides or a variant's offer does not have: the message fails",
)
CODES = (UNFILLED,)

_Path = tuple[str, ...]
_OF_OFFER = frozenset(("id", "name"))
_OF_ARM = frozenset(("id", "playbook", "channel"))


def find(subject: Subject) -> Iterator[Finding]:
    """Yield contents that can't be filled."""
    contents = {
        name: paths for name, one in subject.draft.contents.items() if (paths := variables(one)) is not None
    }
    for playbook in subject.draft.playbooks:
        yield from _unfilled(subject, playbook, contents)


def variables(content: Content) -> frozenset[_Path] | None:
    """Return what a content speaks of, `("offer", "name")`; None if it is no template."""
    found: set[_Path] = set()
    try:
        for template in (content.subject, content.body):
            said = Environment(tolerance=Mode.STRICT).from_string(template).analyze().globals
            for uses in said.values():
                found.update(tuple(map(str, use.segments[:2])) for use in uses if _is_plain(use.segments[:2]))
    except LiquidError:
        return None
    return frozenset(found)


def _is_plain(segments: Sequence[object]) -> bool:
    return all(isinstance(one, str | int) for one in segments)


def _unfilled(
    subject: Subject, playbook: Playbook, contents: Mapping[str, frozenset[_Path]]
) -> Iterator[Finding]:
    failing: dict[tuple[str, _Path], list[str]] = {}
    for arm in arms_of(subject, playbook):
        for path in sorted(contents.get(arm.content, ())):
            if not _is_filled(path, arm, subject.draft.offers[arm.offer]):
                failing.setdefault((arm.content, path), []).append(arm.name)
    for (content, path), names in failing.items():
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        yield UNFILLED.in_playbook(
            playbook.id,
            "variants",
            f"the content {content!r} speaks of {'.'.join(path)}, which is not there for {shown}",
            "take it out of the content, or give the offer that attribute",
        )


def _is_filled(path: _Path, arm: Arm, offer: Offer) -> bool:
    match path:
        case ("user_id",) | ("offer",) | ("arm",):
            return True
        case ("offer", name):
            return name in _OF_OFFER or name in offer.attributes
        case ("arm", name):
            return name in _OF_ARM or name in arm.attributes
    return False
