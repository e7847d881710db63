"""The rule language: SQL conditions over features and tags, as pure functions.

`parse` reads a rule; `compile_one` answers many rules for one user, `compile_columns` for many users
at once; `trace` explains an answer. docs/reference/rules.md is the language's reference.
"""

from audiences.rules.batch import ManyUsers, compile_columns
from audiences.rules.columns import Columns, Flags, Lists, Moments, Numbers, Texts
from audiences.rules.errors import RuleError, RuleValueError
from audiences.rules.one import OneUser, compile_one
from audiences.rules.packing import members
from audiences.rules.rule import Rule, parse
from audiences.rules.schema import Schema, Type
from audiences.rules.trace import Trace, trace

__all__ = [
    "Columns",
    "Flags",
    "Lists",
    "ManyUsers",
    "Moments",
    "Numbers",
    "OneUser",
    "Rule",
    "RuleError",
    "RuleValueError",
    "Schema",
    "Texts",
    "Trace",
    "Type",
    "compile_columns",
    "compile_one",
    "members",
    "parse",
    "trace",
]
