"""Variables of contents that nothing fills for some of the variants that use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from playbooks.content.blocks import with_blocks
from playbooks.content.documents import Content
from playbooks.content.names import ARM, COUPON, OFFER, ROOTS, TRIGGER, of_arm, of_offer
from playbooks.content.sent import messages_of
from playbooks.content.templates import Path, read
from playbooks.flow import Issue
from playbooks.library.values import with_values
from playbooks.lint.conditions import arms_of
from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject
from playbooks.models import Playbook

UNFILLED = Code(
    "unfilled-variable",
    Severity.ERROR,
    "a content speaks of what no feature provides or a variant's offer does not have: the message fails",
)
CODES = (UNFILLED,)

_ADVICE = {
    TRIGGER: "give the playbook a trigger on an event that has it",
    COUPON: "issue the offer in the flow before",
}


def find(subject: Subject) -> Iterator[Finding]:
    """Yield contents that can't be filled."""
    contents = subject.draft.contents
    paths = {name: _paths(name, contents) for name in contents}
    for playbook in subject.draft.playbooks:
        yield from _unfilled(subject, playbook, paths)


def _paths(name: str, contents: Mapping[str, Content]) -> frozenset[Path]:
    """Return what a content and its blocks speak of, `("offer", "name")`."""
    return frozenset(
        path
        for one in with_blocks([name], contents)
        for _, template in contents[one].templates
        for path, _ in read(template).paths
    )


def _unfilled(
    subject: Subject, playbook: Playbook, contents: Mapping[str, frozenset[Path]]
) -> Iterator[Finding]:
    failing: dict[tuple[str, Path], list[str]] = {}
    # Those among them that variants make by giving values.
    offers = with_values(playbook, subject.draft.offers)
    for arm in arms_of(subject, playbook):
        known = {OFFER: of_offer(offers[arm.offer]), ARM: of_arm(arm)}
        for name in dict.fromkeys(one.content for one in messages_of(playbook, arm)):
            for path in sorted(contents.get(name, ())):
                if not _is_filled(path, known, playbook):
                    failing.setdefault((name, path), []).append(arm.name)
    for (content, path), names in failing.items():
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        yield UNFILLED.in_playbook(
            playbook.id,
            "variants",
            f"the content {content!r} speaks of {'.'.join(path)}, which is not there for {shown}",
            f"take it out of the content, or {_ADVICE.get(path[0], 'give the offer that attribute')}",
        )


def _is_filled(path: Path, known: Mapping[str, Mapping[str, object]], playbook: Playbook) -> bool:
    root, *name = path
    if root == TRIGGER:
        return playbook.trigger is not None
    if root == COUPON:
        return any(isinstance(state, Issue) for state in playbook.flow.states.values())
    # Of users there may be any value; what there is of them at all is looked at before an import.
    if root not in ROOTS:
        return False
    return root not in known or not name or name[0] in known[root]
