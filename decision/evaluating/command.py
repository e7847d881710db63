"""`nextplay evaluate`: what a policy would have been worth, from a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decision.asking import Key, Url, at_hand, remote
from decision.printing import print_json

if TYPE_CHECKING:
    from learning.evaluation import Evaluation, How

OWN = "ledger"
_DATABASE = "nextplay.db"


def evaluate(
    log: Annotated[
        str,
        typer.Argument(
            help="Parquet or CSV rounds, a folder of the Open Bandit Dataset, VW dsjson, a service's folder, "
            f"or `{OWN}` for the decisions of the service at --data or --url."
        ),
    ],
    policy: Annotated[
        str | None,
        typer.Option(
            help="What to evaluate: a version (own decisions); logged, uniform, always:ACTION or a file with "
            "action_dist. Default: the log's action_dist."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="What to compare it with, as --policy. Default: logged.")
    ] = None,
    estimators: Annotated[
        str, typer.Option(help="Estimators, with commas, or all; a parameter as switch_dr=8.")
    ] = "all",
    intervals: Annotated[
        str, typer.Option(help="Intervals beside the one that is picked, with commas, or all.")
    ] = "",
    confidence: Annotated[float, typer.Option(help="How sure intervals are.")] = 0.95,
    rewards: Annotated[
        tuple[float, float] | None, typer.Option(help="The lowest and the highest reward there can be.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="Resamples of bootstraps.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of bootstraps.")] = 0,
    after: Annotated[int | None, typer.Option(help="Own decisions: only rewards after this seq.")] = None,
    until: Annotated[int | None, typer.Option(help="Own decisions: only rewards up to this seq.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of a service that does not run.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a policy would have been worth, with intervals, diagnostics and a verdict. Changes nothing."""
    from decision.evaluating.printing import told  # noqa: PLC0415 - NumPy and SciPy, needed here only
    from learning.evaluation import Evaluation, How  # noqa: PLC0415

    how = How(_names(estimators), _names(intervals), confidence, resamples, seed)
    own = log == OWN or (Path(log) / _DATABASE).is_file()
    if not own:
        _refuse_own_options(after, until, data, url)
        found = _elsewhere(Path(log), policy, baseline, rewards, how)
    elif url is not None:
        import msgspec  # noqa: PLC0415

        body = _request(policy, baseline, how, after, until)
        with remote(url, data, key) as service:
            answer: Any = service.ask("POST", "/v1/evaluations", body)
        found = msgspec.convert(answer, Evaluation)
    else:
        from decision.evaluating.own import evaluate_own  # noqa: PLC0415

        with at_hand(data if log == OWN else Path(log), "evaluate") as (_, database, _clock):
            found = evaluate_own(database, policy, baseline, how, after=after, until=until)
    if as_json:
        print_json(found)
        return
    for line in told(found):
        typer.echo(line)


def _elsewhere(
    path: Path, policy: str | None, baseline: str | None, rewards: tuple[float, float] | None, how: How
) -> Evaluation:
    from learning import evaluation  # noqa: PLC0415 - as above
    from learning.evaluation.logs import distributions  # noqa: PLC0415

    log = evaluation.read_log(path)
    if rewards is not None:
        log = log.between(*rewards)
    candidate = evaluation.candidate(log, policy, distributions)
    other = None if baseline is None else evaluation.candidate(log, baseline, distributions)
    return evaluation.evaluate(log, candidate, other, how)


def _refuse_own_options(*given: object) -> None:
    if any(one is not None for one in given):
        raise typer.BadParameter(
            f"--after, --until, --data and --url go with own decisions: write {OWN} as LOG"
        )


def _request(
    policy: str | None, baseline: str | None, how: How, after: int | None, until: int | None
) -> dict[str, Any]:
    asked = {
        "policy": policy,
        "baseline": baseline,
        "estimators": list(how.estimators),
        "intervals": list(how.intervals),
        "confidence": how.confidence,
        "resamples": how.resamples,
        "seed": how.seed,
        "after": after,
        "until": until,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _names(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())
