"""What a visitor filled in, checked against the form: pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from audiences.addresses import normal_email, normal_phone
from audiences.errors import AddressUnfit, FormRefused
from audiences.events import Claim
from audiences.forms.definitions import ConsentSpec, FieldSpec, FormSpec
from audiences.texts import writable

_YES = frozenset({"on", "true", "1", "yes"})
_NO = frozenset({"", "off", "false", "0", "no"})
_MAX_INTEGER = 2**53


class Submission(msgspec.Struct, frozen=True):
    """A form as it was filled in; `ticked` are the boxes of consent."""

    traits: dict[str, Any]
    properties: dict[str, Any]
    claims: tuple[Claim, ...]
    ticked: tuple[ConsentSpec, ...]


def read_submission(
    form: FormSpec, sent: Mapping[str, Sequence[Any]], region: str | None = None
) -> Submission:
    """Return a submission of a form; fields that the form does not have are left out.

    Args:
        sent: all values of each field: text, or what JSON has.
        region: where phone numbers without a country code are from.

    Raises:
        FormRefused: fields are missing or wrong; all of them are named.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for field in form.fields:
        try:
            value = _value(field, sent.get(field.name, ()), region)
        except (_Wrong, AddressUnfit) as wrong:
            problems.append(f"{field.name}: {wrong}")
        else:
            if value is not None:
                values[field.name] = value
    ticked = []
    for box in form.consents:
        try:
            if _boolean(_only(sent.get(box.field, ()), last=True) or ""):
                ticked.append(box)
            elif box.required:
                problems.append(f"{box.field}: the box must be ticked")
        except _Wrong as wrong:
            problems.append(f"{box.field}: {wrong}")
    if problems:
        raise FormRefused("; ".join(problems))
    return _sorted_out(form, values, tuple(ticked))


def filled(values: Sequence[Any]) -> bool:
    """Say whether anything was written into a field."""
    return any(value not in ("", None) for value in values)


def _sorted_out(form: FormSpec, values: Mapping[str, Any], ticked: tuple[ConsentSpec, ...]) -> Submission:
    traits, properties, claims = {}, {}, []
    for field in form.fields:
        if field.name not in values:
            continue
        value = values[field.name]
        if field.trait is not None:
            traits[field.trait] = value
        if field.identity is not None:
            claims.append(Claim(field.identity.value, value))
        if field.property is not None or (field.trait is None and field.identity is None):
            properties[field.property or field.name] = value
    return Submission(traits, properties, tuple(claims), ticked)


class _Wrong(Exception):
    """A value is not what the field asks for."""


def _value(field: FieldSpec, sent: Sequence[Any], region: str | None) -> Any:
    value = _only(sent, last=field.type == "boolean")
    if value is None or value == "":
        if field.required:
            raise _Wrong("it is missing")
        return None
    if field.type == "boolean":
        if not _boolean(value) and field.required:
            raise _Wrong("the box must be ticked")
        return _boolean(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Wrong("it must be text")
    text = str(value).strip()
    if len(text) > field.max_length:
        raise _Wrong(f"it has {len(text)} characters, at most {field.max_length} are taken")
    if not writable(text, lines=True):
        raise _Wrong("it has a control character or half a surrogate pair in it")
    if field.type == "phone":
        return normal_phone(text, region)
    if field.type == "choice" and text not in field.choices:
        raise _Wrong(f"it must be one of {', '.join(field.choices)}")
    return _PARSED.get(field.type, str)(text)


def _only(sent: Sequence[Any], *, last: bool) -> Any:
    if len(sent) > 1 and not last:
        raise _Wrong("it was sent more than once")
    return sent[-1] if sent else None


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in _YES | _NO:
        raise _Wrong("it must be ticked or not: send `on` or leave it out")
    return text in _YES


def _integer(text: str) -> int:
    number = _number(text)
    if number != int(number):
        raise _Wrong("it must be a whole number")
    return int(number)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > _MAX_INTEGER:
        raise _Wrong("it must be a number")
    return number


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise _Wrong("it must be a date like 2026-03-02") from None


_PARSED: Mapping[str, Callable[[str], Any]] = {
    "email": normal_email,
    "integer": _integer,
    "number": _number,
    "date": _date,
}
