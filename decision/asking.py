"""Where a command does its work: in a running service (`--url`), or in the database at hand (`--data`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decision.errors import ServiceRefused
from decision.settings import Settings, load_settings
from storage.clock import Clock, SimulatedClock, SystemClock
from storage.engine import Database
from storage.errors import ConfigurationError, DatabaseInUse

if TYPE_CHECKING:
    import httpx2

Data = Annotated[
    Path | None, typer.Option(help="Folder of a service that does not run, or runs on Postgres.")
]
Url = Annotated[str | None, typer.Option(help="Address of a running service, http://127.0.0.1:8321.")]
Key = Annotated[
    str | None, typer.Option(envvar="NEXTPLAY_KEY", help="A key with the scope operate, with --url.")
]

_REQUEST_SECONDS = 120
_TOO_MANY, _UNAVAILABLE = 429, 503


class Remote:
    """A running service, asked over HTTP."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON answer.

        Raises:
            ServiceRefused: it did not do it; `busy` says whether it may later.
        """
        return self._ask(method, path, lambda response: response.json(), body, content, headers)

    def ask_text(self, method: str, path: str, body: Any = None) -> str:
        """Return an answer that is text, otherwise like `ask`."""
        text: str = self._ask(method, path, lambda response: response.text, body)
        return text

    def _ask(
        self,
        method: str,
        path: str,
        read: Callable[[httpx2.Response], Any],
        body: Any = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        import httpx2  # noqa: PLC0415 - as in `remote`

        try:
            response = self._http.request(method, path, json=body, content=content, headers=headers)
            if response.is_success:
                return read(response)
            detail = _detail(response)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise ServiceRefused(unanswered(str(self._http.base_url), error)) from error
        busy = response.status_code in (_TOO_MANY, _UNAVAILABLE)
        raise ServiceRefused(f"the service refused: {detail}", busy=busy)


def unanswered(url: str, error: Exception) -> str:
    """Say that no service answers at `url`, and what to do."""
    return (
        f"no service answers at {url}: {error}; start it with `nextplay serve`, or give its address as "
        "http://host:port"
    )


@contextmanager
def remote(url: str, data: Path | None, key: str | None) -> Iterator[Remote]:
    """Give the service at `url`.

    Raises:
        ConfigurationError: a folder is named too, or there is no key.
    """
    if data is not None:
        raise ConfigurationError("--url asks a running service, --data opens its database: give one of them")
    if key is None:
        raise ConfigurationError("--url needs a key with the scope operate: give it in NEXTPLAY_KEY or --key")
    import httpx2  # noqa: PLC0415 - an HTTP client, needed here only

    headers = {"Authorization": f"Bearer {key}"}
    with httpx2.Client(base_url=url, headers=headers, timeout=_REQUEST_SECONDS) as http:
        yield Remote(http)


@contextmanager
def at_hand(data: Path | None, scope: str = "operate") -> Iterator[tuple[Settings, Database, Clock]]:
    """Open the database of a service that does not run, or runs on Postgres.

    Args:
        scope: that a key needs to ask a running service instead.

    Raises:
        ConfigurationError: there is none.
        DatabaseInUse: a service runs on it; the message says how to ask that.
    """
    settings = load_settings(data=data)
    file = settings.data / "nextplay.db"
    if not settings.database_url and not file.exists():
        raise ConfigurationError(
            f"there is no database {file}; name the service's folder with --data, or a running service "
            "with --url; the first `nextplay serve` in a folder makes its database, or `nextplay migrate`"
        )
    try:
        database = Database(settings.url, create=False)
    except DatabaseInUse as error:
        raise DatabaseInUse(
            f"a service runs on {file} and nobody else may write there: ask it, with --url "
            f"http://{settings.host}:{settings.port} and a key with the scope {scope} in NEXTPLAY_KEY"
        ) from error
    with closing(database):
        yield settings, database, SimulatedClock(settings.clock) if settings.clock else SystemClock()


def _detail(response: httpx2.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}; is {response.url} a nextplay service?"
