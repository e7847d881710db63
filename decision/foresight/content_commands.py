"""`nextplay playbooks preview|proof`: messages before they go out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from decision.asking import Data, Key, Url, at_hand, remote
from decision.printing import print_json
from storage.errors import ConfigurationError

Playbook = Annotated[str, typer.Argument(help="Id of the playbook.")]
Version = Annotated[int | None, typer.Option(min=1, help="Version; else the one that is served.")]
AsDraft = Annotated[bool, typer.Option("--draft", help="The draft, as if it were live.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


def preview(
    playbook: Playbook,
    user: Annotated[str | None, typer.Option(help="For this user, with --url; else for the sample.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only in this language; repeat it.")] = None,
    version: Version = None,
    draft: AsDraft = False,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show every message of a playbook, as a user would get it, in every language; nothing is sent.

    Exit code 1 if one can't be filled.
    """
    wanted = {**shown_of(version, draft), "user_id": user, "languages": language or []}
    if url is not None:
        with remote(url, data, key) as service:
            found = service.ask("POST", f"{path_of(playbook)}/preview", wanted)
    elif user is not None:
        raise ConfigurationError("what is known of a user is known to a running service: ask it with --url")
    else:
        found = _at_hand(playbook, "draft" if draft else str(version or "served"), language or [], data)
    if as_json:
        print_json(found)
    else:
        for line in _lines(found):
            typer.echo(line)
    if any(one["problem"] for one in found["messages"]):
        raise typer.Exit(1)


def proof(
    playbook: Playbook,
    variant: Annotated[list[str] | None, typer.Option(help="Only this variant; repeat it.")] = None,
    version: Version = None,
    draft: AsDraft = False,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Send every message of a playbook to the seeds of the library (test_users.yaml); a service does it.

    Exit code 1 if one was not sent.
    """
    if url is None:
        raise ConfigurationError("proofs are sent by a running service: name it with --url")
    wanted = {**shown_of(version, draft), "variants": variant or []}
    with remote(url, data, key) as service:
        proofs = service.ask("POST", f"{path_of(playbook)}/proof", wanted)["proofs"]
    if as_json:
        print_json(proofs)
    else:
        for one in proofs:
            became = f"not sent: {one['problem']}" if one["problem"] else "sent"
            typer.echo(f"{one['user_id']}\t{one['variant']}\t{one['language'] or '-'}\t{became}")
    if any(one["problem"] for one in proofs):
        raise typer.Exit(1)


def _at_hand(playbook: str, side: str, languages: list[str], data: Data) -> dict[str, Any]:
    from decision.files import read_files  # noqa: PLC0415 - seconds, and not needed with --url
    from decision.foresight.previewing import Previews  # noqa: PLC0415
    from decision.reach import AudienceReach  # noqa: PLC0415
    from playbooks.library.service import LibraryService  # noqa: PLC0415

    with at_hand(data) as (settings, database, clock):
        library = LibraryService(database, clock, lambda _: (), AudienceReach(database))
        vocabulary = read_files(settings.library_folder).vocabulary
        shown = Previews(database, clock, library, vocabulary).preview(playbook, side, None, languages)
    return msgspec.to_builtins(shown)  # type: ignore[no-any-return]


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    whom = f"user {found['user_id']}, language {found['language'] or 'not known'}"
    yield f"{found['playbook']} ({found['shown']}) for {whom}"
    if found["assumed"]:
        yield f"assumed: {', '.join(found['assumed'])}"
    for one in found["messages"]:
        said = one["language"] or "no language"
        asked = f" (asked for {one['asked']})" if one["asked"] not in (None, one["language"]) else ""
        yield f"\n{one['variant']} on {one['channel']} in {said}{asked}, content {one['content']}"
        if one["problem"]:
            yield f"  can't be filled: {one['problem']}"
            continue
        if one["subject"]:
            yield f"  {one['subject']}"
            yield ""
        yield from (f"  {line}" for line in one["body"].splitlines())


def shown_of(version: int | None, draft: bool) -> dict[str, Any]:
    """Return what is to be shown, as the HTTP routes take it. Raises ConfigurationError."""
    if draft and version is not None:
        raise ConfigurationError("--draft and --version name two things to show: give one of them")
    return {"version": version, "draft": draft}


def path_of(playbook: str) -> str:
    """Return the path of a playbook over HTTP."""
    return f"/v1/playbooks/{quote(playbook, safe='')}"
