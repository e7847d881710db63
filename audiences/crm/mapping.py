"""From a CRM's payload to what it tells of a user: pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from jmespath.exceptions import JMESPathError

from audiences.crm.definitions import CrmSource, EventNames, FieldMap, ObjectMap, compiled
from audiences.errors import MappingFailed, TextUnfit
from audiences.events import EARLIEST, FUTURE_TOLERANCE, LABELS, Claim, Event
from audiences.texts import fit
from storage.times import EPOCH, to_micros

_MAX_OBJECT_ID = 100
_MAX_TEXT = 8_000
_MAX_INTEGER = 2**53
# Numbers above are milliseconds since 1970: as seconds they would lie in the year 5138.
_SECONDS_BELOW = 100_000_000_000
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class CrmObject(msgspec.Struct, frozen=True):
    """What a payload tells of one object of the CRM, as of `updated_at`."""

    source: str
    type: str
    id: str
    updated_at: datetime
    user_id: str
    claims: tuple[Claim, ...]
    account_id: str | None
    event: str | None
    properties: dict[str, Any]
    traits: dict[str, Any]
    account_traits: dict[str, Any]

    @property
    def fields(self) -> dict[str, Any]:
        """All that is told, by name: what a reconciliation compares."""
        told = {"event": self.event, "account_id": self.account_id, "user_id": self.user_id or None}
        told |= {f"properties.{name}": value for name, value in self.properties.items()}
        told |= {f"traits.{name}": value for name, value in self.traits.items()}
        told |= {f"account_traits.{name}": value for name, value in self.account_traits.items()}
        return {name: value for name, value in told.items() if value is not None}

    @property
    def is_of_account(self) -> bool:
        """Whether it is an account's alone, not a user's."""
        return not self.user_id and not self.claims

    @property
    def digest(self) -> str:
        """What tells two versions of one moment apart."""
        claims = sorted((one.kind, one.value) for one in self.claims)
        return hashlib.blake2b(_encode_sorted([self.fields, claims]), digest_size=8).hexdigest()


def read_object(source: CrmSource, payload: Mapping[str, Any], now: datetime) -> CrmObject | None:
    """Return what a payload tells, None if the source ignores objects of its type.

    Raises:
        MappingFailed: it does not have what the mapping asks for; the message names the path.
    """
    type_ = _text(payload, source.type, required=True)
    if type_ in source.ignore:
        return None
    mapped = next((one for one in source.objects if one.when == type_), None)
    if mapped is None:
        raise MappingFailed(
            f"`{source.type}` is {str(type_)[:64]!r}: crm.yaml neither maps nor ignores objects of that type"
        )
    claims = [
        Claim(one.kind, value, one.verified)
        for one in mapped.identities
        if (value := _text(payload, one.path)) is not None
    ]
    user_id = (_text(payload, mapped.user_id, 255) if mapped.user_id is not None else None) or ""
    account_id = _text(payload, mapped.account_id, 255) if mapped.account_id is not None else None
    of_account = mapped.user_id is None and not mapped.identities
    if of_account and account_id is None:
        raise MappingFailed(f"no account is named: `{mapped.account_id}` is missing")
    if not of_account and not user_id and not claims:
        paths = [mapped.user_id, *(one.path for one in mapped.identities)]
        raise MappingFailed(
            f"nobody is named: {' and '.join(f'`{path}`' for path in paths if path)} is missing"
        )
    return CrmObject(
        source.id,
        mapped.when,
        str(_text(payload, mapped.id, _MAX_OBJECT_ID, required=True)),
        _updated_at(payload, mapped.updated_at, now),
        user_id,
        tuple(claims),
        account_id,
        _event(payload, mapped),
        _values(payload, mapped.properties),
        _values(payload, mapped.traits),
        _values(payload, mapped.account_traits),
    )


def events_of(told: CrmObject, source: str, now: datetime) -> list[Event]:
    """Return the events that an object makes: who the user is, which account, what happened."""
    if told.is_of_account:
        return []
    # One version of one object makes each of them once, in whatever order and how often it is told.
    version = f"{source}:{told.type}:{told.id}:{to_micros(told.updated_at)}:{told.digest}"
    base = Event(
        version,
        told.user_id,
        "",
        {},
        told.updated_at,
        now,
        claims=told.claims,
        account_id=told.account_id,
        context={"crm": {"object": told.type, "id": told.id}},
        source=source,
    )
    events = []
    if told.traits or told.claims:
        events.append(_of_type(base, "identify", told.traits))
    if told.account_id is not None:
        events.append(_of_type(base, "group", told.account_traits))
    if told.event is not None:
        events.append(msgspec.structs.replace(base, name=told.event, properties=told.properties))
    return events


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a flat row as the payload it stands for: the column `deal.stage` is `stage` in `deal`."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        *above, last = name.split(".")
        place = result
        for part in above:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise MappingFailed(f"`{name}`: {part!r} is a value and has values in it")
            place = inner
        place[last] = value
    return result


def _of_type(base: Event, type_: Any, properties: dict[str, Any]) -> Event:
    return msgspec.structs.replace(
        base, event_id=f"{base.event_id}:{type_}", type=type_, name=LABELS[type_], properties=properties
    )


def _event(payload: Mapping[str, Any], mapped: ObjectMap) -> str | None:
    if not isinstance(mapped.event, EventNames):
        return mapped.event
    value = str(_text(payload, mapped.event.path, required=True))
    if value not in mapped.event.names:
        raise MappingFailed(
            f"`{mapped.event.path}` is {value[:64]!r}: crm.yaml names the events of "
            f"{', '.join(mapped.event.names)} only"
        )
    return mapped.event.names[value]


def _values(payload: Mapping[str, Any], fields: Mapping[str, FieldMap]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, field in fields.items():
        found = _find(payload, field.path)
        if found is None or found == "":
            if field.required:
                raise MappingFailed(f"`{field.path}` is missing")
            continue
        if field.type == "money":
            values[name] = _minor_units(found, field)
            values[f"{name}_currency"] = field.currency or _text(
                payload, str(field.currency_path), 3, required=True
            )
        else:
            values[name] = _TYPES[field.type](found, field.path)
    return values


def _find(payload: Mapping[str, Any], path: str) -> Any:
    try:
        return compiled(path).search(payload)
    except (JMESPathError, RecursionError) as error:
        raise MappingFailed(f"`{path}` can't be followed: {str(error).splitlines()[0]}") from error


def _text(payload: Mapping[str, Any], path: str, most: int = 255, *, required: bool = False) -> str | None:
    found = _find(payload, path)
    if found is None or found == "":
        if required:
            raise MappingFailed(f"`{path}` is missing")
        return None
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    try:
        return fit(found, f"`{path}`", most)
    except TextUnfit as error:
        raise MappingFailed(str(error)) from error


def _updated_at(payload: Mapping[str, Any], path: str, now: datetime) -> datetime:
    found = _find(payload, path)
    if found is None:
        raise MappingFailed(f"`{path}` is missing")
    moment = _moment(found, path)
    if not EARLIEST <= moment <= now + FUTURE_TOLERANCE:
        raise MappingFailed(f"`{path}` {moment.isoformat()} lies in the future or before {EARLIEST.date()}")
    return moment


def _moment(value: Any, path: str) -> datetime:
    """Return a moment: as ISO 8601 writes it with its zone, or in seconds or milliseconds since 1970."""
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal() and len(value) < 20:
        value = int(value)
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip())
            if moment.tzinfo is None:
                raise MappingFailed(f"`{path}` has no time zone: it must end with Z or an offset")
            return moment.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if abs(value) >= _SECONDS_BELOW else value
            return EPOCH + timedelta(seconds=seconds)
    except (ValueError, OverflowError) as error:
        raise MappingFailed(f"`{path}` is no moment") from error
    raise MappingFailed(f"`{path}` is no moment")


def _time(value: Any, path: str) -> str:
    return _moment(value, path).isoformat()


def _string(value: Any, path: str) -> str:
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        raise MappingFailed(f"`{path}` must be text of at most {_MAX_TEXT} characters")
    return text


def _decimal(value: Any, path: str) -> Decimal:
    try:
        number = Decimal("nan") if isinstance(value, bool | list | dict) else Decimal(str(value).strip())
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or abs(number) > _MAX_INTEGER:
        raise MappingFailed(f"`{path}` must be a number")
    return number


def _number(value: Any, path: str) -> float:
    number = float(_decimal(value, path))
    return int(number) if number.is_integer() and not math.isinf(number) else number


def _integer(value: Any, path: str) -> int:
    number = _decimal(value, path)
    if number != int(number):
        raise MappingFailed(f"`{path}` must be a whole number")
    return int(number)


def _boolean(value: Any, path: str) -> bool:
    text = str(value).strip().lower()
    if text not in _TRUE | _FALSE:
        raise MappingFailed(f"`{path}` must be true or false")
    return text in _TRUE


def _minor_units(value: Any, field: FieldMap) -> int:
    amount = _decimal(value, field.path).scaleb(field.minor_digits)
    if amount != int(amount) or abs(amount) > _MAX_INTEGER:
        raise MappingFailed(f"`{field.path}` must be an amount with at most {field.minor_digits} decimals")
    return int(amount)


_TYPES: Mapping[str, Callable[[Any, str], Any]] = {
    "text": _string,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "time": _time,
}
