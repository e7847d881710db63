"""What the README tells a newcomer to type works, on the database of a small run of the demo."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from decision.demo import run as demo_run
from decision.demo.data import CompleteJourney, start_of_week
from decision.demo.run import finish, prepare, progress_bars, replay_year
from tests.launching import running_service

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in block.replace("\\\n", " ").splitlines()
]
USER = "900"


@dataclass
class Served:
    """Where the service answers, and the folder in which commands are typed."""

    url: str
    folder: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service over the data of a small demo, as `make serve` would run it."""
    journey = CompleteJourney([int(USER)])
    folder = tmp_path_factory.mktemp("readme")
    demo = folder / "var" / "demo"
    unfinished = prepare(demo, fresh=False)
    with progress_bars() as progress, pytest.MonkeyPatch.context() as patch:
        # It forks with all imported, as in other tests.
        patch.setattr(demo_run, "running_service", running_service)
        replay_year(journey, unfinished, "demo", progress, weeks=(14,))
    end = start_of_week(16)
    finish(unfinished, demo, clock=end, seed="demo")
    with running_service(demo, clock=end, seed="demo", log=demo / "again.log") as client:
        yield Served(str(client.http.base_url).rstrip("/"), folder)


def test_every_command_is_known_to_this_test() -> None:
    assert [command.split()[0] for command in COMMANDS] == [
        "make",
        "make",
        "make",
        "curl",
        "curl",
        "curl",
        NEXTPLAY,
        NEXTPLAY,
    ]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in COMMANDS[:3]:
        assert re.search(rf"^{command.split()[1]}:", makefile, re.M)


NEXTPLAY = ".venv/bin/nextplay"


def typed(command: str, served: Served, decision_id: str = "") -> dict[str, object]:
    """Run a curl line of the README against the served port and return the JSON it prints."""
    line = command.replace("http://127.0.0.1:8321", served.url)
    line = line.replace("<decision_id>", decision_id)
    run = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, timeout=30, check=True, cwd=served.folder
    )
    answer: dict[str, object] = json.loads(run.stdout)
    return answer


def test_the_curl_lines_work(served: Served) -> None:
    ask, show, replay = (command for command in COMMANDS if command.startswith("curl"))
    answer = typed(ask, served)
    shown = json.loads(re.search(r"```json\n(.*?)```", README, re.S).group(1))  # type: ignore[union-attr]
    assert answer.keys() == shown.keys()
    assert answer["fallback"] is None
    record = typed(show, served, str(answer["decision_id"]))
    assert record["user_id"] == USER
    assert typed(replay, served, str(answer["decision_id"]))["identical"] is True


def test_the_documentation_points_at_files_that_exist() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} points at {target}"


def test_the_demo_leaves_its_key_for_its_owner_only(served: Served) -> None:
    demo = served.folder / "var" / "demo"
    key = (demo / "key").read_text(encoding="utf-8").strip()
    assert f"NEXTPLAY_ADMIN_KEY={key}\n" in (demo / "settings.env").read_text(encoding="utf-8")
    for file in ("key", "settings.env"):
        assert (demo / file).stat().st_mode & 0o777 == 0o600
