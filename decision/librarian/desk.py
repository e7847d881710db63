"""Where the library is worked on from the command line: in a running service, or in the database at hand."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol
from urllib.parse import quote, urlencode

import msgspec
import typer

from decision.asking import Remote, at_hand, remote
from decision.settings import Settings
from playbooks.library.approval import Approval
from playbooks.library.documents import Draft
from playbooks.library.drafts import Check
from playbooks.library.house_rules import written
from playbooks.library.lifecycle import State
from playbooks.library.problems import Problem
from playbooks.library.references import References
from playbooks.library.service import LibraryService
from storage.engine import Database

By = Annotated[
    str | None, typer.Option(help="Who does it, with --data; else the key's name. Default: your user name.")
]


class Desk(Protocol):
    """What can be done with a library, wherever it is; answers are those of the HTTP routes."""

    def list(self, state: State | None) -> Any: ...
    def show(self, playbook: str) -> Any: ...
    def move(self, playbook: str, move: str, version: int | None, why: str) -> Any: ...
    def diff(self, playbook: str, before: str, after: str) -> Any: ...
    def pilot(self, playbook: str) -> Any: ...
    def flow(self, playbook: str, version: int | None) -> Any: ...
    def import_(self, draft: Draft, approval: Approval | None, *, publish: bool) -> Any: ...
    def export(self) -> Any: ...


@contextmanager
def desk(data: Path | None, url: str | None, key: str | None, by: str | None) -> Iterator[Desk]:
    """Give the desk of a service at `url`, else that of the database in `data`.

    Raises:
        ConfigurationError: neither is there, or both are named.
    """
    if url is not None:
        with remote(url, data, key) as service:
            yield OverHttp(service)
    else:
        with at_hand(data) as (settings, database, clock):
            from decision.reach import AudienceReach  # noqa: PLC0415 - as in `_check_of`

            library = LibraryService(database, clock, _check_of(settings, database), AudienceReach(database))
            yield AtHand(library, database, by or getpass.getuser())


class OverHttp:
    """A running service's."""

    def __init__(self, service: Remote) -> None:
        self._ask = service.ask

    def list(self, state: State | None) -> Any:
        return self._ask("GET", "/v1/playbooks" + (f"?state={state.value}" if state else ""))

    def show(self, playbook: str) -> Any:
        return self._ask("GET", _path(playbook))

    def move(self, playbook: str, move: str, version: int | None, why: str) -> Any:
        return self._ask("POST", f"{_path(playbook)}/{move}", {"version": version, "why": why})

    def diff(self, playbook: str, before: str, after: str) -> Any:
        return self._ask("GET", f"{_path(playbook)}/diff?{urlencode({'from': before, 'to': after})}")

    def pilot(self, playbook: str) -> Any:
        return self._ask("GET", f"{_path(playbook)}/pilot")

    def flow(self, playbook: str, version: int | None) -> Any:
        return self._ask("GET", f"{_path(playbook)}/flow" + (f"?version={version}" if version else ""))

    def import_(self, draft: Draft, approval: Approval | None, *, publish: bool) -> Any:
        return self._ask("POST", "/v1/library/import", {**document_of(draft), "publish": publish})

    def export(self) -> Any:
        return self._ask("GET", "/v1/library/export")


class AtHand:
    """That of a database which nobody serves, or which is Postgres."""

    def __init__(self, library: LibraryService, database: Database, by: str) -> None:
        self._library, self._database, self._by = library, database, by

    def list(self, state: State | None) -> Any:
        from playbooks.library.views import listing  # noqa: PLC0415 - with the next

        return msgspec.to_builtins(listing(self._library, self._library.served(), state=state))

    def show(self, playbook: str) -> Any:
        from playbooks.library.views import detail  # noqa: PLC0415

        return msgspec.to_builtins(detail(self._library, playbook))

    def move(self, playbook: str, move: str, version: int | None, why: str) -> Any:
        from playbooks.library.views import standing  # noqa: PLC0415

        return msgspec.to_builtins(standing(self._library.move(playbook, move, self._by, why, version)))

    def diff(self, playbook: str, before: str, after: str) -> Any:
        changes = self._library.diff(playbook, before, after)
        return {"changes": msgspec.to_builtins(changes), "text": [str(one) for one in changes]}

    def pilot(self, playbook: str) -> Any:
        from learning.pilots import RewardedDecisions  # noqa: PLC0415 - SciPy
        from playbooks.library.pilots import Pilots  # noqa: PLC0415
        from playbooks.library.views import standing  # noqa: PLC0415

        one, verdict = Pilots(self._library, RewardedDecisions(self._database)).report(playbook)
        return msgspec.to_builtins({**standing(one), "report": verdict})

    def flow(self, playbook: str, version: int | None) -> Any:
        from playbooks.library.views import flow  # noqa: PLC0415

        return msgspec.to_builtins(flow(self._library, playbook, version))

    def import_(self, draft: Draft, approval: Approval | None, *, publish: bool) -> Any:
        done = self._library.import_(draft, by=self._by, source="cli", publish=publish, approval=approval)
        return msgspec.to_builtins(done)

    def export(self) -> Any:
        return self._library.export()


def document_of(draft: Draft) -> dict[str, Any]:
    """Return a library as one document, as the HTTP routes take it."""
    named = {
        "offers": draft.offers.values(),
        "contents": draft.contents.values(),
        "playbooks": draft.playbooks,
    }
    document: dict[str, Any] = {
        name: [one.written() for one in documents] for name, documents in named.items()
    }
    if draft.windows is not None:
        document["windows"] = draft.windows.written()
    if draft.constraints is not None:
        document["constraints"] = written(draft.constraints)
    return document


def _check_of(settings: Settings, database: Database) -> Check:
    """Return what is to be checked: all that the service's library folder says, if it is there."""
    if not settings.library_folder.is_dir():
        return _by_itself
    from audiences.selection.catalog import Catalogs  # noqa: PLC0415 - seconds, and not needed with --url
    from decision.files import read_files  # noqa: PLC0415
    from decision.fitting import Fitting  # noqa: PLC0415

    files = read_files(settings.library_folder)
    catalogs = Catalogs(database, files.definitions, files.schema)
    audiences: Callable[[], Collection[str]] = lambda: catalogs.read().specs  # noqa: E731
    return Fitting(audiences, files.policy, files.vocabulary, files.asked, files.in_flows, files.channels)


def _by_itself(draft: Draft) -> list[Problem]:
    references = References(draft.offers, draft.contents, draft.windows)
    return [one for playbook in draft.playbooks for one in references.problems(playbook)]


def _path(playbook: str) -> str:
    return f"/v1/playbooks/{quote(playbook, safe='')}"
