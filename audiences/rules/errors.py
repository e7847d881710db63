"""Errors of the rule language.

NextplayError
├── RuleError        the text isn't a rule: syntax, an unknown name, types that don't fit, a limit
└── RuleValueError   a value handed to a rule isn't of the type its schema says
"""

from __future__ import annotations

from typing import ClassVar

from storage.errors import NextplayError


class RuleError(NextplayError):
    """The text isn't a rule of the language.

    `line` and `column` count from 1 and point at the offending piece; `suggestion` says what to
    write instead, where there is something sensible to say.
    """

    status: ClassVar[int] = 422
    code: ClassVar[str] = "rule"

    def __init__(
        self, message: str, *, line: int = 1, column: int = 1, suggestion: str | None = None
    ) -> None:
        self.message = message
        self.line = line
        self.column = column
        self.suggestion = suggestion
        hint = f", {suggestion}" if suggestion else ""
        super().__init__(f"line {line}, column {column}: {message}{hint}")


class RuleValueError(NextplayError):
    """A value isn't of its feature's type, or `now` is missing for a rule that asks for it."""

    status: ClassVar[int] = 422
    code: ClassVar[str] = "rule-value"
