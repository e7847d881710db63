"""Liquid that can't hurt: what a template may take in time and memory, and what it may reach.

A template sees the values it is given and the blocks of its own library. There is no clock in it, no file,
no attribute of a Python object. Loops, output, local values, numbers and lists have a limit each; what goes
beyond one fails, for that user, and says which.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, TextIO

from liquid import Environment, Mode, RenderContext
from liquid.builtin.tags.for_tag import ForNode, ForTag
from liquid.exceptions import FilterArgumentError, LiquidError, LoopIterationLimitError, ResourceLimitError
from liquid.filter import liquid_filter
from liquid.loader import BaseLoader
from liquid.undefined import FalsyStrictUndefined, is_undefined

from playbooks.money import Money

MAX_ITERATIONS = 1_000
MAX_OUTPUT = 256 * 1024
MAX_TEXT = 64 * 1024
MAX_ITEMS = 10_000
MAX_DEPTH = 20
_MAX_BITS = 128
_MAX_FORMAT = 100

# A width in a format of dates makes text of any length.
_WIDTH = re.compile(r"%[^A-Za-z%]*[0-9]")
# Tags that reach for other templates by computed names, or write tables of HTML.
_NO_TAGS = ("include", "tablerow")


class Unknown(FalsyStrictUndefined):
    """What is not known of this user: false in a condition, filled by `default`, an error anywhere else."""

    force_liquid_default = True


class _For(ForNode):
    # Liquid makes a list of what is looped over in reverse before it looks at the limit.
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        looped = self.expression.iterable.evaluate(context)
        if isinstance(looped, range) and not _short(looped, MAX_ITERATIONS):
            raise LoopIterationLimitError("loop iteration limit reached", token=self.token)
        return super().render_to_output(context, buffer)


class _ForTag(ForTag):
    node_class = _For


class Bounded(Environment):
    """An environment for the templates of one library; in those of a `page` of HTML values are escaped."""

    loop_iteration_limit = MAX_ITERATIONS
    output_stream_limit = MAX_OUTPUT
    local_namespace_limit = MAX_TEXT
    context_depth_limit = MAX_DEPTH
    block_nesting_limit = MAX_DEPTH

    def __init__(self, loader: BaseLoader | None = None, *, page: bool = False) -> None:
        super().__init__(tolerance=Mode.STRICT, undefined=Unknown, loader=loader, autoescape=page)
        for tag in _NO_TAGS:
            del self.tags[tag]
        self.add_tag(_ForTag)
        del self.filters["safe"]
        for name, function in {**self.filters, **_OWN}.items():
            self.add_filter(name, _bounded(name, function))


def said(error: LiquidError) -> str:
    """Return what is wrong with a template, with the limit that it met."""
    message = str(error.message)
    for word, told in _LIMITS.items():
        if word in message:
            return told
    if message.endswith(" is undefined"):
        name = message.removesuffix(" is undefined").strip("'")
        return f"{name} is not known; give it another value by `| default: '…'`, or ask by `if`"
    return message


_LIMITS: Mapping[str, str] = {
    "loop iteration limit": f"it loops more than {MAX_ITERATIONS} times",
    "output stream limit": f"it writes more than {MAX_OUTPUT // 1024} KiB",
    "local namespace limit": f"its variables hold more than {MAX_TEXT // 1024} KiB",
    "maximum context depth": f"blocks and loops are nested deeper than {MAX_DEPTH} levels",
    "block nesting limit": f"tags are nested deeper than {MAX_DEPTH} levels",
}


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    guard = _GUARDS.get(name)

    @functools.wraps(function)
    def wrapped(value: Any, *arguments: Any, **options: Any) -> Any:
        for one in (value, *arguments):
            _check(name, one)
        if guard is not None:
            guard(value, *arguments)
        result = function(value, *arguments, **options)
        _check(name, result)
        return result

    return wrapped


def _check(name: str, value: Any) -> None:
    if is_undefined(value):
        return
    if isinstance(value, str):
        _size(name, len(value))
    elif isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise ResourceLimitError(f"the filter {name} comes to a number out of all reason", token=None)
    elif isinstance(value, range | list | tuple) and not _short(value, MAX_ITEMS):
        raise ResourceLimitError(f"the filter {name} meets a list of more than {MAX_ITEMS}", token=None)


def _short(items: range | list[Any] | tuple[Any, ...], most: int) -> bool:
    try:
        return len(items) <= most
    except OverflowError:
        return False


def _size(name: str, characters: int) -> None:
    if characters > MAX_TEXT:
        raise ResourceLimitError(f"the filter {name} meets more than {MAX_TEXT} characters", token=None)


def _guard_replace(value: Any, old: Any = "", new: Any = "") -> None:
    if any(map(is_undefined, (value, old, new))):
        return
    text, sought, put = str(value), str(old), str(new)
    _size("replace", len(text) + text.count(sought) * len(put))


def _guard_join(value: Any, between: Any = " ") -> None:
    if isinstance(value, list | tuple) and not is_undefined(between):
        _size("join", len(value) * len(str(between)) + sum(len(one) for one in value if isinstance(one, str)))


_GUARDS: Mapping[str, Callable[..., None]] = {"replace": _guard_replace, "join": _guard_join}


@liquid_filter
def _date(value: Any, form: str) -> str:
    """Return a date as text. There is no clock: it is a moment that was given, or ISO text."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise FilterArgumentError(f"date: {value!r} is no moment of ISO 8601", token=None) from None
    if not isinstance(value, date):
        raise FilterArgumentError(f"date: a {type(value).__name__} is no moment", token=None)
    if not isinstance(form, str) or len(form) > _MAX_FORMAT or _WIDTH.search(form):
        raise FilterArgumentError(
            f"date: a format has at most {_MAX_FORMAT} characters and no widths", token=None
        )
    return value.strftime(form)


@liquid_filter
def _money(value: Any, currency: str) -> str:
    """Return minor units of a currency as people read them: `500 | money: 'EUR'` is 5.00 EUR."""
    try:
        return str(Money(int(value), str(currency)))
    except (ValueError, TypeError) as error:
        raise FilterArgumentError(f"money: {error}", token=None) from error


_OWN: Mapping[str, Callable[..., Any]] = {"date": _date, "money": _money}
