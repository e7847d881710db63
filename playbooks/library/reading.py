"""Reads a library, from a folder of YAML files or from one JSON document, as a whole or not at all.

    offers.yaml      a list of offers
    contents.yaml    a list of contents
    playbooks/*.yaml one playbook each
    windows.yaml     when messages may go out (optional)
    constraints.yaml the rules for all playbooks (optional)
    protection.yaml  past which rates something pauses itself (optional)
    approval.yaml    above what a second person approves (optional)
    test_users.yaml  test users, and seeds of proofs (optional)
    people.yaml      who does tasks (optional; see `delivery.people.staff`)

Every problem of every file is told, with its place; a wrong file leaves what was live untouched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from playbooks.constraints.checking import wrong_constraints
from playbooks.constraints.documents import Constraint, rule_of
from playbooks.content.documents import Content
from playbooks.insiders import Insiders
from playbooks.library.approval import Approval
from playbooks.library.documents import Draft
from playbooks.library.problems import Problem, found_in, refuse
from playbooks.library.references import References
from playbooks.library.yaml_text import Refused, parse
from playbooks.models import Playbook
from playbooks.offers import Offer
from playbooks.protection import Protection
from playbooks.windows import Windows

D = TypeVar("D", bound=BaseModel)

_MISSING = object()
_CONSTRAINTS: TypeAdapter[list[Constraint]] = TypeAdapter(list[Constraint])


@dataclass(frozen=True, slots=True)
class Source:
    """One file: what it is called in problems, what it says, and its text where it has one."""

    file: str
    value: Any
    text: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a library before anything in them was checked."""

    offers: Source
    contents: Source
    playbooks: Sequence[Source]
    windows: Source | None = None
    constraints: Source | None = None


def read_library(folder: Path) -> Draft:
    """Read and check a library folder.

    Raises:
        LibraryError: a file is missing, is not YAML, has an unknown or wrong field, or names an offer,
            content or group that does not exist. The message lists every problem with its file.
    """
    problems: list[Problem] = []
    draft = assemble(read_sources(folder, problems), problems)
    refuse(problems)
    return draft


def read_approval(folder: Path) -> Approval:
    """Read `approval.yaml`; without the file there are no thresholds. Raises LibraryError."""
    return read_optional(folder / "approval.yaml", Approval)


def read_protection(folder: Path) -> Protection:
    """Read `protection.yaml`; without the file the defaults hold. Raises LibraryError."""
    return read_optional(folder / "protection.yaml", Protection)


def read_insiders(folder: Path) -> Insiders:
    """Read `test_users.yaml`; without the file there are none. Raises LibraryError."""
    return read_optional(folder / "test_users.yaml", Insiders)


def read_sources(folder: Path, problems: list[Problem]) -> Sources:
    """Read the files of a folder, noting those that can't be."""
    files = sorted((folder / "playbooks").glob("*.yaml"))
    if not files:
        problems.append(Problem(str(folder / "playbooks"), "no playbook (*.yaml) in this folder"))
    return Sources(
        read_source(folder / "offers.yaml", problems),
        read_source(folder / "contents.yaml", problems),
        [read_source(path, problems) for path in files],
        read_source(windows, problems) if (windows := folder / "windows.yaml").exists() else None,
        read_source(constraints, problems) if (constraints := folder / "constraints.yaml").exists() else None,
    )


def sources_of(document: Mapping[str, Any]) -> Sources:
    """Return a library that came as one JSON document, `{offers: […], contents: […], playbooks: […]}`.

    It may have `windows`, as windows.yaml says them.
    With `constraints: […]` it also says what holds for all playbooks.
    """
    playbooks = document.get("playbooks", [])
    windows = document.get("windows")
    return Sources(
        Source("offers", document.get("offers", [])),
        Source("contents", document.get("contents", [])),
        [Source(_called(one, index), one) for index, one in enumerate(playbooks)],
        None if windows is None else Source("windows", windows),
        Source("constraints", said) if (said := document.get("constraints")) is not None else None,
    )


