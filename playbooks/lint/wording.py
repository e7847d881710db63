"""Contents that end, and languages that a playbook is for and its contents are not worded in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta

from playbooks.content.expiry import end_of
from playbooks.content.languages import shortened
from playbooks.content.sent import contents_of
from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject
from playbooks.models import Playbook

OVER = Code(
    "content-expired",
    Severity.WARNING,
    "a playbook uses a content whose time is over, or that of a block in it: what says it is stopped",
)
ENDING = Code("content-expires", Severity.NOTE, "a content that a playbook uses is over within two weeks")
UNWORDED = Code(
    "language-missing",
    Severity.WARNING,
    "a playbook is for a language that one of its contents has no text in: its users get the fallback's",
)
CODES = (OVER, ENDING, UNWORDED)

_SOON = timedelta(days=14)


def find(subject: Subject) -> Iterator[Finding]:
    """Yield what is the matter with the words of playbooks."""
    for playbook in subject.draft.playbooks:
        for name in sorted(contents_of(playbook) & subject.draft.contents.keys()):
            yield from _ending(subject, playbook, name)
            yield from _unworded(subject, playbook, name)


def _ending(subject: Subject, playbook: Playbook, name: str) -> Iterator[Finding]:
    at = end_of(name, subject.draft.contents)
    if at is None or at > subject.now + _SOON:
        return
    code, said = (OVER, "was over on") if at <= subject.now else (ENDING, "is over on")
    yield code.in_playbook(
        playbook.id,
        "variants",
        f"the content {name!r} {said} {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "write what is said from then on, or pause the playbook",
    )


def _unworded(subject: Subject, playbook: Playbook, name: str) -> Iterator[Finding]:
    content = subject.draft.contents[name]
    there = {language.lower() for language in content.languages}
    missing = [
        language
        for language in playbook.languages
        if not {one.lower() for one in shortened(language)} & there
    ]
    if missing:
        yield UNWORDED.in_playbook(
            playbook.id,
            "languages",
            f"the content {name!r} has no text in {', '.join(missing)}",
            "word it in them, or take them out of the playbook's languages",
        )
