"""A library whose files do not fit together is refused, with every problem."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from decision.demo.run import LIBRARY
from decision.files import read_files
from decision.init_command import PROJECT
from feature_repo.specs import AGGREGATES, EVENTS, load_specs
from playbooks.errors import LibraryError
from playbooks.goals import know_events
from playbooks.library import expand
from storage.errors import ConfigurationError


def test_the_demos_library_fits_together() -> None:
    files = read_files(LIBRARY)
    assert files.policy.placements == ["outbound"]
    assert list(files.vocabularies) == ["category"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no library folder"):
        read_files(tmp_path / "nowhere")


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
        (
            "contents.yaml",
            "{{ offer.name }} waits",
            "{% if offer.name %} waits",
            "line 5, column 5: offer_notice.body",
        ),
        ("policy.yaml", "category_rate_hl8", "category_weeks_2w", "do not read 'category_weeks_2w'"),
        (
            "policy.yaml",
            "placements: [outbound]",
            "placements: [outbound]\nguards: [{loyal: gold, newer: new_shoper}]",
            "guards.0.newer: no audience 'new_shoper', did you mean 'new_shopper'?",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, name: str, old: str, new: str, what: str) -> None:
    folder = Path(shutil.copytree(LIBRARY, tmp_path / "library"))
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    with pytest.raises(LibraryError) as failure:
        read_files(folder)
    assert what in str(failure.value)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """The demo's library with an event, a vocabulary and features of its own."""
    folder = Path(shutil.copytree(LIBRARY, tmp_path / "library"))
    document = yaml.safe_load(AGGREGATES.read_text(encoding="utf-8"))
    document["views"]["user_visits"] = {
        "entity": "user",
        "event": "page_viewed",
        "features": [{"name": "visits", "function": "count", "windows": ["3d"]}],
    }
    document["services"]["audience_rules"].append("user_visits")
    (folder / "aggregates.yaml").write_text(yaml.safe_dump(document))
    events = yaml.safe_load(EVENTS.read_text(encoding="utf-8"))
    events["events"]["page_viewed"] = {"seconds": "float"}
    (folder / "events.yaml").write_text(yaml.safe_dump(events))
    audiences = folder / "audiences.yaml"
    audiences.write_text(audiences.read_text() + "  - {tag: visitor, rule: visits_3d > 0}\n")
    playbook = folder / "playbooks" / "welcome.yaml"
    old = "where: list_contains(event.categories, arm.category)"
    assert old in playbook.read_text()
    playbook.write_text(
        playbook.read_text()
        .replace("event: order_completed", "event: page_viewed")
        .replace(old, "where: event.seconds > 10")
    )
    yield folder
    know_events(load_specs().events.events)


def test_a_library_has_events_features_and_rules_of_its_own(own: Path) -> None:
    files = read_files(own)
    assert files.specs.events.events["page_viewed"] == {"seconds": "float"}
    assert "visits_3d" in files.specs.features_of("audience_rules")
    assert files.specs.vocabularies == load_specs().vocabularies


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        ("events.yaml", "seconds: float", "seconds: double", "events.yaml: events.page_viewed.seconds"),
        (
            "events.yaml",
            "  page_viewed:",
            "  page_seen:",
            "unknown event 'page_viewed'; events with a history are",
        ),
        ("aggregates.yaml", "- 3d", "- 3days", "'3days' is no window: write a number of weeks"),
        ("aggregates.yaml", "  decide:", "  decisions:", "no feature service 'decide'; declared are"),
        (
            "aggregates.yaml",
            "  decide:\n",
            "  decide:\n  - account_rfm\n",
            "service 'decide': view 'account_rfm' is of accounts, which decisions don't read",
        ),
        ("aggregates.yaml", "entities:", "entities: [", "aggregates.yaml: not YAML"),
    ],
)
def test_a_wrong_file_of_events_or_features_is_said(
    own: Path, name: str, old: str, new: str, what: str
) -> None:
    text = (own / name).read_text()
    assert old in text
    (own / name).write_text(text.replace(old, new))
    with pytest.raises(ConfigurationError) as failure:
        read_files(own)
    assert what in str(failure.value)
    assert (
        str(own / ("aggregates.yaml" if "unknown event" in what else name)) in str(failure.value)
        or "service" in what
    )


def test_events_that_the_shipped_features_do_not_fit_say_what_is_missing(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(LIBRARY, tmp_path / "library"))
    (folder / "events.yaml").write_text("events: {page_viewed: {seconds: float}}")
    with pytest.raises(
        ConfigurationError, match=r"unknown event(.|\n)*put one that goes with yours at .*aggregates.yaml"
    ):
        read_files(folder)


def test_a_fallback_that_could_not_be_shown_is_said(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PROJECT / "library", tmp_path / "library"))
    for name, text in {
        "offers.yaml": "\n- {id: hello, name: Welcome}\n",
        "contents.yaml": "\n- {id: greeting, subject: Hello, body: 'Dear {{ user.orders_12w }} times'}\n",
    }.items():
        with (folder / name).open("a") as file:
            file.write(text)
    plan = yaml.safe_load((folder / "playbooks" / "everyday.yaml").read_text())
    plan |= {
        "id": "hello",
        "variants": [{"offer": "hello", "channel": "mailbox", "content": "greeting"}],
        "flow": {"start": "over", "states": {"over": {"kind": "end", "result": "shown"}}},
    }
    (folder / "playbooks" / "hello.yaml").write_text(yaml.safe_dump(plan))
    policy = (folder / "policy.yaml").read_text()

    def refused(name: str) -> str:
        (folder / "policy.yaml").write_text(f"{policy}\nfallbacks: {{home: {name}}}\n")
        with pytest.raises(LibraryError) as failure:
            read_files(folder)
        return str(failure.value)

    assert "fallbacks.home: there is no playbook 'helo', did you mean 'hello'?" in refused("helo")
    said = refused("everyday")
    assert "policy.yaml names 'everyday' as the fallback of home, and the playbook gives away" in said
    assert "says nothing to whom nobody knows: the content 'greeting' can't be filled" in refused("hello")
    with (folder / "contents.yaml").open("a") as file:
        file.write("\n- {id: all, subject: Hello, body: 'Dear {{ user.orders_12w | default: \"you\" }}'}\n")
    plan["variants"][0]["content"] = "all"
    (folder / "playbooks" / "hello.yaml").write_text(yaml.safe_dump(plan))
    assert read_files(folder).policy.fallbacks == {"home": "hello"}


def test_a_policy_that_names_an_arm_its_playbook_has_not_is_said(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(LIBRARY, tmp_path / "library"))
    text = "id: one\nplacements: [outbound]\nexploration: {kind: single, variant: welcome/%s}\n"
    draft = read_files(folder).draft
    welcome = next(playbook for playbook in draft.playbooks if playbook.id == "welcome")
    first = expand(welcome, draft.offers)[0]
    (folder / "policy.yaml").write_text(text % "no_such_offer")
    with pytest.raises(LibraryError) as failure:
        read_files(folder)
    assert "exploration: playbook 'welcome' has no arm 'welcome/no_such_offer'; it has welcome/" in str(
        failure.value
    )
    (folder / "policy.yaml").write_text(text % first.offer)
    assert read_files(folder).policy.learner is None
