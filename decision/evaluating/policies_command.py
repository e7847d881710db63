"""`nextplay policies`: champion and challengers of a running service, and what shapes what they offer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from decision.asking import Data, Key, at_hand, remote
from decision.asking import Url as OfService
from decision.printing import print_json
from decision.shaping_commands import shape, shaping
from decision.version_files import check_new, write_version
from playbooks.money import rate

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Url = Annotated[str, typer.Option(help="Address of the running service.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Policy = Annotated[str, typer.Argument(help="Id of the policy.")]
_HERE = "http://127.0.0.1:8321"


@app.command("list")
def list_(url: Url = _HERE, key: Key = None, as_json: Json = False) -> None:
    """Print who is in charge, who competes, what is known of each, and what is shown without a policy."""
    with remote(url, None, key) as service:
        answer: Any = service.ask("GET", "/v1/policies")
    if as_json:
        print_json(answer)
        return
    for one in answer["policies"]:
        typer.echo(f"{one['id']:<24}{one['role']:<12}{one['version'] or 'no version yet'}{_led(one)}")
        if one["evidence"] is not None:
            _tell(one["evidence"])
    for one in answer["fallbacks"]:
        shown = one["variant"] or "nothing" + ("" if one["why"] is None else f" ({one['why']})")
        typer.echo(f"without a policy, {one['placement']} shows {shown}")


@app.command()
def show(policy: Policy, url: Url = _HERE, key: Key = None, as_json: Json = False) -> None:
    """Print one policy: evidence so far, what speaks against promoting it, and how past claims did."""
    with remote(url, None, key) as service:
        answer: Any = service.ask("GET", f"/v1/policies/{quote(policy, safe='')}")
    if as_json:
        print_json(answer)
        return
    typer.echo(f"{answer['id']}: {answer['role']}, {answer['version'] or 'no version yet'}{_led(answer)}")
    if answer["evidence"] is not None:
        _tell(answer["evidence"])
    typer.echo(answer["record"]["says"])


@app.command()
def promote(
    policy: Policy,
    why: Annotated[str, typer.Option(help="Why it is to take charge.")] = "",
    url: Url = _HERE,
    key: Key = None,
) -> None:
    """Put a policy in charge, if there is proof."""
    with remote(url, None, key) as service:
        answer: Any = service.ask("POST", f"/v1/policies/{quote(policy, safe='')}/promote", {"why": why})
    typer.echo(f"{policy} is in charge:")
    _tell(answer)


@app.command("rebuild")
def rebuild_(
    version: Annotated[str, typer.Argument(help="Name of the version, as next_category@7.")],
    data: Data = None,
    url: OfService = None,
    key: Key = None,
    out: Annotated[
        Path | None, typer.Option(help="With --data: write the rebuilt version to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Learn a version again from the ledger; say how far it is what was published. Publishes nothing."""
    check_new(out)
    if url is not None:
        if out is not None:
            raise typer.BadParameter("--out goes with --data: a service tells how the version compares")
        with remote(url, data, key) as service:
            answer: Any = service.ask("POST", f"/v1/policies/versions/{quote(version, safe='')}/rebuild")
    else:
        import msgspec  # noqa: PLC0415 - as below

        from learning.rebuilding import rebuild  # noqa: PLC0415 - NumPy and SciPy, needed here only

        with at_hand(data, "evaluate") as (_, database, _clock):
            made, told = rebuild(database, version)
        write_version(made, out)
        answer = msgspec.to_builtins(told)
    if as_json:
        print_json(answer)
        return
    typer.echo(
        f"{answer['version']}: {answer['verdict']}; {answer['trained']:,} of {answer['published']:,} "
        f"decisions learnt again in {answer['steps']:,} steps"
    )
    if answer["largest_difference"]:
        typer.echo(f"    predictions differ by at most {answer['largest_difference']:.3g}")
    for line in answer["says"]:
        typer.echo(f"    {line}")


def _led(standing: Any) -> str:
    return f", led by {standing['member']}" if standing["member"] else ""


@app.command()
def claims(
    policy: Annotated[str | None, typer.Option(help="Only claims of this policy.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="So many evaluations, the newest.")] = 20,
    url: Url = _HERE,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Print what promotions and evaluations promised, and what came of it."""
    asked = "" if policy is None else f"&policy={quote(policy, safe='')}"
    with remote(url, None, key) as service:
        answer: Any = service.ask("GET", f"/v1/claims?limit={limit}{asked}")
    if as_json:
        print_json(answer)
        return
    for one in answer["promotions"]:
        typer.echo(f"{one['at'][:19]} promoted {one['policy']}, instead of {one['former']}")
        _tell_span("promised", one["promised"])
        if one["live"] is not None:
            _tell_span(_word(one["live"]["held"]), one["live"])
    for one in answer["evaluations"]:
        typer.echo(f"{one['at'][:19]} evaluated {one['version']} against {one['baseline']}: {one['verdict']}")
        _tell_span("said", one["value"])
        if one["came"] is not None:
            _tell_span(_word(one["came"]["held"]), one["came"]["value"])
        elif one["unscored"]:
            typer.echo(f"    never scored: {one['unscored']}")
    typer.echo(answer["record"]["says"])


app.command()(shaping)
app.command()(shape)


def _word(held: bool) -> str:
    return "held, live" if held else "NOT held, live"


def _tell_span(what: str, one: Any) -> None:
    typer.echo(f"    {what:<15}{one['value']:+.4g} a decision, from {one['low']:+.4g} to {one['high']:+.4g}")


def _tell(evidence: Any) -> None:
    """Print what is known of a policy against the one in charge."""
    if evidence["value"] is not None:
        typer.echo(
            f"    {evidence['value']:+.4g} a decision against {evidence['against']}, for sure from "
            f"{evidence['low']:+.4g} to {evidence['high']:+.4g} ({evidence['confidence']:.2%} at all times, "
            f"{evidence['rounds']:,} decisions)"
        )
    for guard in evidence["guards"]:
        value, high = (rate(guard[name], guard["unit"], "+") for name in ("value", "high"))
        typer.echo(
            f"    {guard['name']}: {value} a decision, at most {high}; "
            f"{'below' if guard['kept'] else 'NOT below'} {rate(guard['margin'], guard['unit'])}"
        )
    for reason in evidence["reasons"]:
        typer.echo(f"    not yet: {reason}")
