"""A flow as a picture: a Mermaid flowchart, and nodes with edges as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from playbooks.flow import states
from playbooks.flow.flow import Flow
from playbooks.flow.tasks import Task
from playbooks.flow.times import told
from playbooks.flow.waits import DecideAgain, Wait, WaitForEvent

# Shapes of Mermaid by what a state is: what waits, what chooses, what ends.
_ROUND, _RHOMB, _STADIUM, _BOX = ("(", ")"), ("{", "}"), ("([", "])"), ("[", "]")
_SHAPES = {
    Wait: _ROUND,
    WaitForEvent: _ROUND,
    Task: _ROUND,
    states.Branch: _RHOMB,
    states.Split: _RHOMB,
    DecideAgain: _RHOMB,
    states.End: _STADIUM,
}
_LONGEST = 60


def as_mermaid(flow: Flow) -> str:
    """Return a flow as a Mermaid flowchart; exits are drawn from one node of their own."""
    ids = {name: f"s{number}" for number, name in enumerate(flow.states)}
    lines = ["flowchart TD", f"    begin(( )) --> {ids[flow.start]}"]
    for name, state in flow.states.items():
        opening, closing = _SHAPES.get(type(state), _BOX)
        lines.append(f'    {ids[name]}{opening}"{_text(f"{name}: {says(state)}")}"{closing}')
    for name, state in flow.states.items():
        lines += [f"    {ids[name]} {_arrow(label)} {ids[target]}" for label, target in state.ways()]
    leaving = [f"    exits {_arrow(label, '-.->')} {ids[target]}" for label, target in flow.exits.ways()]
    if leaving:
        lines += ['    exits[/"from any state"/]', *leaving]
    return "\n".join(lines)


def as_data(flow: Flow) -> dict[str, Any]:
    """Return a flow as nodes and edges, with the states as they are written."""
    return {
        "start": flow.start,
        "states": [
            {
                "id": name,
                "kind": state.kind,
                "says": says(state),
                "state": state.written() | {"kind": state.kind},
            }
            for name, state in flow.states.items()
        ],
        "edges": [
            {"from": name, "to": target, "label": label}
            for name, state in flow.states.items()
            for label, target in state.ways()
        ],
        "exits": [{"to": target, "label": label} for label, target in flow.exits.ways()],
    }


def says(state: states.State) -> str:
    """Return in a few words what a state does."""
    return " ".join(_words(state))


def _words(state: states.State) -> Iterator[str]:
    yield state.kind.replace("_", " ")
    match state:
        case states.Send():
            yield from filter(None, (state.content, _by(state)))
        case states.Tag():
            yield state.tag
            if state.expires_after is not None:
                yield f"for {told(state.expires_after)}"
        case states.Score():
            yield f"{state.score} {state.points:+g}"
        case states.Webhook():
            yield state.url
        case WaitForEvent():
            yield state.event
        case Task():
            yield state.title
        case states.Branch():
            yield state.rule
        case states.End():
            yield state.result
        case _:
            return


def _arrow(label: str, arrow: str = "-->") -> str:
    return f'{arrow}|"{_text(label)}"|' if label else arrow


def _text(text: str) -> str:
    """Return text that Mermaid shows as it is, on one line."""
    line = " ".join(text.split())
    line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
    return line.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _by(state: states.Send) -> str | None:
    if state.among:
        return f"by what is answered of {', '.join(state.among)}"
    return f"by {state.channel}" if state.channel else None
