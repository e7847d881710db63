"""Typed schema of the events that have a history (`events.yaml`).

A column is written as the value looks in an event: `value: float`, `categories: [text]`,
`lines: [{category: text, quantity: int}]`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Scalar = Literal["text", "float", "int", "bool", "time"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
ListOfScalars = Annotated[list[Scalar], Field(min_length=1, max_length=1)]
Struct = Annotated[dict[Name, Scalar], Field(min_length=1)]
ListOfStructs = Annotated[list[Struct], Field(min_length=1, max_length=1)]
Column = Scalar | ListOfScalars | ListOfStructs

ARROW_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
}

# What every history has beside the columns of its event; an event's own column can't take these names.
KEY_COLUMNS: dict[str, pa.DataType] = {
    "sequence": pa.int64(),
    "user_id": pa.string(),
    "occurred_at": pa.timestamp("us", tz="UTC"),
}


def arrow_type(column: Column) -> pa.DataType:
    """Arrow type in which values of the column are kept."""
    if isinstance(column, str):
        return ARROW_TYPES[column]
    element = column[0]
    if isinstance(element, str):
        return pa.list_(ARROW_TYPES[element])
    return pa.list_(pa.struct([(name, ARROW_TYPES[kind]) for name, kind in element.items()]))


class EventSchemas(BaseModel):
    """The events that have a history, by name, each with its typed columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    events: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")], dict[Name, Column]]

    def model_post_init(self, context: Any) -> None:
        for event, columns in self.events.items():
            for name in columns:
                if name in KEY_COLUMNS:
                    raise ValueError(f"events.{event}.{name}: every history has such a column already")

    def arrow_schema(self, event: str) -> pa.Schema:
        """Schema of the event's Parquet dataset: sequence, user_id, occurred_at, then its columns."""
        columns = {name: arrow_type(column) for name, column in self.events[event].items()}
        return pa.schema(list({**KEY_COLUMNS, **columns}.items()))

    def fields_of(self, event: str, each: str | None) -> dict[str, Column]:
        """Columns an aggregate may use: the event's own, or those of one element of its list `each`.

        An element of a plain list is a column named like the list.
        """
        columns = self.events[event]
        if each is None:
            return dict(columns)
        column = columns[each]
        if isinstance(column, str):
            raise ValueError(f"column '{each}' of event '{event}' is not a list")
        element = column[0]
        if isinstance(element, str):
            return {each: element}
        return dict(element)
