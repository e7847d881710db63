"""`nextplay train` and `nextplay tune`: policies learnt from a log of rounds, offline."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decision.asking import at_hand
from decision.printing import print_json
from decision.version_files import check_new, write_version

if TYPE_CHECKING:
    from learning.offline import Judged

Log = Annotated[
    Path, typer.Argument(help="A log as `nextplay evaluate` reads it: rounds, decisions, dsjson.")
]
LogOrFolder = Annotated[
    Path,
    typer.Argument(
        help="A log, as `nextplay evaluate` reads it: rounds, decisions, dsjson; or a service's folder."
    ),
]
Spec = Annotated[Path, typer.Option(help="The policy's specification, as policy.yaml.")]
Out = Annotated[Path | None, typer.Option(help="Write the trained version to this file.")]
HeldOut = Annotated[
    float, typer.Option(min=0.05, max=0.95, help="Share of the rounds, the last ones, that is judged on.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def train(
    log: LogOrFolder,
    spec: Spec,
    out: Out = None,
    held_out: HeldOut = 0.3,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that learn a service's folder at a time.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Train a policy on the earlier rounds of a log, and say what it is worth on the later ones."""
    from learning import offline  # noqa: PLC0415 - NumPy and SciPy, needed here only
    from learning.spec import read_spec  # noqa: PLC0415

    check_new(out)
    if offline.is_ledger(log):
        with at_hand(log, "evaluate") as (_, database, clock):
            trained = offline.train_on_ledger(
                database, read_spec(spec), clock.now(), held_out=held_out, processes=processes
            )
    else:
        rounds = offline.read_rounds(log)
        trained = offline.train(rounds, read_spec(spec), datetime.now(UTC), held_out=held_out)
    write_version(trained.version, out)
    if as_json:
        print_json({"trained_on": trained.rounds, "held_out": trained.held_out})
        return
    typer.echo(f"trained on {trained.rounds:,} rounds")
    for line in _told(trained.held_out):
        typer.echo(line)


def tune(
    log: Log,
    spec: Spec,
    grid: Annotated[Path, typer.Option(help="YAML: lists of values by the path of a field of the spec.")],
    out: Out = None,
    held_out: HeldOut = 0.3,
    processes: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train every setting of a grid, and choose the one worth most on rounds held out."""
    from learning import offline  # noqa: PLC0415 - as above
    from learning.spec import read_spec  # noqa: PLC0415

    check_new(out)
    points = offline.read_grid(grid, read_spec(spec))
    rounds = offline.read_rounds(log)
    tuned, trained = offline.tune(rounds, points, datetime.now(UTC), held_out=held_out, processes=processes)
    write_version(trained.version, out)
    if as_json:
        print_json(tuned)
        return
    for setting in tuned.settings:
        name = ", ".join(f"{key}={value}" for key, value in setting.sets.items())
        worth = f"failed: {setting.failed}" if setting.judged is None else _worth(setting.judged)
        typer.echo(f"{name}  {worth}")
    typer.echo("the first, on rounds that had no part in choosing it:")
    for line in _told(tuned.proof):
        typer.echo(line)


def _told(judged: Judged) -> list[str]:
    return [
        f"worth {_worth(judged)} a round on {judged.rounds:,} rounds held out; "
        f"the policy that drew them earned {judged.logged:.4f}: {judged.verdict}",
        f"rewards predicted with an error of {judged.rms_error:.4f} "
        f"(by the mean alone: {judged.constant_error:.4f})",
        *(f"doubt: {one}" for one in judged.doubts),
    ]


def _worth(judged: Judged) -> str:
    if judged.value is None:
        return "unknown"
    if judged.interval is None:
        return f"{judged.value:.4f}"
    low, high = ("…" if bound is None else f"{bound:.4f}" for bound in judged.interval)
    return f"{judged.value:.4f} [{low}, {high}]"
