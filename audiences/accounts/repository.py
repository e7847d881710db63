"""SQL of accounts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, case, or_, select, update

from audiences.accounts.errors import UnknownAccount
from audiences.accounts.tables import account_members, accounts
from storage import ledger
from storage.ledger import Kind
from storage.order import settled
from storage.schema import facts
from storage.upserts import insert_into

# The label of the fact that something was told of an account alone, and of events that tell of one.
TOLD, _GROUP = "account_told", "group"


class Said(msgspec.Struct, frozen=True):
    """That a message named a profile as of an account, with traits of the account."""

    account_id: str
    profile: str
    traits: Mapping[str, Any]
    at: datetime


class Account(msgspec.Struct, frozen=True):
    """An account as it is known."""

    id: str
    traits: dict[str, Any]
    first_seen: datetime
    updated_at: datetime


class _Told(msgspec.Struct, frozen=True):
    """What bodies of facts about accounts have in common."""

    account_id: str = ""


class Membership(msgspec.Struct, frozen=True):
    """That a profile belongs to an account."""

    account_id: str
    profile: str
    since: datetime
    named_at: datetime
    chosen_at: datetime | None


def record(connection: Connection, said: Sequence[Said]) -> None:
    """Keep accounts and who belongs to them.

    Of a trait the newest message counts; one that comes late only adds what nobody said yet.
    """
    by_account: dict[str, list[Said]] = {}
    for one in sorted(said, key=lambda one: one.at):
        by_account.setdefault(one.account_id, []).append(one)
    # Always in one order, so that two who write the same accounts wait and do not block each other.
    for account_id in sorted(by_account):
        _record_account(connection, account_id, by_account[account_id])
    members: dict[tuple[str, str], list[datetime]] = {}
    for one in said:
        members.setdefault((one.account_id, one.profile), []).append(one.at)
    for (account_id, profile), moments in sorted(members.items()):
        _record_member(connection, account_id, profile, min(moments), max(moments))


def record_traits(connection: Connection, account_id: str, traits: Mapping[str, Any], at: datetime) -> None:
    """Keep traits of an account that no message of a user told."""
    _record_account(connection, account_id, [Said(account_id, "", traits, at)])


def account(connection: Connection, account_id: str) -> Account | None:
    """Return an account, or None."""
    row = connection.execute(select(accounts).where(accounts.c.account_id == account_id)).first()
    return None if row is None else _account(row)


def known(connection: Connection, account_id: str) -> Account:
    """Return an account. Raises UnknownAccount."""
    found = account(connection, account_id)
    if found is None:
        raise UnknownAccount(f"no message ever named an account {account_id!r}; check the id")
    return found


def members_of(connection: Connection, account_id: str, *, after: str = "", limit: int) -> list[Membership]:
    """Return who belongs to an account, in the order of profiles, those after `after`."""
    query = select(account_members).where(
        account_members.c.account_id == account_id, account_members.c.user_id > after
    )
    rows = connection.execute(query.order_by(account_members.c.user_id).limit(limit))
    return [Membership(*row) for row in rows]


def accounts_of(connection: Connection, profiles: Collection[str]) -> list[Membership]:
    """Return the accounts of a person's profiles, the primary one first.

    That is the one an operator chose last, or else the one that a message named last.
    """
    query = select(account_members).where(account_members.c.user_id.in_(profiles))
    found = [Membership(*row) for row in connection.execute(query)]
    return sorted(found, key=precedence, reverse=True)


def precedence(one: Membership) -> tuple[bool, datetime, str]:
    """Of a person's accounts the one with the greatest is the primary one."""
    return one.chosen_at is not None, one.chosen_at or one.named_at, one.account_id


def memberships(connection: Connection) -> list[Membership]:
    """Return who belongs to which account, everybody, in no order."""
    return [Membership(*row) for row in connection.execute(select(account_members))]


