"""The library: a folder of YAML files, read as a whole or not at all.

    offers.yaml      a list of offers
    contents.yaml    a list of contents
    playbooks/*.yaml one playbook each

Reading checks every reference; a wrong file leaves what was live untouched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from audiences.rules import RuleError
from playbooks.errors import LibraryError
from playbooks.flow import WaitForEvent
from playbooks.goals import parse_where
from playbooks.models import Arm, Content, Document, Offer, Playbook

D = TypeVar("D", bound=BaseModel)

# More arms than this can't be told apart by the traffic one playbook gets (DESIGN.md, section 5).
MAX_ARMS = 64


class VersionBody(Document):
    """What is kept of a version: the playbook with the offers and contents it used."""

    playbook: Playbook
    offers: list[Offer]
    contents: list[Content]


@dataclass(frozen=True)
class PublishedPlaybook:
    """One immutable version of a playbook with its arms expanded."""

    document: Playbook
    version: int
    arms: tuple[Arm, ...]

    @property
    def id(self) -> str:
        return self.document.id


@dataclass(frozen=True)
class Library:
    """Everything that is live, of one version."""

    playbooks: tuple[PublishedPlaybook, ...]
    offers: Mapping[str, Offer]
    contents: Mapping[str, Content]

    @cached_property
    def version(self) -> str:
        """A fingerprint of the content: equal libraries have equal versions."""
        digest = blake2b(digest_size=8)
        for playbook in self.playbooks:
            digest.update(f"{playbook.id}:{playbook.version};".encode())
            digest.update(repr(playbook.arms).encode())
        for content in self.contents.values():
            digest.update(content.model_dump_json().encode())
        return digest.hexdigest()

    @cached_property
    def _by_placement(self) -> Mapping[str, Sequence[PublishedPlaybook]]:
        result: dict[str, list[PublishedPlaybook]] = {}
        for playbook in self.playbooks:
            result.setdefault(playbook.document.placement, []).append(playbook)
        return result

    @property
    def placements(self) -> list[str]:
        """Names of all placements that some playbook serves."""
        return sorted(self._by_placement)

    def at(self, placement: str) -> Sequence[PublishedPlaybook]:
        """Return the playbooks that serve a placement, in the order of their ids."""
        return self._by_placement.get(placement, ())

    def get(self, playbook: str) -> PublishedPlaybook:
        """Return a playbook by its id; KeyError when it is not live."""
        return self._by_id[playbook]

    @cached_property
    def _by_id(self) -> Mapping[str, PublishedPlaybook]:
        return {playbook.id: playbook for playbook in self.playbooks}

    @cached_property
    def arms(self) -> Mapping[str, Arm]:
        """All arms by id."""
        return {arm.id: arm for playbook in self.playbooks for arm in playbook.arms}


@dataclass(frozen=True)
class Draft:
    """A library as read from files, before its playbooks were given versions."""

    playbooks: tuple[Playbook, ...]
    offers: Mapping[str, Offer]
    contents: Mapping[str, Content]

    def bodies(self) -> dict[str, str]:
        """Return what a version of each playbook consists of, as JSON, by playbook id."""
        result = {}
        for playbook in self.playbooks:
            groups = {variants.group for variants in playbook.variants}
            wanted = {variants.content for variants in playbook.variants}
            body = VersionBody(
                playbook=playbook,
                offers=[offer for offer in self.offers.values() if offer.attributes.get("group") in groups],
                contents=[content for content in self.contents.values() if content.id in wanted],
            )
            result[playbook.id] = body.model_dump_json()
        return result

    def publish(self, versions: Mapping[str, int]) -> Library:
        """Return the library in which each playbook carries the version given for its id."""
        return Library(
            tuple(PublishedPlaybook(p, versions[p.id], expand(p, self.offers)) for p in self.playbooks),
            self.offers,
            self.contents,
        )


def read_library(folder: Path) -> Draft:
    """Read and check a library folder.

    Raises:
        LibraryError: a file is missing, is not YAML, has an unknown or wrong field, or names an offer,
            content or group that does not exist. The message lists every problem with its file.
    """
    problems: list[str] = []
    offers = _read_list(folder / "offers.yaml", Offer, problems)
    contents = _read_list(folder / "contents.yaml", Content, problems)
    playbooks = []
    files = sorted((folder / "playbooks").glob("*.yaml"))
    if not files:
        problems.append(f"{folder / 'playbooks'}: no playbook (*.yaml) in this folder")
    for path in files:
        playbook = _read_one(path, Playbook, problems)
        if playbook is not None:
            problems += [f"{path}: {text}" for text in _wrong_references(playbook, offers, contents)]
            playbooks.append(playbook)
    problems += _doubles(folder / "playbooks", playbooks)
    problems += _doubles(folder / "offers.yaml", offers) + _doubles(folder / "contents.yaml", contents)
    if problems:
        raise LibraryError("the library was not read:\n" + "\n".join(f"  {problem}" for problem in problems))
    return Draft(
        tuple(sorted(playbooks, key=lambda playbook: playbook.id)),
        {offer.id: offer for offer in offers},
        {content.id: content for content in contents},
    )


def expand(playbook: Playbook, offers: Mapping[str, Offer]) -> tuple[Arm, ...]:
    """Return the arms of a playbook: for each variant set, one for every offer of its group."""
    return tuple(
        Arm(
            f"{playbook.id}/{offer.id}",
            playbook.id,
            offer.id,
            variants.channel,
            variants.content,
            offer.attributes,
        )
        for variants in playbook.variants
        for offer in offers.values()
        if offer.attributes.get("group") == variants.group
    )


def read_yaml(path: Path, problems: list[str]) -> Any:
    """Return what a YAML file holds, or None after noting the problem with its line and column."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(f"{path}: there is no such file")
    except UnicodeDecodeError as error:
        problems.append(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problems.append(f"{path}: {where}{error.problem}")
    return None


def validate(path: Path, where: str, value: Any, type_: type[D], problems: list[str]) -> D | None:
    """Return `value` as a document of `type_`, or None after noting each wrong field with its place."""
    try:
        return type_.model_validate(value)
    except ValidationError as error:
        for detail in error.errors():
            place = ".".join([where, *map(str, detail["loc"])]).strip(".")
            problems.append(f"{path}: {place or 'document'}: {detail['msg']}")
    return None


def _read_one(path: Path, type_: type[D], problems: list[str]) -> D | None:
    before = len(problems)
    value = read_yaml(path, problems)
    return None if len(problems) > before else validate(path, "", value, type_, problems)


def _read_list(path: Path, type_: type[D], problems: list[str]) -> list[D]:
    before = len(problems)
    value = read_yaml(path, problems)
    if len(problems) > before:
        return []
    if not isinstance(value, list):
        problems.append(f"{path}: must be a list of {type_.__name__.lower()}s")
        return []
    documents = [validate(path, str(index), item, type_, problems) for index, item in enumerate(value)]
    return [document for document in documents if document is not None]


def _wrong_references(playbook: Playbook, offers: list[Offer], contents: list[Content]) -> list[str]:
    groups = {offer.attributes.get("group") for offer in offers}
    known = {content.id for content in contents}
    wrong = []
    for variants in playbook.variants:
        if variants.group not in groups:
            wrong.append(f"variants.group: no offer has the group {variants.group!r}")
        if variants.content not in known:
            wrong.append(f"variants.content: there is no content {variants.content!r}")
    if len(arms := expand(playbook, {offer.id: offer for offer in offers})) > MAX_ARMS:
        wrong.append(f"variants: {len(arms)} arms, at most {MAX_ARMS} can be told apart; split the playbook")
    attributes = {name for offer in offers for name in offer.attributes}
    rules = [("goal.where", playbook.goal.event, playbook.goal.where)]
    rules += [
        (f"flow.states.{name}.where", state.event, state.where)
        for name, state in playbook.flow.states.items()
        if isinstance(state, WaitForEvent)
    ]
    for place, event, where in rules:
        try:
            if where is not None:
                parse_where(where, event, attributes)
        except RuleError as error:
            wrong.append(f"{place}: {error}")
    return wrong


def _doubles(place: Path, documents: Sequence[Any]) -> list[str]:
    ids = [document.id for document in documents]
    return [
        f"{place}: the id {one!r} is used {ids.count(one)} times"
        for one in sorted(set(ids))
        if ids.count(one) > 1
    ]
