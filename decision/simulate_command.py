"""`nextplay simulate`: policies side by side on a table that knows what every arm would have earned."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from decision.printing import print_json


def simulate(
    table: Annotated[
        Path, typer.Argument(help="CSV or Parquet with context.<name> and reward.<arm>, a row a round.")
    ],
    policies: Annotated[
        str, typer.Option(help="Policies, with commas; all when none is named (see the reference).")
    ] = "",
    shuffles: Annotated[
        int, typer.Option(min=1, max=10_000, help="How often the rounds are run, each time in another order.")
    ] = 8,
    floor: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Total probability spread evenly over all arms.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Seed of orders and draws; one seed, one result.")] = 0,
    processes: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
    log: Annotated[
        Path | None,
        typer.Option(
            help="Write the rounds with their vectors to this CSV or Parquet file, one for each policy where "
            "there are several."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run policies side by side over shuffled rounds, each told only what the arm it drew earned."""
    from learning.simulation import Race, check_policies, read_table, run  # noqa: PLC0415 - NumPy and SciPy
    from learning.simulation.log import log_file, write_log  # noqa: PLC0415
    from learning.simulation.race import Rounds  # noqa: PLC0415

    names = check_policies([one.strip() for one in policies.split(",") if one.strip()])
    files = {name: log_file(log, name, len(names) > 1) for name in names} if log is not None else {}
    data = read_table(table)
    race = Race(names, shuffles, floor, seed, processes)
    rounds: dict[str, list[Rounds]] = {name: [] for name in names}
    changes: list[str] = []

    def keep(one: Rounds) -> None:
        changes.extend(
            f"{one.policy}, shuffle {one.shuffle}: {who} in charge after {after} rounds"
            for after, who in one.changes
        )
        if files:
            rounds[one.policy].append(one)

    found = run(data, race, keep, None if as_json else _say)
    for name, path in files.items():
        write_log(path, data, rounds[name])
        _say(f"{path}: {len(data) * shuffles:,} rounds of {name}")
    if as_json:
        run_as = {"rounds": len(data), "arms": data.arms, "shuffles": shuffles, "seed": seed, "floor": floor}
        print_json(run_as | {"policies": found})
        return
    for line in changes:
        typer.echo(line)
    width = max(map(len, found))
    for name, one in sorted(found.items(), key=lambda pair: -pair[1].mean):
        error = "" if one.se is None else f" ± {one.se:.4f}"
        typer.echo(f"{name:<{width}}  {one.mean:.4f}{error}")


def _say(text: str) -> None:
    """Tell of progress where it does not mix with the result."""
    typer.echo(text, file=sys.stderr)