def ids(connection: Connection) -> list[str]:
    """Return all accounts, in the order of their ids."""
    return list(connection.execute(select(accounts.c.account_id).order_by(accounts.c.account_id)).scalars())


def traits_of(connection: Connection, account_ids: Collection[str] | None) -> dict[str, dict[str, Any]]:
    """Return the traits of these accounts, or of all."""
    query = select(accounts.c.account_id, accounts.c.traits)
    if account_ids is not None:
        query = query.where(accounts.c.account_id.in_(account_ids))
    return {account_id: msgspec.json.decode(traits) for account_id, traits in connection.execute(query)}


def told_after(connection: Connection, position: int) -> set[str]:
    """Return the accounts of which something was told, or a stage changed, after a place in the ledger."""
    query = ledger.columns().where(
        facts.c.seq > position,
        or_(
            and_(facts.c.kind == Kind.CHANGE.value, facts.c.label == TOLD),
            and_(facts.c.kind.in_([Kind.EVENT.value, Kind.PAST_EVENT.value]), facts.c.label == _GROUP),
            and_(facts.c.kind == Kind.STAGE.value, facts.c.user_id.is_(None)),
        ),
        settled(connection),
    )
    told: list[_Told] = [ledger.fact_of(row).decode(_Told) for row in connection.execute(query)]
    return {one.account_id for one in told if one.account_id}


def profiles_in(connection: Connection, account_ids: Collection[str]) -> list[str]:
    """Return the profiles that belong to one of these accounts."""
    query = select(account_members.c.user_id).where(account_members.c.account_id.in_(account_ids))
    return list(connection.execute(query.distinct()).scalars())


def chosen_since(connection: Connection, moment: datetime) -> list[str]:
    """Return the profiles of whom an operator chose the primary account at a moment or later."""
    query = select(account_members.c.user_id).where(account_members.c.chosen_at >= moment)
    return list(connection.execute(query.distinct()).scalars())


def choose(connection: Connection, account_id: str, profiles: Collection[str], now: datetime) -> bool:
    """Make an account the primary one of a person; False if no profile belongs to it."""
    theirs = and_(account_members.c.account_id == account_id, account_members.c.user_id.in_(profiles))
    return connection.execute(update(account_members).where(theirs).values(chosen_at=now)).rowcount > 0


def _record_account(connection: Connection, account_id: str, said: Sequence[Said]) -> None:
    first = {"account_id": account_id, "traits": "{}", "first_seen_at": said[0].at, "updated_at": said[0].at}
    statement = insert_into(connection, accounts).values(first).on_conflict_do_nothing()
    connection.execute(statement)
    row = connection.execute(
        select(accounts).where(accounts.c.account_id == account_id).with_for_update()
    ).one()
    before = _account(row)
    traits, updated_at = before.traits, before.updated_at
    for one in said:
        traits = {**one.traits, **traits} if one.at < updated_at else {**traits, **one.traits}
        updated_at = max(updated_at, one.at)
    connection.execute(
        update(accounts)
        .where(accounts.c.account_id == account_id)
        .values(
            traits=msgspec.json.encode(traits).decode(),
            first_seen_at=min(before.first_seen, said[0].at),
            updated_at=updated_at,
        )
    )


def _record_member(
    connection: Connection, account_id: str, profile: str, since: datetime, named_at: datetime
) -> None:
    statement = insert_into(connection, account_members).values(
        account_id=account_id, user_id=profile, since=since, named_at=named_at
    )
    new = statement.excluded
    earlier = case((new.since < account_members.c.since, new.since), else_=account_members.c.since)
    later = case((new.named_at > account_members.c.named_at, new.named_at), else_=account_members.c.named_at)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["account_id", "user_id"], set_={"since": earlier, "named_at": later}
        )
    )


def _account(row: Row[Any]) -> Account:
    return Account(row.account_id, msgspec.json.decode(row.traits), row.first_seen_at, row.updated_at)
