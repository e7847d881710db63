"""`channels.yaml`: the channels that playbooks may name. Secrets are settings, never here.

Without the file there is one channel, `mailbox`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from delivery.channels.channel import Channel
from delivery.channels.kinds import Kind, NoSettings, Opening
from delivery.channels.management import LOCAL, Management
from delivery.channels.registry import KINDS, KindUnfit, kind_of, names
from delivery.channels.webhook import WEBHOOK
from playbooks.document import Document, Name
from playbooks.flow.states import PREFERRED
from playbooks.library.problems import Problem, found_in, placed, refuse
from playbooks.library.reading import document_of, read_source
from playbooks.suggesting import closest
from storage.errors import ConfigurationError

FILE = "channels.yaml"


class ChannelEntry(Document):
    """One channel: the name by which playbooks know it, its kind, what that needs to know, how it is used.

    Further sections of a channel, whatever its kind, are fields here.
    """

    id: Name
    kind: str = Field(min_length=1, max_length=100)
    settings: dict[str, Any] = {}
    management: Management = Management()


class ChannelsDocument(Document):
    """The file."""

    channels: list[ChannelEntry] = Field(min_length=1, max_length=200)


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel as the file says it, with its kind and the kind's settings."""

    entry: ChannelEntry
    kind: Kind[Any]
    settings: Document

    def open(self, opening: Opening) -> Channel:
        """Open the channel. Raises ConfigurationError where a secret is missing."""
        try:
            return self.kind.open(self.settings, self.entry.id, opening)
        except ConfigurationError as error:
            raise ConfigurationError(f"{FILE}: the channel {self.entry.id!r}: {error}") from error


_MAILBOX = ChannelSpec(
    ChannelEntry(id="mailbox", kind="mailbox", management=LOCAL), KINDS["mailbox"], NoSettings()
)


def read_channels(folder: Path) -> Mapping[str, ChannelSpec]:
    """Return the channels of a library folder by name.

    Raises:
        LibraryError: the file can't be read, a field is wrong or unknown, or there is no such kind; every
            problem is told with its place.
    """
    path = folder / FILE
    if not path.exists():
        return {_MAILBOX.entry.id: _MAILBOX}
    problems: list[Problem] = []
    source = read_source(path, problems)
    document = document_of(source, ChannelsDocument, problems)
    found = [] if document is None else list(_specs(document, source.file, source.text, problems))
    refuse(problems, "the channels were not read")
    return {one.entry.id: one for one in found}


def _specs(
    document: ChannelsDocument, file: str, text: str, problems: list[Problem]
) -> Iterator[ChannelSpec]:
    problems += _taken_names(document.channels, file, text)
    problems += _unknown_ways(document.channels, file, text)
    for index, entry in enumerate(document.channels):
        at = ("channels", index)
        try:
            kind = kind_of(entry.kind)
        except KindUnfit as error:
            problems.append(placed(file, str(error), [*at, "kind"], text))
            continue
        if kind is None:
            message = f"there is no kind {entry.kind!r}{closest(entry.kind, names())}"
            problems.append(placed(file, message, [*at, "kind"], text))
            continue
        try:
            settings = kind.settings.model_validate(entry.settings)
        except ValidationError as error:
            problems += found_in(error, kind.settings, file, text, [*at, "settings"])
            continue
        yield ChannelSpec(entry, kind, settings)


def _taken_names(entries: Sequence[ChannelEntry], file: str, text: str) -> Iterator[Problem]:
    times = Counter(one.id for one in entries)
    for index, entry in enumerate(entries):
        at = ("channels", index, "id")
        if entry.id == WEBHOOK:
            message = f"{WEBHOOK!r} is how flows tell other systems; give the channel another name"
            yield placed(file, message, at, text)
        elif entry.id == PREFERRED:
            message = f"{PREFERRED!r} is how flows choose a channel; give the channel another name"
            yield placed(file, message, at, text)
        elif times[entry.id] > 1:
            yield placed(file, f"the id {entry.id!r} is used {times[entry.id]} times", at, text)


def _unknown_ways(entries: Sequence[ChannelEntry], file: str, text: str) -> Iterator[Problem]:
    ids = [entry.id for entry in entries]
    for index, entry in enumerate(entries):
        for place, way in enumerate(entry.management.then):
            at = ("channels", index, "management", "then", place)
            if way == entry.id:
                yield placed(
                    file, f"a message that failed on {way!r} can't go on to it: name another", at, text
                )
            elif way not in ids:
                yield placed(file, f"there is no channel {way!r}{closest(way, ids)}", at, text)
