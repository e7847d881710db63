"""Rules for one user: many rules become one Python function.

The function is built as a syntax tree from the entries of `Forms`, never from a rule's text: nothing
of a rule but its constants gets into it, and those only as constants.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from operator import itemgetter
from typing import cast

from audiences.rules.forms import All, Always, Any, Entry, Flag, Flip, Forms, Holding, Matches, Missing
from audiences.rules.rule import Rule
from audiences.rules.schema import Type
from audiences.rules.terms import Terms
from audiences.rules.tree import Member, Name
from audiences.rules.values import HELD, Held, clock

NONE: frozenset[str] = frozenset()

_Row = Sequence[object]
_Answers = Callable[[_Row, AbstractSet[str], AbstractSet[str], float | None], list[bool]]


class OneUser:
    """Many rules over the values of one user.

    `names` are the features the rules use, in the order `row` takes their values.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        types = {name: kind for rule in rules for name, kind in rule.types.items()}
        self.names = tuple(sorted(types))
        self._answers = _compile(rules, self.names, types)
        self._uses_now = any(rule.uses_now for rule in rules)
        self._pick = itemgetter(*self.names) if len(self.names) > 1 else None

    def __call__(
        self,
        values: Mapping[str, object],
        *,
        tags: AbstractSet[str] = NONE,
        audiences: AbstractSet[str] = NONE,
        now: datetime | None = None,
    ) -> list[bool]:
        """Whether each rule is true. A feature that `values` lacks is NULL.

        `values` by name: numbers, str, bool, aware datetimes, lists, or None; NaN counts as None.
        Raises RuleValueError for a value of another type, or a missing `now` that a rule asks for.
        """
        moment = clock(now) if self._uses_now else None
        if self._pick is not None:
            try:
                return self._answers(self._pick(values), tags, audiences, moment)
            except KeyError:
                pass
        return self._answers([values.get(name) for name in self.names], tags, audiences, moment)

    def row(
        self,
        values: _Row,
        *,
        tags: AbstractSet[str] = NONE,
        audiences: AbstractSet[str] = NONE,
        now: datetime | None = None,
    ) -> list[bool]:
        """The same for values in the order of `names`; raises IndexError for too few."""
        return self._answers(values, tags, audiences, clock(now) if self._uses_now else None)


def compile_one(rules: Sequence[Rule]) -> OneUser:
    """One function that answers all of some rules for one user, in their order."""
    return OneUser(rules)


# A class test is cheaper than a call, and most values come as the class they are kept in.
_ARRIVAL = {
    Type.NUMBER: "if v{0}.__class__ is not float: v{0} = NAN if v{0} is None else take{0}(v{0})",
    Type.TIMESTAMP: "if v{0}.__class__ is not int: v{0} = NAN if v{0} is None else take{0}(v{0})",
    Type.TEXT: "if v{0}.__class__ is not str and v{0} is not None: v{0} = take{0}(v{0})",
    Type.BOOL: "if v{0} is not True and v{0} is not False and v{0} is not None: v{0} = take{0}(v{0})",
    Type.TEXTS: "if v{0} is not None: v{0} = take{0}(v{0})",
    Type.NUMBERS: "if v{0} is not None: v{0} = take{0}(v{0})",
}


def _compile(rules: Sequence[Rule], names: tuple[str, ...], types: Mapping[str, Type]) -> _Answers:
    forms = Forms([rule.tree for rule in rules])
    terms = Terms({name: f"v{place}" for place, name in enumerate(names)})
    body = _Body(forms, terms)
    arrivals: list[ast.stmt] = []
    for place, name in enumerate(names):
        lines = f"v{place} = values[{place}]\n" + _ARRIVAL[types[name]].format(place)
        arrivals += ast.parse(lines).body
        terms.namespace[f"take{place}"] = _taker(types[name], name)
    answer = ast.Return(ast.List([body.reference(root) for root in forms.roots], ast.Load()))
    parameters = [ast.arg(name) for name in ("values", "tags", "audiences", "now")]
    function = ast.FunctionDef(
        "answers",
        ast.arguments([], parameters, None, [], [], None, []),
        [*arrivals, *terms.statements, *body.statements, answer],
        [],
    )
    module = ast.fix_missing_locations(ast.Module([function], []))
    exec(compile(module, "<rules>", "exec"), terms.namespace)  # noqa: S102 - built above, holds no text of a rule
    return cast(_Answers, terms.namespace["answers"])


def _taker(kind: Type, name: str) -> Callable[[object], Held]:
    take = HELD[kind]
    return lambda value: take(name, value)


class _Body:
    """Expressions of the entries; those worth sharing become local variables."""

    def __init__(self, forms: Forms, terms: Terms) -> None:
        self.statements: list[ast.stmt] = []
        self._terms = terms
        self._expressions: list[ast.expr] = []
        shared = (All, Any, Flip, Matches, Holding)
        for place, (entry, uses) in enumerate(zip(forms.entries, forms.uses(), strict=True)):
            expression = self._expression(entry)
            if uses > 1 and isinstance(entry, shared):
                target = f"b{place}"
                self.statements.append(ast.Assign([ast.Name(target, ast.Store())], expression))
                expression = ast.Name(target, ast.Load())
            self._expressions.append(expression)

    def reference(self, place: int) -> ast.expr:
        return self._expressions[place]

    def _expression(self, entry: Entry) -> ast.expr:  # noqa: PLR0911 - a case, a return
        match entry:
            case Always(answer):
                return ast.Constant(answer)
            case All(parts):
                return ast.BoolOp(ast.And(), [self.reference(part) for part in parts])
            case Any(parts):
                return ast.BoolOp(ast.Or(), [self.reference(part) for part in parts])
            case Flip(part):
                return ast.UnaryOp(ast.Not(), self.reference(part))
            case Flag(Name() as of, truth):
                return ast.Compare(self._terms.term(of), [ast.Is()], [ast.Constant(truth)])
            case Member(of, name):
                members = ast.Name("tags" if of == "tag" else "audiences", ast.Load())
                return ast.Compare(ast.Constant(name), [ast.In()], [members])
            case Missing(of):
                return self._terms.missing(of)
            case _:
                return self._terms.test(entry)
