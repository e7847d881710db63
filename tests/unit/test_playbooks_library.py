"""Reading a library: as a whole or not at all, with every problem and its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from decision.demo.run import LIBRARY
from playbooks.errors import LibraryError
from playbooks.library import MAX_ARMS, read_library
from playbooks.offers import Offer

Edit = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the demo's library."""
    return Path(shutil.copytree(LIBRARY, tmp_path / "library"))


def test_the_demos_library_is_sound() -> None:
    draft = read_library(LIBRARY)
    library = draft.publish(dict.fromkeys((playbook.id for playbook in draft.playbooks), 1))
    assert [playbook.id for playbook in library.playbooks] == [
        "bargain",
        "everyone",
        "thank_you",
        "welcome",
        "win_back",
    ]
    assert all(len(playbook.arms) == 40 for playbook in library.playbooks)
    assert library.placements == ["outbound"]


def test_equal_libraries_have_equal_versions(folder: Path) -> None:
    draft = read_library(folder)
    once = draft.publish(dict.fromkeys((playbook.id for playbook in draft.playbooks), 1))
    again = read_library(folder).publish(dict.fromkeys((playbook.id for playbook in draft.playbooks), 1))
    assert once.version == again.version
    newer = draft.publish(dict.fromkeys((playbook.id for playbook in draft.playbooks), 2))
    assert once.version != newer.version


def replaced(name: str, old: str, new: str) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


def removed(name: str) -> Edit:
    return lambda folder: (folder / name).unlink()


def too_many_offers(folder: Path) -> None:
    offers = [
        {"id": f"offer_{n}", "name": "x", "attributes": {"group": "category"}} for n in range(MAX_ARMS + 1)
    ]
    (folder / "offers.yaml").write_text(yaml.safe_dump(offers))


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (
            replaced("playbooks/welcome.yaml", "priority: 30", "priority: 30\ncolour: red"),
            "line 7, column 9: colour: there is no such field",
        ),
        (replaced("playbooks/welcome.yaml", "priority: 30", "priority: high"), "priority: Input should be"),
        (
            replaced("playbooks/welcome.yaml", "window: P56D", "window: soon"),
            "constraints.0.cap.window: 'soon' is no window",
        ),
        (replaced("playbooks/welcome.yaml", "limit: 4", "limit: 0"), "constraints.0.cap.limit"),
        (
            replaced("playbooks/welcome.yaml", "group: category", "group: tools"),
            "no offer has the group 'tools'",
        ),
        (replaced("playbooks/welcome.yaml", "offer_notice", "no_notice"), "there is no content 'no_notice'"),
        (replaced("playbooks/welcome.yaml", "id: welcome", "id: everyone"), "'everyone' is used 2 times"),
        (replaced("playbooks/welcome.yaml", "on_timeout: over", "on_timeout: nowhere"), "line 27"),
        (replaced("playbooks/welcome.yaml", "next: tell}", "next: tell"), "line"),
        (
            replaced(
                "playbooks/welcome.yaml", "event.categories, arm.category", "event.categoris, arm.category"
            ),
            'did you mean "event.categories"',
        ),
        (replaced("offers.yaml", "id: bacon", "id: Bacon!"), "String should match pattern"),
        (removed("offers.yaml"), "there is no such file"),
        (lambda folder: shutil.rmtree(folder / "playbooks"), "no playbook"),
        (lambda folder: (folder / "offers.yaml").write_text("a: 1"), "must be a list of offers"),
        (lambda folder: (folder / "offers.yaml").write_bytes(b"\xff\xfe\x00"), "UTF-8"),
        (too_many_offers, "at most 64 can be told apart by one playbook's traffic (variants.0 has 65)"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(folder: Path, edit: Edit, what: str) -> None:
    edit(folder)
    with pytest.raises(LibraryError) as failure:
        read_library(folder)
    assert what in str(failure.value)
    assert str(folder) in str(failure.value)


def test_all_problems_are_told_at_once(folder: Path) -> None:
    replaced("playbooks/welcome.yaml", "offer_notice", "no_notice")(folder)
    replaced("playbooks/win_back.yaml", "priority: 20", "priority: x")(folder)
    with pytest.raises(LibraryError) as failure:
        read_library(folder)
    assert "welcome.yaml" in str(failure.value)
    assert "win_back.yaml" in str(failure.value)


def test_an_offer_is_good_for_two_weeks_unless_it_says_otherwise() -> None:
    assert Offer(id="x", name="X").validity.for_ == timedelta(days=14)
