"""Importing what users agreed to and refused elsewhere, and addresses that may not be written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from audiences.addresses import AddressKind
from audiences.consent import repository
from audiences.consent.models import (
    Channel,
    Consent,
    ConsentState,
    Reason,
    SuppressionBody,
    Wording,
    known_wording,
    name,
    wording,
)
from audiences.consent.service import Consents, Listed, record
from audiences.errors import RowRefused
from audiences.importing.port import choice, moment, text

_SOURCE = "import"
_MAX_WORDING = 20_000


class ConsentImporter:
    """Rows of what users said."""

    columns = (
        "user_id",
        "purpose",
        "channel",
        "state",
        "at",
        "source",
        "wording_id",
        "wording_version",
        "wording_text",
        "wording_hash",
    )

    def read(self, values: Mapping[str, Any], now: datetime) -> Consent:
        return Consent(
            text(values, "user_id"),
            name(text(values, "purpose"), "`purpose`"),
            Channel(choice(values, "channel", list(Channel))),
            ConsentState(choice(values, "state", list(ConsentState))),
            moment(values, "at", until=now),
            name(text(values, "source", _SOURCE), "`source`"),
            _wording(values),
        )

    def size(self, row: Consent) -> int:
        return 3

    def record(self, connection: Connection, rows: Sequence[Consent], now: datetime) -> Sequence[bool]:
        return record(connection, rows, now)

    def recorded(self, rows: Sequence[Consent]) -> None:
        pass


class SuppressionImporter:
    """Rows of addresses; without a `kind` what has an @ in it is an e-mail address."""

    columns = ("address", "kind", "reason", "at", "source")

    def __init__(self, consents: Consents) -> None:
        self._consents = consents

    def read(self, values: Mapping[str, Any], now: datetime) -> tuple[SuppressionBody, datetime]:
        address = text(values, "address", most=320)
        guessed = AddressKind.EMAIL if "@" in address else AddressKind.PHONE
        one = Listed(
            AddressKind(choice(values, "kind", list(AddressKind), guessed)),
            address,
            Reason(choice(values, "reason", list(Reason))),
            moment(values, "at", until=now),
        )
        return self._consents.listed(one, name(text(values, "source", _SOURCE), "`source`")), one.at

    def size(self, row: tuple[SuppressionBody, datetime]) -> int:
        return 2

    def record(
        self, connection: Connection, rows: Sequence[tuple[SuppressionBody, datetime]], now: datetime
    ) -> Sequence[bool]:
        return repository.suppress(connection, rows, now)

    def recorded(self, rows: Sequence[tuple[SuppressionBody, datetime]]) -> None:
        pass


def _wording(values: Mapping[str, Any]) -> Wording | None:
    given = [column for column in values if column.startswith("wording_")]
    if not given:
        return None
    if ("wording_text" in values) == ("wording_hash" in values):
        raise RowRefused("a wording has either `wording_text` or `wording_hash`: give one of them")
    id_, version = text(values, "wording_id", most=64), text(values, "wording_version", most=64)
    if "wording_hash" in values:
        return known_wording(id_, version, text(values, "wording_hash"))
    shown = values["wording_text"]
    if not isinstance(shown, str) or len(shown) > _MAX_WORDING:
        raise RowRefused(f"`wording_text` must be text of at most {_MAX_WORDING} characters")
    return wording(id_, version, shown)
