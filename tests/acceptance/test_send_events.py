"""What docs/how-to/send-events.md tells senders to type works, in its order, on a running service."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

from tests import launching
from tests.acceptance.driver import Running

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "send-events.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


def block(kind: str, starts: str = "") -> list[str]:
    return [text for of, text in BLOCKS if of == kind and text.startswith(starts)]


def typed(service: Running, command: str, folder: Path) -> str:
    """Run a command of the page against the service under test and return what it prints."""
    line = command.replace("http://127.0.0.1:8321", str(service.http.base_url).rstrip("/"))
    environment = {**os.environ, "NEXTPLAY_KEY": key_of(service)}
    done = subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done
    return done.stdout


def imported(service: Running, command: str, folder: Path) -> str:
    """Run the import of the page's file in the folder and return what it prints."""
    command = command.replace("http://127.0.0.1:8321", str(service.http.base_url).rstrip("/"))
    command = command.replace('"$NEXTPLAY_KEY"', key_of(service))
    assert command.startswith("nextplay import events orders.csv ")
    _, *words = shlex.split(command.replace("orders.csv", str(folder / "orders.csv")))
    done = launching.run(*words)
    assert done.returncode == 0, done
    return done.stdout


def key_of(service: Running) -> str:
    return service.http.headers["authorization"].removeprefix("Bearer ")


def test_the_curl_lines_work(service: Running, tmp_path: Path) -> None:
    single, batch = block("sh", "curl")
    (shown,) = block("json")
    assert json.loads(typed(service, single, tmp_path)) == json.loads(shown)
    again: dict[str, Any] = json.loads(typed(service, single, tmp_path))
    assert (again["accepted"], again["duplicates"]) == (0, 1)
    answer = json.loads(typed(service, batch, tmp_path))
    assert answer["accepted"] == 2
    assert [(one["index"], one["message_id"]) for one in answer["refused"]] == [(2, "t-1")]


def test_the_client_lines_work(service: Running) -> None:
    (code,) = block("python")
    told: list[Any] = []
    given = {"write_key": key_of(service), "print": lambda *said: told.append(said)}
    exec(code.replace("http://127.0.0.1:8321", str(service.http.base_url)), given)
    assert told == []
    history = service.http.get("/v1/users/ann").json()["history"]
    assert {"identify", "order_completed", "alias"} <= {fact["label"] for fact in history}


def test_the_import_works(service: Running, tmp_path: Path) -> None:
    (command,) = block("sh", "nextplay import")
    (file,) = block("csv")
    (tmp_path / "orders.csv").write_text(file)
    assert "2 recorded, 0 were there already" in imported(service, command, tmp_path)
    assert "0 recorded, 2 were there already" in imported(service, command, tmp_path)
