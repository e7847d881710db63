"""`nextplay experiments`: what a fixed split found out, looked at as often as one likes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from decision.asking import Key, Url, at_hand, remote
from decision.printing import print_json


def experiments(
    subject: Annotated[
        str,
        typer.Argument(
            help="A policy version that splits by fixed shares, or a file of rounds (action, reward, pscore)."
        ),
    ],
    control: Annotated[
        str | None, typer.Option(help="The arm to compare with. Default: that of the largest share.")
    ] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="How sure intervals are.")] = 0.95,
    data: Annotated[Path | None, typer.Option(help="Folder of a service that does not run.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the arms of a fixed split; intervals hold however often one looks. Changes nothing."""
    from decision.evaluating.experiments import own_experiment, told  # noqa: PLC0415 - NumPy and SciPy
    from learning.evaluation.experiment import Experiment, experiment  # noqa: PLC0415

    if Path(subject).exists():
        from learning.evaluation import read_log  # noqa: PLC0415

        found = experiment(read_log(Path(subject)), control, confidence)
    elif url is not None:
        import msgspec  # noqa: PLC0415

        asked = f"confidence={confidence}" + (
            "" if control is None else f"&control={quote(control, safe='')}"
        )
        with remote(url, data, key) as service:
            answer: Any = service.ask("GET", f"/v1/experiments/{quote(subject, safe='')}?{asked}")
        found = msgspec.convert(answer, Experiment)
    else:
        with at_hand(data, "evaluate") as (_, database, _clock):
            found = own_experiment(database, subject, control, confidence)
    if as_json:
        print_json(found)
        return
    for line in told(found):
        typer.echo(line)
