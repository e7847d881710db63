"""Rows of files as messages: columns become fields of the spec, and the others properties."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from audiences.errors import FileUnreadable, RowRefused
from audiences.importing.reader import Row

_IDS = ("messageId", "userId", "anonymousId", "previousId", "groupId")
_OBJECTS = ("properties", "traits", "context")
_TIMES = ("timestamp", "originalTimestamp")
_NAMES = ("type", "event", "name", "category")
FIELDS: Mapping[str, str] = {
    **{field: field for field in (*_IDS, *_OBJECTS, *_TIMES, *_NAMES)},
    "message_id": "messageId",
    "user_id": "userId",
    "anonymous_id": "anonymousId",
    "previous_id": "previousId",
    "group_id": "groupId",
    "original_timestamp": "originalTimestamp",
}
TYPES = ("text", "number", "boolean", "json")
_PROPERTY = "properties."
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")
_ID_BYTES = 16


class Target(msgspec.Struct, frozen=True):
    """Where a column goes: a field, `properties.NAME`, or nowhere; and as what its text is read."""

    field: str
    type: str = "text"


class Columns:
    """How the columns of a file become messages."""

    def __init__(self, maps: Sequence[str] = (), zone: str | None = None, *, flat: bool = True) -> None:
        """Read what the command line says.

        Args:
            maps: `COLUMN=FIELD`, `COLUMN=properties.NAME:number`, or `COLUMN=` for one that is left out.
            zone: of times that name none.
            flat: columns that are no field are properties; otherwise they are left as the file has them.

        Raises:
            RowRefused: it can't be read.
        """
        self._targets = dict(_target(one) for one in maps)
        self._flat = flat
        try:
            self._zone = None if zone is None else ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise RowRefused(f"there is no time zone {zone!r}; name one like Europe/Berlin or UTC") from error

    def check(self, file: str, columns: Collection[str]) -> None:
        """Make sure that a file has the columns without which no row could be taken.

        Raises:
            FileUnreadable: one is missing; the message names it.
        """
        strange = sorted(self._targets.keys() - set(columns))
        if strange:
            raise FileUnreadable(
                f"{file} has no column {strange[0]!r}, which --map names; it has {', '.join(columns)}"
            )
        fields = {self._target(column).field for column in columns}
        needed = {
            "timestamp": bool(fields & set(_TIMES)),
            "user_id or anonymous_id": bool(fields & {"userId", "anonymousId"}),
            "event": bool(fields & {"event", "type"}),
        }
        for name, there in needed.items():
            if not there:
                raise FileUnreadable(
                    f"{file} has no column {name}; it has {', '.join(columns)}: "
                    f"say which one is meant with --map COLUMN={name.split()[0]}"
                )

    def message(self, row: Row) -> Row:
        """Return a row whose values are the fields of a message, or that says why there are none.

        A message without an id gets one made of its content and line, so that the same file again is known.
        """
        if row.error:
            return row
        try:
            values = self._values(row.values)
        except RowRefused as error:
            return msgspec.structs.replace(row, error=str(error))
        if not values.get("messageId"):
            content = msgspec.json.encode([row.line, values], order="deterministic")
            values["messageId"] = f"import-{blake2b(content, digest_size=_ID_BYTES).hexdigest()}"
        return msgspec.structs.replace(row, values=values)

    def _target(self, column: str) -> Target:
        known = self._targets.get(column)
        if known is not None:
            return known
        return Target(FIELDS.get(column, f"{_PROPERTY}{column}" if self._flat else column))

    def _values(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        properties: dict[str, Any] = {}
        for column, value in columns.items():
            target = self._target(column)
            field = target.field
            if field.startswith(_PROPERTY):
                properties[field.removeprefix(_PROPERTY)] = _typed(column, value, target.type)
            elif field in _OBJECTS:
                values[field] = _object(column, value)
            elif field in _TIMES:
                values[field] = self._moment(value)
            elif field in _IDS and isinstance(value, int) and not isinstance(value, bool):
                values[field] = str(value)
            elif field:
                values[field] = value
        if properties:
            values["properties"] = {**values.get("properties", {}), **properties}
        return values

    def _moment(self, value: Any) -> Any:
        """Return a time as text, in the file's zone if it names none; what is no time is refused later."""
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                return value
        if not isinstance(value, datetime):
            return value
        if value.tzinfo is None and self._zone is not None:
            value = value.replace(tzinfo=self._zone)
        return value.isoformat()


def _target(text: str) -> tuple[str, Target]:
    column, equals, rest = text.partition("=")
    field, colon, type_ = rest.partition(":")
    field = FIELDS.get(field, field)
    known = field in FIELDS.values() or (field.startswith(_PROPERTY) and field != _PROPERTY)
    if not (column and equals) or (field and not known):
        raise RowRefused(
            f"--map {text!r} can't be read: write COLUMN=FIELD, where FIELD is one of "
            f"{', '.join(name for name in FIELDS if name.islower())} or properties.NAME"
        )
    if colon and (type_ not in TYPES or not field.startswith(_PROPERTY)):
        raise RowRefused(
            f"--map {text!r} can't be read: properties may be read as {', '.join(TYPES)}, "
            "for example COLUMN=properties.value:number"
        )
    return column, Target(field, type_ or "text")


def _typed(column: str, value: Any, type_: str) -> Any:
    """Return a cell as what it is to be read as; what is not text is taken as the file has it."""
    if isinstance(value, Decimal):
        return float(value)
    if type_ == "text" or not isinstance(value, str):
        return value
    if type_ == "boolean":
        said = value.strip().lower()
        if said not in (*_YES, *_NO):
            raise RowRefused(f"`{column}` {value[:40]!r} is neither true nor false")
        return said in _YES
    try:
        read = msgspec.json.decode(value)
    except (ValueError, RecursionError) as error:
        raise RowRefused(f"`{column}` {value[:40]!r} is no {type_}") from error
    if type_ == "number" and (isinstance(read, bool) or not isinstance(read, int | float)):
        raise RowRefused(f"`{column}` {value[:40]!r} is no number")
    return read


def _object(column: str, value: Any) -> dict[str, Any]:
    read = _typed(column, value, "json")
    if not isinstance(read, dict):
        raise RowRefused(f"`{column}` must be a JSON object")
    return read
