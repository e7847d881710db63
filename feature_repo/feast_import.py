"""Importing Feast: once, on purpose, and without having its methods rewritten."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typeguard

_turn = threading.Lock()


def import_feast() -> None:
    """Import Feast now, which takes seconds, rather than at the first use; whoever uses Feast calls it first.

    Feast decorates its constructors with typeguard's `typechecked`, which parses and compiles each anew: half
    of the processor time of the import. What we give to Feast is generated from checked specs. What is
    imported stays, and to look for garbage meanwhile would take another fifth.
    """
    with _turn, unchecked(), _uncollected():
        import feast  # noqa: F401, PLC0415


@contextmanager
def unchecked() -> Iterator[None]:
    """Let `typeguard.typechecked` leave functions and classes as they are, for as long as the block lasts."""
    original = typeguard.typechecked
    typeguard.typechecked = _as_it_is
    try:
        yield
    finally:
        typeguard.typechecked = original


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from running, if it was on, for as long as the block lasts."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _as_it_is(target: Any = None, **_options: Any) -> Any:
    return target if target is not None else _kept


def _kept(target: Callable[..., Any]) -> Callable[..., Any]:
    return target
