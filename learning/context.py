"""What a policy says that requests tell of their moment: names, and of which kind each is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag

from learning.feature_kinds import Name
from playbooks.suggesting import closest

# Characters of a text that a request tells.
MAX_TEXT = 200
_MOST_NAMES, _MOST_TEXTS = 100, 1000

Kind = Literal["number", "text", "condition"]
_KINDS = get_args(Kind)
_Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]


def _form(said: Any) -> str:
    return "kinds" if isinstance(said, dict) else "list" if isinstance(said, list) else "kind"


# A kind, or the texts that it may be.
Told = Annotated[
    Annotated[Kind, Tag("kind")]
    | Annotated[list[_Text], Field(min_length=1, max_length=_MOST_TEXTS), Tag("list")],
    Discriminator(_form),
]


def _is_said(said: Any) -> Any:
    """Say what is wrong before pydantic tells what each of the forms would have been."""
    if not isinstance(said, list | dict):
        raise ValueError(
            "write names of numbers as a list, or by name of which kind each is, {country: text}"
        )
    if isinstance(said, dict):
        for name, kind in said.items():
            if not isinstance(kind, list) and kind not in _KINDS:
                raise ValueError(
                    f"{name} must be number, text, condition or a list of the texts that it may be, not "
                    f"{kind!r}{closest(str(kind), _KINDS)}"
                )
    return said


# Names of numbers, or names with their kinds.
Context = Annotated[
    Annotated[list[Name], Tag("list")]
    | Annotated[dict[Name, Told], Field(max_length=_MOST_NAMES), Tag("kinds")],
    Discriminator(_form),
    BeforeValidator(_is_said),
]


def texts_of(told: Mapping[str, Told]) -> Iterator[str]:
    """Yield the names of what is text."""
    yield from (name for name, kind in told.items() if kind == "text" or isinstance(kind, list))
