"""Stocks of codes that were made elsewhere: a file is added whole or not at all, each code is given once.

How many there are is counted by the counters module, like any budget: adding codes makes room in it. So an
empty stock stops an arm before it is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

import msgspec
from sqlalchemy import Connection

from audiences.errors import TextUnfit
from audiences.texts import fit
from delivery.coupons import stock_repository as repository
from delivery.coupons.errors import StockRefused
from playbooks.constraints.spending import stock_of
from playbooks.counters import Counters
from playbooks.offers import Offer
from playbooks.suggesting import closest
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import Lane

LABEL = "coupon_stock"
# Longer ones are nobody's codes.
MOST_CHARACTERS = 32
# Codes of a turn of the writer, and rows that a refusal names.
_PIECE = 400
_NAMED = 20
# What is given in so long a time says whether a stock is low.
_LATELY = timedelta(days=7)


class Line(msgspec.Struct, frozen=True):
    """A code and the line of the file that it stands in."""

    line: int
    code: str


class StockLevel(msgspec.Struct, frozen=True):
    """A stock: codes added in all, `left` to be given, given in the last seven days.

    `low`: at this rate it does not last for another seven.
    """

    offer: str
    added: int
    left: int
    given_7d: int
    low: bool


class Added(msgspec.Struct, frozen=True):
    """What an import added."""

    offer: str
    added: int


class Stock:
    """The stocks of one service. Thread-safe."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        counters: Counters,
        offers: Callable[[Connection], Mapping[str, Offer]],
    ) -> None:
        """`offers`: those of the library by id."""
        self._database, self._clock, self._counters, self._offers = database, clock, counters, offers

    def add(self, offer: str, lines: Sequence[Line], *, by: str) -> Added:
        """Add codes to the stock of an offer, all of them or none.

        Raises:
            StockRefused: there is no such offer or it has no stock; a code is none, or there twice.
        """
        self._check_offer(offer)
        self._refuse(_wrong(lines))
        now = self._clock.now()
        with self._database.read() as connection:
            left = repository.unfinished(connection)
        for batch in left:
            self._take_away(batch)
        batch = new_id(now)
        self._write(lambda c: repository.begin(c, batch, offer, now))
        taken: set[str] = set()
        for start in range(0, len(lines), _PIECE):
            some = [one.code for one in lines[start : start + _PIECE]]
            taken |= self._database.write(
                partial(repository.add, batch=batch, some=some), rows=len(some), lane=Lane.REQUEST
            )
        if taken:
            self._take_away(batch)
            self._refuse([(one.line, "the code is there already") for one in lines if one.code in taken])
        if self._database.write(partial(self._finish, batch, offer, len(lines), by), lane=Lane.REQUEST):
            return Added(offer, len(lines))
        raise StockRefused("another import began meanwhile; nothing was added: add the file again")

    def levels(self) -> list[StockLevel]:
        """Return every stock, by offer."""
        since = self._clock.now() - _LATELY
        with self._database.read() as connection:
            found = repository.levels(connection, since)
        return [StockLevel(*one, low=one.left <= one.given) for one in found]

    def _finish(self, batch: str, offer: str, number: int, by: str, connection: Connection) -> bool:
        now = self._clock.now()
        if repository.finish(connection, batch, now) != number:
            return False
        self._counters.make_room(connection, stock_of(offer), batch, number, now)
        fact = NewFact(Kind.CHANGE, batch, LABEL, None, now, {"offer": offer, "added": number, "by": by})
        ledger.append(connection, [fact], now)
        return True

    def _check_offer(self, offer: str) -> None:
        with self._database.read() as connection:
            offers = self._offers(connection)
        if offer not in offers:
            raise StockRefused(f"there is no offer {offer!r} in the library{closest(offer, offers)}")
        if offers[offer].codes != "stock":
            raise StockRefused(f"the offer {offer!r} makes its own codes: give it `codes: stock` first")

    def _refuse(self, wrong: Sequence[tuple[int, str]]) -> None:
        if not wrong:
            return
        told = "; ".join(f"line {line}: {why}" for line, why in wrong[:_NAMED])
        more = f"; and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise StockRefused(f"nothing was added: {told}{more}")

    def _take_away(self, batch: str) -> None:
        while self._database.write(partial(repository.take_away, batch=batch, limit=_PIECE), rows=_PIECE):
            pass

    def _write(self, work: Callable[[Connection], None]) -> None:
        self._database.write(work, lane=Lane.REQUEST)


def _wrong(lines: Sequence[Line]) -> list[tuple[int, str]]:
    """Return what is wrong with lines by themselves, by line."""
    if not lines:
        return [(1, "there is no code")]
    first: dict[str, int] = {}
    wrong: list[tuple[int, str]] = []
    for one in lines:
        try:
            fit(one.code, "the code", MOST_CHARACTERS)
        except TextUnfit as error:
            wrong.append((one.line, str(error)))
            continue
        if one.code != one.code.strip():
            wrong.append((one.line, "the code begins or ends with a space"))
        elif one.code in first:
            wrong.append((one.line, f"the code is that of line {first[one.code]}"))
        first.setdefault(one.code, one.line)
    return wrong
