"""The command line of channels: `nextplay channels`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

import typer

from decision.asking import Data, Key, Url, at_hand, remote
from decision.printing import print_json

Which = Annotated[str | None, typer.Argument(help="One of them; none: all.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


def channels(
    name: Which = None, *, data: Data = None, url: Url = None, key: Key = None, as_json: AsJson = False
) -> None:
    """List the channels: their state, what waits, and what came of the last minutes."""
    found = _read(name, data, url, key)
    if as_json:
        print_json(found if name is None else found[0])
        return
    for one in found:
        typer.echo("\t".join(_told(one)))


def _read(name: str | None, data: Any, url: str | None, key: str | None) -> Sequence[Mapping[str, Any]]:
    if url is not None:
        with remote(url, data, key) as service:
            if name is not None:
                return [service.ask("GET", f"/v1/channels/{quote(name, safe='')}")]
            found: Sequence[Mapping[str, Any]] = service.ask("GET", "/v1/channels")["channels"]
            return found
    with at_hand(data) as (settings, database, clock):
        from decision.delivering import kinds_of, management_of  # noqa: PLC0415 - not needed with --url
        from delivery.channels.documents import read_channels  # noqa: PLC0415
        from delivery.channels.management.api import listing, one_of  # noqa: PLC0415

        specs = read_channels(settings.library_folder)
        kinds = kinds_of(specs)
        return listing(database, clock, kinds if name is None else one_of(kinds, name), management_of(specs))


def _told(one: Mapping[str, Any]) -> list[str]:
    minutes, breaker = one["minutes"], one["breaker"] or {}
    parts = [one["name"], one["state"], f"{one['waiting']} wait"]
    if one["oldest_at"]:
        parts.append(f"oldest {one['oldest_at']}")
    parts.append(f"{minutes['taken']} taken, {minutes['failed']} failed in {minutes['of']} minutes")
    parts += [f"{span}: {quota['left']} of {quota['limit']} left" for span, quota in one["quota"].items()]
    if breaker.get("opened_at"):
        parts.append(f"since {breaker['opened_at']}: {breaker['why']}")
    return parts
