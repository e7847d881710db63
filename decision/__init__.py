"""The front door. In a program of your own: `from decision import Decider`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decision.answers import DecideAnswer, DecideRequest
    from decision.decider import Decider

__all__ = ["DecideAnswer", "DecideRequest", "Decider"]


def __getattr__(name: str) -> Any:
    # Not before they are asked for: every command imports this package, and few of them decide.
    if name == "Decider":
        from decision.decider import Decider  # noqa: PLC0415

        return Decider
    if name in __all__:
        from decision import answers  # noqa: PLC0415

        return getattr(answers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
