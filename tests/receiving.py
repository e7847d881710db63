"""Another system that takes what it is told by signed webhooks, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from standardwebhooks import Webhook


class Receiver(ThreadingHTTPServer):
    """Keeps what it was told, each with the id of its webhook; its first answer is that it is busy.

    What is not signed by the secret is not answered.
    """

    def __init__(self, secret: str) -> None:
        super().__init__(("127.0.0.1", 0), _Takes)
        self.webhook = Webhook(secret)
        self.busy = True
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/told"


class _Takes(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        told = self.server.webhook.verify(body, dict(self.headers.items()))
        assert told == json.loads(body)
        if self.server.busy:
            self.server.busy = False
            self.send_response(503)
        else:
            self.server.taken.append((self.headers["webhook-id"], told))
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def receiving(secret: str) -> Iterator[Receiver]:
    """Run a receiver for as long as the block lasts."""
    with Receiver(secret) as receiver:
        thread = Thread(target=receiver.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()
