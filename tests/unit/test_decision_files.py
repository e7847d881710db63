"""A library whose files do not fit together is refused, with every problem."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from decision.demo.run import LIBRARY
from decision.files import read_files
from feature_repo.specs import load_specs
from playbooks.errors import LibraryError
from storage.errors import ConfigurationError

SPECS = load_specs()


def test_the_demos_library_fits_together() -> None:
    files = read_files(LIBRARY, SPECS)
    assert files.policy.placements == ["outbound"]
    assert list(files.vocabularies) == ["category"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no library folder"):
        read_files(tmp_path / "nowhere", SPECS)


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        (
            "playbooks/welcome.yaml",
            "audience: new_shopper",
            "audience: old_shopper",
            "no audience 'old_shopper'",
        ),
        (
            "playbooks/welcome.yaml",
            "channel: mailbox",
            "channel: pigeon",
            "no channel 'pigeon'; there are mailbox",
        ),
        ("playbooks/welcome.yaml", "placement: outbound", "placement: home", "serves outbound, not 'home'"),
        ("contents.yaml", "{{ offer.name }} waits", "{% if offer.name %} waits", "the body of the content"),
        ("policy.yaml", "category_rate_hl8", "category_weeks_2w", "do not read 'category_weeks_2w'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, name: str, old: str, new: str, what: str) -> None:
    folder = Path(shutil.copytree(LIBRARY, tmp_path / "library"))
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    with pytest.raises(LibraryError) as failure:
        read_files(folder, SPECS)
    assert what in str(failure.value)
