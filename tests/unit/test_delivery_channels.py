"""channels.yaml: what is read, what is refused and where, and kinds that packages add."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.channels.documents import FILE, read_channels
from delivery.channels.kinds import Kind, NoSettings, Opening
from delivery.channels.mailbox import Mailbox
from delivery.channels.management import Management
from delivery.channels.registry import KINDS, names
from delivery.models import Message
from delivery.retry import Retry
from playbooks.document import Document
from playbooks.errors import LibraryError
from storage.clock import SystemClock
from storage.engine import Database
from storage.errors import ConfigurationError
from tests.migrated import copy_migrated


@pytest.fixture(scope="module")
def opening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opening]:
    folder = tmp_path_factory.mktemp("opening")
    copy_migrated(folder / "a.db")
    database = Database(f"sqlite:///{folder / 'a.db'}")
    yield Opening(folder, database, SystemClock(), {"carrier": "a secret"})
    database.close()


def refused(folder: Path, text: str) -> list[str]:
    (folder / FILE).write_text(text)
    with pytest.raises(LibraryError) as caught:
        read_channels(folder)
    return [f"{one.field}: {one.message}" for one in caught.value.problems]


def test_without_the_file_there_is_the_mailbox(tmp_path: Path, opening: Opening) -> None:
    (spec,) = read_channels(tmp_path).values()
    assert isinstance(spec.open(opening), Mailbox)
    assert spec.entry.id == "mailbox"


def test_with_the_file_there_is_what_it_names(tmp_path: Path, opening: Opening) -> None:
    (tmp_path / FILE).write_text("channels:\n  - {id: letters, kind: mailbox}\n")
    assert set(read_channels(tmp_path)) == {"letters"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["document: Input should be a valid dictionary or instance of ChannelsDocument"]),
        ("channels: []", ["channels: List should have at least 1 item after validation, not 0"]),
        (
            "channels: [{id: a, kind: mailbx}]",
            ["channels.0.kind: there is no kind 'mailbx', did you mean 'mailbox'?"],
        ),
        (
            "channels: [{id: a, kind: mailbox}, {id: b, kind: mailbox, settigs: {}}]",
            ["channels.1.settigs: there is no such field, did you mean 'settings'?"],
        ),
        (
            "channels: [{id: a, kind: mailbox, settings: {folder: here}}]",
            ["channels.0.settings.folder: there is no such field; there are none"],
        ),
        (
            "channels: [{id: a, kind: mailbox}, {id: a, kind: mailbox}]",
            ["channels.0.id: the id 'a' is used 2 times", "channels.1.id: the id 'a' is used 2 times"],
        ),
        (
            "channels: [{id: webhook, kind: mailbox}]",
            ["channels.0.id: 'webhook' is how flows tell other systems; give the channel another name"],
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, told: list[str]) -> None:
    assert refused(tmp_path, text) == told


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(
        "channels:\n  - {id: a, kind: pigeon}\n  - {id: b, kind: mailbox, settings: {x: 1}}\n"
    )
    with pytest.raises(LibraryError) as caught:
        read_channels(tmp_path)
    assert [one.line for one in caught.value.problems] == [2, 3]


# Kinds that packages add


class PigeonSettings(Document):
    loft: str
    token: str


class Pigeons:
    address, consent = Address.PHONE, Mailbox.consent
    after_crash, retry = AfterCrash.UNKNOWN, Retry()

    def __init__(self, settings: PigeonSettings, name: str, opening: Opening) -> None:
        self.loft, self.name, self.token = settings.loft, name, opening.secret(settings.token)

    def send(self, message: Message) -> Receipt:
        return Receipt(f"{self.loft}:{message.address}")


PIGEONS = Kind(PigeonSettings, Pigeons)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, points: str) -> None:
    """Put a package beside the installed ones: what `importlib.metadata` finds is a real distribution."""
    info = folder / "carriers-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: carriers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[nextplay.channels]\n{points}\n")
    module = sys.modules[__name__]
    (folder / "carriers.py").write_text("")
    monkeypatch.setitem(sys.modules, "carriers", module)
    monkeypatch.syspath_prepend(folder)


def test_a_package_adds_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: Opening) -> None:
    install(tmp_path / "site", monkeypatch, "pigeon = carriers:PIGEONS")
    assert names() == sorted({*KINDS, "pigeon"})
    entry = "{id: bird, kind: pigeon, settings: {loft: north, token: %s}}"
    (tmp_path / FILE).write_text(f"channels: [{entry % 'carrier'}]")
    channel = read_channels(tmp_path)["bird"].open(opening)
    assert isinstance(channel, Pigeons)
    assert (channel.name, channel.token) == ("bird", "a secret")
    sent = channel.send(Message("k", "ann", "", "hello", SystemClock().now(), "+49151"))
    assert sent.reference == "north:+49151"

    (tmp_path / FILE).write_text(f"channels: [{entry % 'nobodys'}]")
    with pytest.raises(
        ConfigurationError, match=r"channel 'bird': there is no secret 'nobodys': set it in NEXTP"
    ):
        read_channels(tmp_path)["bird"].open(opening)
    assert refused(tmp_path, "channels: [{id: bird, kind: pigeon, settings: {loft: n, tokn: c}}]") == [
        "channels.0.settings.token: Field required",
        "channels.0.settings.tokn: there is no such field, did you mean 'token'?",
    ]
    assert refused(tmp_path, "channels: [{id: bird, kind: pigon}]") == [
        "channels.0.kind: there is no kind 'pigon', did you mean 'pigeon'?"
    ]


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ("pigeon = carriers:GONE", "the package carriers can't load its kind 'pigeon': AttributeError"),
        ("pigeon = carriers:NOTHING", "the package carriers gives for 'pigeon' no Kind but ModelMetaclass"),
        ("mailbox = carriers:PIGEONS", "several packages have a kind 'mailbox' (nextplay, carriers)"),
    ],
)
def test_a_package_that_adds_no_kind_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: str, told: str
) -> None:
    install(tmp_path / "site", monkeypatch, points)
    kind = points.partition(" ")[0]
    (problem,) = refused(tmp_path, f"channels: [{{id: a, kind: {kind}}}]")
    assert problem.startswith(f"channels.0.kind: {told}")


NOTHING = NoSettings


# What the documentation shows

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "channels.md"
SHOWN = re.findall(r"```yaml\n(channels:.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("text", SHOWN, ids=range(len(SHOWN)))
def test_what_the_reference_shows_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    for spec in read_channels(tmp_path).values():
        written = spec.settings.model_dump(mode="json", exclude_unset=True)
        assert spec.kind.settings.model_validate(written) == spec.settings


def test_the_reference_describes_every_kind_and_its_fields() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        assert re.search(rf"^## .*\b{name}\b", text, re.MULTILINE), name
        for field in kind.settings.model_fields:
            assert f"`{field}`" in text or f"`{field}." in text, (name, field)


@pytest.mark.parametrize(
    ("then", "problem"),
    [("smss", "no channel 'smss', did you mean 'sms'?"), ("email", "can't go on to it")],
)
def test_next_ways_are_other_channels_of_the_file(tmp_path: Path, then: str, problem: str) -> None:
    (tmp_path / FILE).write_text(
        "channels:\n"
        f"  - {{id: email, kind: mailbox, management: {{then: [{then}]}}}}\n"
        "  - {id: sms, kind: mailbox}\n"
    )
    with pytest.raises(LibraryError) as error:
        read_channels(tmp_path)
    assert problem in str(error.value)
    assert "channels.0.management.then.0" in str(error.value)


def test_the_reference_describes_every_field_of_the_management() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    for field in Management.model_fields:
        assert f"| `{field}` |" in text, field
