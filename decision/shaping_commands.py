"""`nextplay policies shaping|shape`: guards and costs of a running service, shown and changed in flight."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from decision.asking import Key, remote
from decision.printing import print_json
from playbooks.errors import LibraryError
from playbooks.library.yaml_text import Refused, parse, written
from storage.errors import ConfigurationError

Url = Annotated[str, typer.Option(help="Address of the running service.")]
_HERE, _PATH = "http://127.0.0.1:8321", "/v1/shaping"
_PARTS = ("guards", "costs")
_VERSION = "version"


def shaping(
    url: Url = _HERE, key: Key = None, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Print the guards and costs that hold, as `shape` reads them, with their version."""
    with remote(url, None, key) as service:
        holds = service.ask("GET", _PATH)
    if as_json:
        print_json(holds)
    else:
        typer.echo(written(holds), nl=False)


def shape(
    file: Annotated[
        Path | None, typer.Argument(help="YAML with `guards`, `costs` or both; what it leaves out stays.")
    ] = None,
    cost: Annotated[
        list[str] | None, typer.Option(help="EUR=0.0003: what a cent of it costs; others stay. Repeat it.")
    ] = None,
    why: Annotated[str, typer.Option(help="Why; it is kept with the change.")] = "",
    url: Url = _HERE,
    key: Key = None,
) -> None:
    """Change guards and costs from the next decision on.

    A file with the `version` it was made from is refused where they were changed since.
    """
    if file is None and not cost:
        raise ConfigurationError("nothing to change: name a file, or a cost with --cost EUR=0.0003")
    said, costs = {} if file is None else _read(file), dict(map(_cost, cost or []))
    with remote(url, None, key) as service:
        holds = service.ask("GET", _PATH)
        version = said.pop(_VERSION, holds[_VERSION])
        new: dict[str, Any] = {name: holds[name] for name in _PARTS} | said
        if costs and isinstance(new["costs"], dict):
            # What is no table of costs the service refuses as a whole.
            new["costs"] = {**new["costs"], **costs}
        changed = service.ask("PUT", _PATH, {**new, "why": why}, headers={"If-Match": f'"{version}"'})
    if changed[_VERSION] == holds[_VERSION]:
        typer.echo(f"version {changed[_VERSION]} says so already")
    else:
        typer.echo(f"guards and costs are version {changed[_VERSION]}")


def _read(file: Path) -> dict[str, Any]:
    try:
        said = parse(str(file), file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: can't be read: {error}") from error
    except Refused as refused:
        raise LibraryError(str(refused)) from refused
    if not isinstance(said, dict) or not said.keys() & set(_PARTS):
        raise ConfigurationError(
            f"{file}: write `guards`, `costs` or both, as `nextplay policies shaping` does"
        )
    return said


def _cost(text: str) -> tuple[str, float]:
    currency, sign, number = text.partition("=")
    try:
        if sign and isfinite(told := float(number)):
            return currency, told
    except ValueError:
        pass
    raise ConfigurationError(f"--cost {text!r} must be a currency and a number, EUR=0.0003")
