"""The command line of coupons: `nextplay coupons show|void|share|stock|import-stock`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from audiences.importing.reader import columns_of, read_rows
from decision.asking import Key, Remote, remote
from decision.printing import print_json
from delivery.coupons.errors import StockRefused
from playbooks.money import shown

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Url = Annotated[str, typer.Option(help="Address of the service.")]
Code = Annotated[str, typer.Argument(help="The coupon's code.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
_LOCAL = "http://127.0.0.1:8321"
_COLUMN = "code"


@app.callback()
def _coupons() -> None:
    """What can be done with coupons."""


@app.command()
def show(code: Code, url: Url = _LOCAL, key: Key = None, as_json: AsJson = False) -> None:
    """Print where a coupon stands, and what orders did with it."""
    with remote(url, None, key) as service:
        _tell(service.ask("GET", _path(code)), as_json)


@app.command()
def void(code: Code, url: Url = _LOCAL, key: Key = None, as_json: AsJson = False) -> None:
    """Let an open coupon be good for nothing any more."""
    with remote(url, None, key) as service:
        _tell(service.ask("POST", f"{_path(code)}/void"), as_json)


@app.command()
def share(
    code: Annotated[str, typer.Argument(help="The code, 4 to 32 letters, digits, - and _.")],
    offer: Annotated[str, typer.Option(help="The offer that it is for.")],
    uses: Annotated[int | None, typer.Option(min=1, help="Orders that may use it.")] = None,
    good_from: Annotated[str | None, typer.Option(help="The first moment, with its zone; now.")] = None,
    until: Annotated[str | None, typer.Option(help="The end, with its zone; as the offer says.")] = None,
    url: Url = _LOCAL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Make a code that many may use."""
    body = {"code": code, "offer": offer, "uses": uses, "good_from": good_from, "until": until}
    with remote(url, None, key) as service:
        _tell(service.ask("POST", "/v1/coupons", body), as_json)


@app.command()
def stock(url: Url = _LOCAL, key: Key = None, as_json: AsJson = False) -> None:
    """List the stocks of codes: how many are left, and whether that is low."""
    with remote(url, None, key) as service:
        found = service.ask("GET", "/v1/coupon-stock")["stocks"]
    if as_json:
        print_json(found)
        return
    for one in found:
        low = "\tLOW" if one["low"] else ""
        typer.echo(
            f"{one['offer']}\t{one['left']} of {one['added']} left, {one['given_7d']} given in 7 days{low}"
        )


@app.command("import-stock")
def import_stock(
    file: Annotated[Path, typer.Argument(help="CSV with a column `code`; also .ndjson or .parquet.")],
    offer: Annotated[str, typer.Option(help="The offer whose coupons get these codes.")],
    url: Url = _LOCAL,
    key: Key = None,
) -> None:
    """Add codes to the stock of an offer, all of a file or none of it."""
    codes = _codes(file)
    with remote(url, None, key) as service:
        added = _add(service, offer, codes)
    typer.echo(f"{added} codes added to the stock of {offer}")


def _codes(file: Path) -> list[dict[str, Any]]:
    columns = columns_of(file)
    if columns is not None and _COLUMN not in columns:
        raise StockRefused(
            f"{file.name} has no column `{_COLUMN}`; it has {', '.join(columns)}: name the column of codes so"
        )
    found: list[dict[str, Any]] = []
    for row in read_rows(file):
        if row.error:
            raise StockRefused(f"nothing was added: line {row.line}: {row.error}")
        found.append({"line": row.line, "code": str(row.values.get(_COLUMN, ""))})
    return found


def _add(service: Remote, offer: str, codes: list[dict[str, Any]]) -> int:
    added: int = service.ask("POST", "/v1/coupon-stock", {"offer": offer, "codes": codes})["added"]
    return added


def _path(code: str) -> str:
    return f"/v1/coupons/{quote(code, safe='')}"


def _tell(coupon: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(coupon)
        return
    whose = f" of {coupon['user_id']}" if coupon.get("user_id") else ""
    typer.echo(f"{coupon['code']}\t{coupon['state']}\t{coupon['offer']}{whose}")
    typer.echo(f"good\t{coupon['good_from']} until {coupon['expires_at']}")
    for one in coupon.get("orders", ()):
        discount = shown(one["discount"]["amount"], one["discount"]["currency"])
        typer.echo(f"order\t{one['order_id']}\t{one['standing']}\t{one['at']}\t{discount}")
