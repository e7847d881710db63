"""The how-to of channels: its commands, and its file with every channel against the sandbox it starts."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from delivery.channels.channel import Address, close_channels
from delivery.channels.documents import FILE, read_channels
from delivery.channels.kinds import Opening
from delivery.errors import NotHandedOver
from delivery.models import Message
from storage.engine import Database
from tests.launching import Forked, fork, run
from tests.migrated import copy_migrated

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "channels.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)
ADDRESSES = {Address.NONE: "", Address.EMAIL: "ann@example.com", Address.PHONE: "+4915112345678"}


def block(language: str, word: str) -> str:
    (found,) = [str(text) for kind, text in BLOCKS if kind == language and word in text]
    return found


def here(text: str, ports: tuple[str, str]) -> str:
    return text.replace("8325", ports[0]).replace("8326", ports[1])


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The command of the page, on ports that are free."""
    assert block("sh", "nextplay sandbox") == "nextplay sandbox\n"
    log = tmp_path_factory.mktemp("sandbox") / "log"
    process: Forked = fork(["sandbox", "--port", "0", "--smtp-port", "0"], {}, log)
    until = time.monotonic() + 30
    while "what came" not in log.read_text() and time.monotonic() < until:
        time.sleep(0.05)
    said = log.read_text()
    http, smtp = re.findall(r"http://127\.0\.0\.1:(\d+)/taken|port (\d+)", said)
    ports = (smtp[0], http[1])
    assert said == here(block("", "what came"), ports)
    yield ports
    process.terminate()
    assert process.wait(60) in (0, -signal.SIGTERM)


def test_the_page_as_it_stands(sandbox: tuple[str, str], tmp_path: Path) -> None:
    copy_migrated(tmp_path / "a.db")
    (tmp_path / FILE).write_text(here(block("yaml", "channels:"), sandbox))
    exported = re.search(r"NEXTPLAY_CHANNEL_SECRETS='(.*)'", block("sh", "export"))
    assert exported is not None
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    opening = Opening(tmp_path, database, secrets=json.loads(exported[1]))
    channels = {name: spec.open(opening) for name, spec in read_channels(tmp_path).items()}

    def send(name: str, key: str) -> None:
        to = ADDRESSES.get(channels[name].address, "a-device")
        channels[name].send(Message(key, "ann", "Hello", "Hi", datetime.now(UTC), to))

    for name in channels:
        send(name, "run:1:1")
    taken, behave, forget = here(block("sh", "/behaviour"), sandbox).splitlines()

    def curl(line: str) -> str:
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout

    came = json.loads(curl(taken))["taken"]
    assert sorted(one["protocol"] for one in came) == ["push", "smtp", "twilio"]
    curl(behave)
    for _ in range(3):
        with pytest.raises(NotHandedOver):
            send("sms", "run:2:1")
    send("sms", "run:2:1")
    curl(forget)
    assert json.loads(curl(taken)) == {"taken": []}
    close_channels(channels)
    database.close()


def test_a_port_that_is_in_use_is_told(sandbox: tuple[str, str]) -> None:
    done = run("sandbox", "--port", sandbox[0], "--smtp-port", "0")
    assert done.returncode == 1
    assert f"can't listen on {sandbox[0]} and 0: Address already in use; name others" in done.stderr
