"""What `nextplay` starts: imports the command line, then runs it."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the command line.

    What it imports stays as long as the process: looking for garbage in between finds next to none, and would
    take a fifth of the time until a command begins.
    """
    gc.disable()
    from decision import cli  # noqa: PLC0415 - with the collector off

    gc.enable()
    cli.main()
