"""Epochs: how counters in Valkey are told from what a restart or a flush has left of them.

Subjects (users, budgets) are spread over shards. A shard is in an epoch, whose token both the database and
the server have; what the server keeps of a subject bears the token too. Where the tokens do not agree, or
the server is another run than the one the epoch began in, a new epoch begins: first in the database, which
voids every reservation that is not durable yet (`Reservation.keep` looks), then on the server. Only after
that is a subject read from the journal.

An epoch that begins in a caller's transaction is that transaction's alone until it is committed: others
would read from a journal that does not have what it has recorded, under a token that may never be.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, NamedTuple
from zlib import crc32

from sqlalchemy import Connection, Transaction

from playbooks.counters import epoch_repository
from playbooks.counters.server import Call, Server
from playbooks.errors import CountersUnreachable
from storage.engine import Database
from storage.writer import Lane

SHARDS = 256
# Rounds of loading, settling and new epochs before a call gives up.
_ROUNDS = 30
# The same where many are asked at once: what then is left is asked alone.
_ROUNDS_TOGETHER = 3
# Others who hold an epoch, or begin one, are about to be done.
_OTHERS_SECONDS = 0.002

# A token that no shard ever has.
_VOID = "void"

# What a script's reply may ask for, when many were asked: what is not loaded, by place, under its token.
LoadAll = Callable[[Mapping[int, str], Connection], None]
# What a script's reply may ask for; called with the token, the rest of the reply, a connection to read by.
Answer = Callable[[str, Sequence[Any], Connection], None]


def shard_of(subject: str) -> int:
    """Return the shard of a subject; its keys lie on one node of a cluster."""
    return crc32(subject.encode()) % SHARDS


class Asked(NamedTuple):
    """A script to be run on the keys of a shard."""

    script: str
    shard: int
    keys: Sequence[str]
    arguments: Sequence[str | int]


class Found(NamedTuple):
    """The token under which a script ran, and its reply."""

    token: str
    reply: Sequence[Any]


class _Life(NamedTuple):
    """What a script found: asked under `token`, the server is in `run` and `said` which epoch it is in."""

    shard: int
    token: str
    run: str
    said: str


class _Own(NamedTuple):
    """The token of an epoch that began in a transaction which may not be committed yet."""

    transaction: Transaction
    token: str


class Epochs:
    """Runs scripts on shards, each in its current epoch. Thread-safe."""

    def __init__(self, database: Database, server: Server) -> None:
        self._database = database
        self._server = server
        # Of epochs that are committed; and by shard the last one that began in a caller's transaction.
        self._tokens: dict[int, str] = {}
        self._own: dict[int, _Own] = {}
        self._agreeing = threading.Lock()

    def ask(
        self,
        asked: Asked,
        answers: Mapping[bytes, Answer],
        connection: Connection | None = None,
    ) -> tuple[str, list[Any]]:
        """Run a script until it replies with a word that `answers` does not deal with.

        Returns the token under which it ran, and the reply. `connection` is the caller's transaction, if any.

        Raises:
            CountersUnreachable: the server does not answer, or others change the same things all the time.
        """
        shard, seen = asked.shard, None
        for _ in range(_ROUNDS):
            token = self._token(shard, connection)
            reply = self._server.run(*_called(asked, token))
            if reply[0] == b"epoch":
                life = _Life(shard, token, *_texts(reply))
                with self._agreeing if connection is None else nullcontext():
                    seen = self._agree(life, seen or token, connection)
            elif (answer := answers.get(reply[0])) is not None:
                with self._committed(connection, shard, token) as reader:
                    answer(token, reply[1:], reader)
            else:
                return token, reply
        raise CountersUnreachable("the counters are being rebuilt and others keep changing them; try again")

    def ask_all(self, asked: Sequence[Asked], load: LoadAll | None = None) -> list[Found | None]:
        """Run scripts in their order, in as few round trips as there are reasons to ask again.

        Args:
            load: makes known what is not loaded, by place, each under its token.

        Returns:
            For each what `ask` does; None where it is to be asked alone.
        """
        found: list[Found | None] = [None] * len(asked)
        # One costs less alone.
        places: list[int] = list(range(len(asked))) if asked[1:] else []
        # Each may fare better by itself when not all are answered.
        with suppress(CountersUnreachable):
            for _ in range(_ROUNDS_TOGETHER):
                if not places:
                    break
                places = self._ask_once(asked, places, found, load)
        return found

    def _ask_once(
        self,
        asked: Sequence[Asked],
        places: Sequence[int],
        found: list[Found | None],
        load: LoadAll | None,
    ) -> list[int]:
        """Ask, note what is answered, and return the places of what may be asked again now."""
        tokens = {place: self._tokens.get(asked[place].shard, "") for place in places}
        replies = self._server.run_all([_called(asked[place], tokens[place]) for place in places])
        elsewhere: dict[int, _Life] = {}
        unknown: dict[int, str] = {}
        for place, reply in zip(places, replies, strict=True):
            if reply[0] == b"epoch":
                elsewhere[place] = _Life(asked[place].shard, tokens[place], *_texts(reply))
            elif reply[0] == b"load":
                unknown[place] = tokens[place]
            elif reply[0] != b"settle":
                found[place] = Found(tokens[place], reply)
        # Once for each shard, which may have many of them.
        for life in {life.shard: life for life in elsewhere.values()}.values():
            with self._agreeing:
                self._agree(life, life.token, None)
        if load is None or not unknown:
            return sorted(elsewhere)
        with self._database.read() as reader:
            load(unknown, reader)
        return sorted([*elsewhere, *unknown])

    def tell(self, told: Asked, token: str) -> None:
        """Run a script once, under a token that may be out of date.

        Raises:
            CountersUnreachable: as `ask`.
        """
        self._server.run(*_called(told, token))

    def tell_all(self, told: Sequence[Asked], tokens: Sequence[str]) -> None:
        """Do as `tell` does, with many."""
        self._server.run_all([_called(one, token) for one, token in zip(told, tokens, strict=True)])

    def fill(self, total: str, open_: str, amounts: Mapping[str, int], ends: Mapping[str, int]) -> None:
        """Add a part of a budget's open reservations to keys in the making (see `Server.fill`)."""
        self._server.fill(total, open_, amounts, ends)

    def still(self, connection: Connection, shard: int, token: str) -> bool:
        """Say whether a shard is in this epoch, and if so keep it there until the end of the transaction."""
        if epoch_repository.hold_epoch(connection, shard) == token:
            return True
        self._forget(shard)
        return False

    def still_all(self, connection: Connection, tokens: Set[tuple[int, str]]) -> Set[tuple[int, str]]:
        """Return those shards with their tokens that are still so, until the end of the transaction."""
        now = epoch_repository.hold_epochs(connection, sorted({shard for shard, _ in tokens}))
        current = tokens & set(now.items())
        for shard, _ in tokens - current:
            self._forget(shard)
        return current

    def end(self) -> None:
        """Let every subject be read from the journal anew."""
        self._database.write(epoch_repository.end_epochs)
        for key in self._server.keys("np:*:life"):
            self._server.run("begin", [key], [_VOID])

    def void(self, shards: Iterable[int]) -> None:
        """Let what these shards have be read from the journal anew, once their epochs are ended there."""
        for shard in shards:
            self._server.run("begin", [_life(shard)], [_VOID])

    def _agree(self, life: _Life, seen: str, connection: Connection | None) -> str | None:
        """Take over the shard's epoch, or begin a new one if the server is not in it.

        Returns the token of an epoch that another has begun, but not told the server yet, since `seen`.
        """
        shard = life.shard
        if self._token(shard, connection) != life.token:
            return None
        with self._reading(connection) as reader:
            before = epoch_repository.token_of(reader, shard)
        if before is not None and life.said == f"{life.run} {before}":
            self._learn(shard, before, connection)
            return None
        if before is not None and before != seen:
            time.sleep(_OTHERS_SECONDS)
            return before
        if connection is None:
            token = self._database.write(
                lambda own: epoch_repository.begin_epoch(own, shard, before), lane=Lane.DECISION
            )
        else:
            token = epoch_repository.begin_epoch(connection, shard, before)
        if token is None:
            time.sleep(_OTHERS_SECONDS)
            return before
        self._server.run("begin", [_life(shard)], [token])
        self._learn(shard, token, connection)
        return None

    def _token(self, shard: int, connection: Connection | None) -> str:
        """Return the token to ask a shard under, in the caller's transaction if there is one."""
        own = None if connection is None else self._own.get(shard)
        if own is not None and connection is not None and own.transaction is connection.get_transaction():
            return own.token
        return self._tokens.get(shard, "")

    def _learn(self, shard: int, token: str, connection: Connection | None) -> None:
        """Know a token: in the caller's transaction only, where it is not committed."""
        transaction = None if connection is None else connection.get_transaction()
        if transaction is not None:
            with self._database.read() as committed:
                if epoch_repository.token_of(committed, shard) != token:
                    self._own[shard] = _Own(transaction, token)
                    return
        self._tokens[shard] = token

    def _forget(self, shard: int) -> None:
        self._tokens.pop(shard, None)
        self._own.pop(shard, None)

    @contextmanager
    def _committed(self, connection: Connection | None, shard: int, token: str) -> Iterator[Connection]:
        """Give a connection by which the server may be told what the journal has.

        Not the caller's transaction: what that has given back would be gone from the server, and taken by
        others, also if it is never committed. Unless the epoch began in it: then the epoch goes with it, and
        what it has recorded before is known to nobody else.
        """
        with self._database.read() as own:
            if connection is None or epoch_repository.token_of(own, shard) == token:
                yield own
                return
        yield connection

    @contextmanager
    def _reading(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
            return
        with self._database.read() as own:
            yield own


def _called(asked: Asked, token: str) -> Call:
    return Call(asked.script, [_life(asked.shard), *asked.keys], [token, *asked.arguments])


def _texts(reply: Sequence[bytes]) -> tuple[str, str]:
    return reply[1].decode(), reply[2].decode()


def _life(shard: int) -> str:
    return f"np:{{{shard}}}:life"
