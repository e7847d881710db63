"""Walks through a page of the documentation as a newcomer would: types its commands, looks at what comes.

Blocks marked `sh` are typed one after the other in one shell, in a folder of their own. A block marked `json`
or `text` right after one is what that prints, `…` standing for what is left out; white space doesn't count.
`nextplay` is forked with all imported (`tests.launching`); `nextplay serve` goes on beside, at a port of its
own, and a second one takes the place of the first.
"""

from __future__ import annotations

import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from tests.launching import Forked, fork, run

# What `nextplay` is in the shell of a page: it lets the process of the test run it.
_COMMAND = """#!{python} -IS
import json, os, socket, sys
asking = socket.socket(socket.AF_UNIX)
asking.connect({address!r})
known = {{name: value for name, value in os.environ.items() if name.startswith("NEXTPLAY_")}}
asking.sendall(json.dumps([sys.argv[1:], os.getcwd(), known]).encode() + b"\\n")
status, said, errors = json.loads(asking.makefile().read())
sys.stdout.write(said)
sys.stderr.write(errors)
sys.exit(status)
"""
# What a newcomer types to have `nextplay`, which tests have.
_SET_UP = re.compile(r"^(make setup|\. \.venv/bin/activate)\n", re.M)
_BLOCK = re.compile(r"^```(sh|json|text)\n(.*?)^```", re.S | re.M)
_END = "\x1e"
_START_SECONDS = 90
_PORT = "8321"
# What a page may take on a machine that has much else to do.
_PAGE_SECONDS = 280


def walk(page: Path, folder: Path) -> None:
    """Type what a page says in a folder, and compare what is printed with what the page shows.

    Raises:
        AssertionError: a command fails, or prints something else.
    """
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    typed = [text for kind, text in blocks if kind == "sh"]
    shown: dict[int, str] = {}
    for kind, text in blocks:
        if kind == "sh":
            shown[len(shown)] = ""
        else:
            shown[len(shown) - 1] += text
    with _shell(folder) as (port, path):
        script = "".join(f"{_SET_UP.sub('', text)}\nprintf '{_END}'\n" for text in typed)
        ran = subprocess.run(
            ["sh", "-eu"],
            input=script.replace(f":{_PORT}", f":{port}"),
            env={**os.environ, "PATH": path},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_PAGE_SECONDS,
            check=False,
        )
    *printed, left = ran.stdout.replace(f":{port}", f":{_PORT}").split(_END)
    for number, text in enumerate(printed):
        assert same(shown[number], text), f"after\n{typed[number]}\ncame\n{text}\nnot\n{shown[number]}"
    assert ran.returncode == 0, f"{typed[len(printed)]}\n{left}\n{ran.stderr}"
    assert len(printed) == len(typed)


def same(shown: str, printed: str) -> bool:
    """Whether what is shown is what was printed, as far as it is shown; nothing shown is anything."""
    first, *rest = ("".join(part.split()) for part in shown.split("…"))
    text = "".join(printed.split())
    if not rest:
        return not shown or text == first
    at, (*between, last) = len(first), rest
    for part in between:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return text.startswith(first) and text.endswith(last) and at + len(last) <= len(text)


@contextmanager
def _shell(folder: Path) -> Iterator[tuple[int, str]]:
    """Answer the `nextplay` of a shell; give the port of the service, and the PATH that has it."""
    with TemporaryDirectory() as made, socket.create_server(("127.0.0.1", 0)) as probe:
        address = str(Path(made) / "socket")
        command = Path(made) / "nextplay"
        command.write_text(_COMMAND.format(python=sys.executable, address=address))
        command.chmod(0o755)
        port: int = probe.getsockname()[1]
        probe.close()
        with _Answering(address, port, folder / "service.log") as answering:
            thread = threading.Thread(target=answering.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield port, f"{made}:{Path(sys.executable).parent}:{os.environ['PATH']}"
            finally:
                answering.shutdown()
                thread.join()
                answering.stop()


class _Answering(socketserver.UnixStreamServer):
    """Runs one command after the other, and the service beside."""

    def __init__(self, address: str, port: int, log: Path) -> None:
        super().__init__(address, _Handler)
        self._port, self._log = port, log
        self._service: Forked | None = None

    def ran(self, arguments: list[str], folder: str, environment: dict[str, str]) -> tuple[int, str, str]:
        """Return exit code, standard output and standard error of a command."""
        if arguments[0] != "serve":
            done = run(*arguments, folder=folder, **environment)
            return done.returncode, done.stdout, done.stderr
        self.stop()
        arguments = [*arguments, "--port", str(self._port)]
        self._service = fork(arguments, {**os.environ, **environment}, self._log, folder=folder)
        until = time.monotonic() + _START_SECONDS
        while not self._ready():
            if self._service.poll() is not None or time.monotonic() > until:
                return 1, "", self._log.read_text()
            time.sleep(0.05)
        return 0, "", ""

    def stop(self) -> None:
        """Stop the service, as Ctrl-C does."""
        if self._service is not None:
            self._service.terminate()
            self._service.wait()

    def _ready(self) -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{self._port}/ready").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False


class _Handler(socketserver.StreamRequestHandler):
    server: _Answering

    def handle(self) -> None:
        self.wfile.write(json.dumps(self.server.ran(*json.loads(self.rfile.readline()))).encode())