def assemble(sources: Sources, problems: list[Problem]) -> Draft:
    """Return the library that some files make, noting every problem; with one, it is not to be used."""
    offers = _list(sources.offers, Offer, problems)
    contents = _list(sources.contents, Content, problems)
    read = [
        (source, playbook)
        for source in sources.playbooks
        if (playbook := document_of(source, Playbook, problems)) is not None
    ]
    problems += _doubles(sources.offers.file, [one.id for one in offers])
    problems += _doubles(sources.contents.file, [one.id for one in contents])
    problems += _same_playbooks(read)
    draft = Draft(
        tuple(sorted((playbook for _, playbook in read), key=lambda playbook: playbook.id)),
        {offer.id: offer for offer in offers},
        {content.id: content for content in contents},
        None if sources.windows is None else _windows(sources.windows, problems),
        _constraints(sources.constraints, problems),
    )
    references = References(draft.offers, draft.contents, draft.windows)
    for source, playbook in read:
        problems += references.problems(playbook, source.file, source.text)
    return draft


def document_of(source: Source, type_: type[D], problems: list[Problem], *at: int) -> D | None:
    """Return what a file says as a document of `type_`, or None after noting each wrong field."""
    value = source.value
    for step in at:
        value = value[step]
    if value is _MISSING:
        return None
    try:
        return type_.model_validate(value)
    except ValidationError as error:
        problems.extend(found_in(error, type_, source.file, source.text, at))
    return None


def read_optional(path: Path, type_: type[D]) -> D:
    """Read a file that says nothing where it is not there. Raises LibraryError."""
    problems = list[Problem]()
    found = document_of(read_source(path, problems), type_, problems) if path.exists() else None
    refuse(problems)
    return found or type_()


def _windows(source: Source, problems: list[Problem]) -> Windows | None:
    # A file with nothing in it says that there are none.
    said = replace(source, value={}) if source.value is None else source
    return document_of(said, Windows, problems)


def read_source(path: Path, problems: list[Problem]) -> Source:
    """Return a file as it is written, noting why it can't be read; then it says nothing."""
    try:
        text = path.read_text(encoding="utf-8")
        return Source(str(path), parse(str(path), text), text)
    except FileNotFoundError:
        problems.append(Problem(str(path), "there is no such file"))
    except OSError as error:
        problems.append(Problem(str(path), f"can't be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        problems.append(Problem(str(path), f"not UTF-8 text ({error.reason} at byte {error.start})"))
    except Refused as refused:
        problems.append(refused.problem)
    return Source(str(path), _MISSING)


def _list(source: Source, type_: type[D], problems: list[Problem]) -> list[D]:
    if source.value is _MISSING:
        return []
    if not isinstance(source.value, list):
        problems.append(Problem(source.file, f"must be a list of {type_.__name__.lower()}s"))
        return []
    read = [document_of(source, type_, problems, index) for index in range(len(source.value))]
    return [one for one in read if one is not None]


def _constraints(source: Source | None, problems: list[Problem]) -> tuple[Constraint, ...] | None:
    if source is None or source.value is _MISSING:
        return None
    try:
        read = _CONSTRAINTS.validate_python(source.value or [])
    except ValidationError as error:
        problems.extend(found_in(error, list[Constraint], source.file, source.text))
        return None
    problems += _doubles(source.file, [rule_of(one) for one in read])
    problems += [Problem(source.file, message, field) for field, message in wrong_constraints(read)]
    return tuple(read)


def _called(playbook: Any, index: int) -> str:
    name = playbook.get("id") if isinstance(playbook, dict) else None
    return f"playbooks/{name}" if isinstance(name, str) and len(name) <= 64 else f"playbooks.{index}"


def _doubles(file: str, ids: Sequence[str]) -> Iterator[Problem]:
    for name, times in Counter(ids).items():
        if times > 1:
            yield Problem(file, f"the id {name!r} is used {times} times")


def _same_playbooks(read: Sequence[tuple[Source, Playbook]]) -> Iterator[Problem]:
    files: dict[str, list[str]] = {}
    for source, playbook in read:
        files.setdefault(playbook.id, []).append(source.file)
    for name, places in files.items():
        if len(places) > 1:
            others = ", ".join(places[1:])
            yield Problem(places[0], f"the id {name!r} is used {len(places)} times, also in {others}", "id")
