"""`nextplay sandbox`: a provider of mail, SMS and push on this machine, to try channels against."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from decision.errors import PortInUse

_HTTP, _SMTP = 8325, 8326


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for HTTP; 0: any that is free.")] = _HTTP,
    smtp_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port for mail; 0: any that is free.")
    ] = _SMTP,
) -> None:
    """Take messages as providers do, and deliver none: what came is at /taken."""
    from decision.processes import StopSignals  # noqa: PLC0415 - the help needs none of it
    from delivery.sandbox.running import SECRET, running  # noqa: PLC0415

    stop = StopSignals()
    try:
        with running(port, smtp_port) as here:
            typer.echo(f"sms_gateway:  {here.url}/sms/messages")
            typer.echo(f"push_gateway: {here.url}/push/messages")
            typer.echo(f"twilio:       {here.url}")
            typer.echo(f"webhook:      {here.url}/webhooks signed with {SECRET}")
            typer.echo(f"smtp:         127.0.0.1 port {here.smtp_port}")
            typer.echo(f"what came:    {here.url}/taken")
            stop.wait()
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise PortInUse(f"can't listen on {port} and {smtp_port}: {why}; name others") from error
