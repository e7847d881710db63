"""`nextplay evaluate`: what a policy would have been worth, from a log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decision.asking import Key, Url, at_hand, remote
from decision.printing import print_json
from decision.version_files import holds_version, read_version

if TYPE_CHECKING:
    from learning.evaluation import Candidate, Evaluation, How, Log

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
            help="What to evaluate: a version, as next_category@7; on a log from elsewhere also logged, "
            "uniform, always:ACTION, a file that `train` wrote or one with action_dist. Default: the log's "
            "action_dist."
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
    promote: Annotated[
        bool,
        typer.Option("--promote", help="Say whether the policy may replace the baseline; promotes nothing."),
    ] = False,
    guard: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=MARGIN: a column guard.NAME of which more is worse, and how much more may be."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a service that does not run; on a log from elsewhere, of the one that published "
            "the version, whether it runs or not."
        ),
    ] = None,
    url: Url = None,
    key: Key = None,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page with pictures to this file.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Write the pictures as PNG into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a policy would have been worth, with intervals, diagnostics and a verdict.

    Nothing that serves users changes; what is said of own decisions is kept, to be scored when it is known.
    """
    from decision.evaluating.printing import told  # noqa: PLC0415 - NumPy and SciPy, needed here only
    from learning.evaluation import Evaluation, How  # noqa: PLC0415

    margins = _margins(guard or [])
    how = How(
        _names(estimators), _names(intervals), confidence, resamples, seed, promote or bool(margins), margins
    )
    own = log == OWN or (Path(log) / _DATABASE).is_file()
    if not own:
        _refuse_own_options(after, until, url)
        seen_elsewhere = _elsewhere(Path(log), policy, baseline, rewards, data)
        found = _drawn(seen_elsewhere, how, report, plots)
    elif url is not None:
        if report is not None or plots is not None:
            raise typer.BadParameter("pictures need the rounds at hand: name a folder instead of --url")
        import msgspec  # noqa: PLC0415

        body = _request(policy, baseline, how, after, until)
        with remote(url, data, key) as service:
            answer: Any = service.ask("POST", "/v1/evaluations", body)
        found = msgspec.convert(answer, Evaluation)
    else:
        from decision.evaluating.own import changes, claimed, look  # noqa: PLC0415

        with at_hand(data if log == OWN else Path(log), "evaluate") as (_, database, clock):
            seen = look(database, policy, baseline, after=after, until=until)
            drawn = _drawn(seen.judged, how, report, plots, changes(database))
            found = claimed(database, seen, drawn, clock.now())
    if as_json:
        print_json(found)
        return
    for line in told(found):
        typer.echo(line)


def _elsewhere(
    path: Path,
    policy: str | None,
    baseline: str | None,
    rewards: tuple[float, float] | None,
    data: Path | None,
) -> tuple[Log, Candidate, Candidate | None]:
    from learning import evaluation  # noqa: PLC0415 - as above
    from learning.evaluation.logs import distributions  # noqa: PLC0415
    from learning.offline.published import candidate_in_file, names_version  # noqa: PLC0415

    if data is not None and not (names_version(policy) or names_version(baseline)):
        raise typer.BadParameter(
            f"--data names the service that published a version, or goes with {OWN} as LOG: name a version, "
            "as next_category@7, with --policy or --baseline"
        )
    log = evaluation.read_log(path)
    if rewards is not None:
        log = log.between(*rewards)

    def named(policy: str | None) -> Candidate:
        if policy is not None and not Path(policy).exists() and names_version(policy):
            from decision.observe.looking import looking_at  # noqa: PLC0415 - databases' drivers

            with looking_at(data) as database:
                return candidate_in_file(database, policy, path, log)
        if policy is not None and holds_version(Path(policy)):
            from learning.offline.candidates import trained_candidate  # noqa: PLC0415

            return trained_candidate(read_version(Path(policy)), path, log)
        return evaluation.candidate(log, policy, distributions)

    return log, named(policy), None if baseline is None else named(baseline)


def _drawn(
    seen: tuple[Log, Candidate, Candidate | None],
    how: How,
    html: Path | None,
    folder: Path | None,
    marks: Sequence[tuple[datetime, str]] = (),
) -> Evaluation:
    """Evaluate, and write what was asked for."""
    from learning import evaluation  # noqa: PLC0415 - as above

    log, candidate, baseline = seen
    found = evaluation.evaluate(log, candidate, baseline, how)
    if html is not None or folder is not None:
        from decision.evaluating.report import write  # noqa: PLC0415 - a second of Matplotlib
        from learning.evaluation.plots import figures  # noqa: PLC0415

        other = baseline or evaluation.logged(log)
        write(found, figures(log, candidate, other, found, marks), html, folder)
    return found


def _refuse_own_options(*given: object) -> None:
    if any(one is not None for one in given):
        raise typer.BadParameter(
            f"--after, --until and --url go with own decisions: write {OWN} as LOG; for a version on a log "
            "from elsewhere name the folder of its service with --data"
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
        "promote": how.promote,
        "guards": dict(how.margins),
        "after": after,
        "until": until,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _margins(given: list[str]) -> dict[str, float]:
    margins = {}
    for text in given:
        name, equals, margin = text.partition("=")
        try:
            margins[name.strip()] = float(margin)
        except ValueError:
            equals = ""
        if not equals:
            raise typer.BadParameter(f"--guard {text}: write NAME=MARGIN, as --guard complaints=0.01")
    return margins


def _names(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())
