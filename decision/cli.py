"""The command line: `nextplay serve`, `nextplay demo`."""

from __future__ import annotations

import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from decision.errors import PortInUse
from decision.logs import configure
from decision.settings import Settings, load_settings
from storage.errors import NextplayError

# Longer than clients keep an idle connection, so that it is they who close it: a server that closes first
# meets requests already on their way.
KEEP_ALIVE_SECONDS = 75

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Data = Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")]


@app.command()
def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    library: Annotated[Path | None, typer.Option(help="Library folder, if not <data>/library.")] = None,
    seed: Annotated[str | None, typer.Option(help="Seed of every draw.")] = None,
    clock: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="Live at this moment, moved over HTTP."),
    ] = None,
    schedule: Annotated[bool | None, typer.Option(help="Run the jobs by themselves.")] = None,
) -> None:
    """Serve the API, and run the jobs of the loop."""
    settings = load_settings(
        data=data, host=host, port=port, library=library, seed=seed, clock=clock, schedule=schedule
    )
    configure()
    _serve(settings)


@app.command()
def demo(
    data: Annotated[Path, typer.Option(help="Where the run is kept.")] = Path("var/demo"),
    seed: Annotated[str, typer.Option(help="Seed of every draw; one seed, one result.")] = "demo",
    fresh: Annotated[bool, typer.Option(help="Replace an earlier run.")] = False,
) -> None:
    """Run the four stages on the Complete Journey retail data, through a service of its own."""
    from decision.demo.command import run_demo  # noqa: PLC0415 - pandas and plots, needed here only

    run_demo(data, seed=seed, fresh=fresh)


def main() -> None:
    """Run the command line; an error of ours is one message on standard error and exit code 1."""
    try:
        app(standalone_mode=True)
    except NextplayError as error:
        print(f"nextplay: {error}", file=sys.stderr)  # noqa: T201 - this is the command line's voice
        sys.exit(1)


def _serve(settings: Settings) -> None:
    import uvicorn  # noqa: PLC0415 - the commands that serve nothing start faster without it

    from decision.app import create_app  # noqa: PLC0415 - imports Feast, seconds
    from decision.wiring import Service  # noqa: PLC0415

    listening = _listen(settings.host, settings.port)
    try:
        service = Service(settings)
        try:
            config = uvicorn.Config(
                create_app(service),
                log_level="warning",
                access_log=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            service.close()
    finally:
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything is opened, so that one in use costs nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(socket.SOMAXCONN)
    except OSError as error:
        listening.close()
        raise PortInUse(
            f"can't listen on {host}:{port} ({error.strerror}): stop what uses it, or name another --port"
        ) from error
    return listening
