"""Reads YAML that somebody else wrote, with the place of every mistake and without what hurts the reader.

libyaml composes documents by recursion and takes the whole process down where they are nested too deep, and
aliases make a few lines as large as one likes; so both are counted on the stream of events first.
"""

from __future__ import annotations

from typing import Any

import yaml

from feature_repo.yaml_documents import Loader, load, place
from playbooks.library.problems import Problem

MAX_BYTES = 8 * 1024 * 1024
MAX_NESTING = 60
# Values of a document, those that aliases repeat counted each time.
MAX_VALUES = 500_000


class Refused(Exception):
    """The text is not taken; `problem` says where and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def parse(file: str, text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        Refused: it is no YAML, or too much of it.
    """
    if len(text) > MAX_BYTES:
        raise Refused(Problem(file, f"the file has more than {MAX_BYTES} characters; split it"))
    try:
        _count(file, text)
        return load(text)
    except yaml.MarkedYAMLError as error:
        line, column = place(error)
        raise Refused(Problem(file, f"not YAML: {error.problem}", line=line, column=column)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise Refused(Problem(file, f"not YAML: {' '.join(str(error).split())}")) from error


def written(document: Any) -> str:
    """Return a document as YAML that people read."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _count(file: str, text: str) -> None:
    """Refuse what is nested too deep, refers to itself, or grows too large by its aliases."""
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, total))
            if len(open_) > MAX_NESTING:
                raise _refused(file, event, f"nested deeper than {MAX_NESTING} levels")
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_):
                raise _refused(file, event, f"&{event.anchor} contains itself")
            total += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
        if total > MAX_VALUES:
            raise _refused(file, event, f"more than {MAX_VALUES} values, those of aliases counted each time")


def _refused(file: str, event: Any, message: str) -> Refused:
    mark = event.start_mark
    return Refused(Problem(file, message, line=mark.line + 1, column=mark.column + 1))
