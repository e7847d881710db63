"""SQL of policy versions: kept, read again, passed over when damaged, let go of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from learning import keeping
from learning.errors import BrokenWeights, NotUndone, UnknownVersion, VersionGone, VersionTaken
from learning.succession import Succeeded
from learning.tables import policies
from learning.versions import PolicyVersion
from storage import ledger
from storage.ids import new_id
from storage.ledger import Kind, NewFact

_log = structlog.get_logger(__name__)

# Versions that are looked at for one that is whole; so many damaged ones in a row are no accident.
_LOOKED_AT = 100


class PolicyChange(msgspec.Struct, frozen=True):
    """Body of the change fact that a published policy version leaves.

    `by` and `why` say who took weights back; what was learned was published by nobody.
    """

    policy: str
    version: str
    previous: str | None
    spec_hash: str
    trained: int
    through: int
    metrics: dict[str, float]
    corrected: int = 0
    anew: bool = False
    by: str = ""
    why: str = ""
    shards: int = 1


MEMBER_LABEL = "member_in_charge"


class MemberChange(msgspec.Struct, frozen=True):
    """Body of the change fact that a version leaves whose portfolio has another member in charge.

    `evidence` is the last change among what it learnt (`learning.succession.Succeeded`), None where all was
    learnt anew and the first member stayed, or where somebody took weights back.
    """

    policy: str
    version: str
    member: str
    former: str
    by: str
    why: str
    evidence: Succeeded | None


def latest_version(connection: Connection, policy: str) -> PolicyVersion | None:
    """Return the newest version of a policy that is whole, None when there is none.

    Damaged ones are passed over, and the log says so.
    """
    for name in newest_names(connection, policy):
        try:
            return version(connection, name)
        except BrokenWeights as error:
            _log.warning("policy version is damaged and passed over", version=name, error=str(error))
    return None


def newest_names(connection: Connection, policy: str, limit: int = _LOOKED_AT) -> list[str]:
    """Return the names of the newest versions of a policy, the newest first."""
    query = select(policies.c.version).where(policies.c.policy == policy)
    return list(connection.execute(query.order_by(policies.c.number.desc()).limit(limit)).scalars())


def newest_vocabularies(connection: Connection) -> Mapping[str, Sequence[str]]:
    """Return the vocabularies of the version that was published last, of whichever policy.

    Raises:
        UnknownVersion: none was ever published.
        BrokenWeights: what is kept of it is damaged.
    """
    query = select(policies.c.version).order_by(policies.c.created_at.desc(), policies.c.number.desc())
    name = connection.execute(query.limit(1)).scalar()
    if name is None:
        raise UnknownVersion("no policy version was ever published here: start the service once")
    return PolicyVersion.from_bytes(keeping.opened(_row(connection, name).body)).vocabularies


def next_number(connection: Connection, policy: str) -> int:
    """Return the number of a policy's next version; numbers of damaged ones are not used again."""
    query = select(func.max(policies.c.number)).where(policies.c.policy == policy)
    return (connection.execute(query).scalar() or 0) + 1


def version(connection: Connection, name: str) -> PolicyVersion:
    """Return a version by its name, with its weights.

    Raises:
        UnknownVersion: there is none of that name.
        VersionGone: its weights are kept no more.
        BrokenWeights: what is kept of it is damaged.
    """
    row = _row(connection, name)
    record = PolicyVersion.from_bytes(keeping.opened(row.body))
    if row.weights is None:
        days = keeping.WEIGHTS_KEPT.days
        raise VersionGone(
            f"the weights of policy version {name!r} are gone: they are kept for {days} days after the next "
            "version took charge"
        )
    state = None if row.state is None else keeping.opened(row.state)
    return msgspec.structs.replace(record, model=_model(connection, row), state=state)


def member(connection: Connection, name: str) -> str:
    """Return which member of a portfolio is in charge of a version, "" of any other policy.

    Raises:
        UnknownVersion, BrokenWeights: as `unweighted`.
    """
    return PolicyVersion.from_bytes(keeping.opened(_row(connection, name).body)).member


def unweighted(connection: Connection, name: str) -> PolicyVersion:
    """Return a version as it was before it learnt: all that a replay needs, whatever became of its weights.

    Raises:
        UnknownVersion: there is none of that name.
        BrokenWeights: what is kept of it is damaged.
    """
    return PolicyVersion.from_bytes(keeping.opened(_row(connection, name).body)).unweighted()


def take_back(connection: Connection, name: str, now: datetime, by: str, why: str) -> PolicyVersion:
    """Publish the weights from before a version again, as the policy's next version.

    It goes on from the same reward: what the version had learned from is not learned from again.

    Raises:
        NotUndone: another version came after it, or what was before is kept no more or of another
            specification.
    """
    current = version(connection, name)
    newest = newest_names(connection, current.policy, 1)
    if newest != [name]:
        raise NotUndone(f"{', '.join(newest)} was published after {name}: take that back first")
    try:
        before = None if current.parent is None else version(connection, current.parent)
    except (UnknownVersion, VersionGone, BrokenWeights) as error:
        raise NotUndone(f"what was before {name} can't serve any more: {error}") from error
    if before is None or before.spec_hash != current.spec_hash:
        raise NotUndone(f"nothing of the same specification was before {name}")
    restored = msgspec.structs.replace(
        before.numbered(next_number(connection, current.policy)),
        parent=name,
        created_at=now,
        through=current.through,
        corrected=current.corrected,
        anew=False,
        metrics={},
    )
    insert_version(connection, restored, now, by=by, why=why)
    if restored.member != current.member:
        tell_of_member(connection, restored, current.member, now, by=by, why=why)
    return restored


def tell_of_member(
    connection: Connection,
    new: PolicyVersion,
    former: str,
    now: datetime,
    *,
    by: str,
    why: str,
    evidence: Succeeded | None = None,
) -> None:
    """Leave the change fact of a portfolio that has another member in charge."""
    body = MemberChange(new.policy, new.version, new.member, former, by, why, evidence)
    ledger.append(connection, [NewFact(Kind.CHANGE, new_id(now), MEMBER_LABEL, None, now, body)], now)


def packed(connection: Connection, new: PolicyVersion) -> Mapping[str, Any]:
    """Return what is kept of a version: compressing takes milliseconds, better spent before a turn to write.

    Raises:
        BrokenWeights: it could not be served; the version before it stays in charge.
    """
    new.serve()
    base, weights = _weights(connection, new)
    return {
        "version": new.version,
        "policy": new.policy,
        "number": new.number,
        "parent": new.parent,
        "created_at": new.created_at,
        "spec_hash": new.spec_hash,
        "trained": new.trained,
        "through": new.through,
        "body": keeping.seal(msgspec.structs.replace(new, model=b"", state=None).to_bytes()),
        "base": base,
        "weights": weights,
        "state": None if new.state is None else keeping.seal(new.state),
        "used": False,
    }


def insert_version(
    connection: Connection,
    new: PolicyVersion,
    now: datetime,
    row: Mapping[str, Any] | None = None,
    *,
    by: str = "",
    why: str = "",
) -> None:
    """Keep a version and the change fact that tells of it, and of who published it if it was not learned.

    Args:
        row: what `packed` made of it beforehand.

    Raises:
        BrokenWeights: as `packed`.
        VersionTaken: the number is in use already; nothing may be kept of the transaction.
    """
    try:
        connection.execute(insert(policies), dict(row or packed(connection, new)))
    except IntegrityError as error:
        raise VersionTaken(f"{new.version} was published meanwhile; go on from it") from error
    change = PolicyChange(
        new.policy,
        new.version,
        new.parent,
        new.spec_hash,
        new.trained,
        new.through,
        dict(new.metrics),
        new.corrected,
        new.anew,
        by,
        why,
        new.shards,
    )
    ledger.append(connection, [NewFact(Kind.CHANGE, new_id(now), "policy_published", None, now, change)], now)


def mark_used(connection: Connection, name: str) -> None:
    """Remember that a decision was made by a version."""
    connection.execute(update(policies).where(policies.c.version == name).values(used=True))


def let_go(connection: Connection, now: datetime) -> keeping.Letting:
    """Let go of what has to be kept no longer (see `learning.keeping`), and return what went."""
    columns = (policies.c.version, policies.c.created_at, policies.c.used, policies.c.base)
    has = (policies.c.weights.is_not(None), policies.c.state.is_not(None))
    gone = keeping.Letting([], [], [])
    for policy in connection.execute(select(policies.c.policy).distinct()).scalars().all():
        query = select(*columns, *has).where(policies.c.policy == policy).order_by(policies.c.number)
        found = keeping.letting([keeping.Row(*row) for row in connection.execute(query)], now)
        for total, some in zip(gone, found, strict=True):
            total.extend(some)
    this = policies.c.version
    connection.execute(delete(policies).where(this.in_(gone.rows)))
    connection.execute(update(policies).where(this.in_(gone.weights)).values(weights=None))
    connection.execute(update(policies).where(this.in_(gone.states)).values(state=None))
    return gone


def damaged(connection: Connection, limit: int = _LOOKED_AT) -> Iterator[tuple[str, str]]:
    """Yield which of the newest versions of all policies are damaged, and how."""
    query = select(policies.c.version).order_by(policies.c.created_at.desc(), policies.c.number.desc())
    for name in connection.execute(query.limit(limit)).scalars().all():
        try:
            version(connection, name).serve()
        except BrokenWeights as error:
            yield name, str(error)
        except VersionGone:
            continue


def _row(connection: Connection, name: str) -> Any:
    columns = (policies.c.version, policies.c.body, policies.c.base, policies.c.weights, policies.c.state)
    row = connection.execute(select(*columns).where(policies.c.version == name)).first()
    if row is None:
        raise UnknownVersion(f"there is no policy version {name!r}, or no decision used it and it was let go")
    return row


def _model(connection: Connection, row: Any) -> bytes:
    if row.base is None:
        return keeping.opened(row.weights)
    query = select(policies.c.weights).where(policies.c.version == row.base)
    base = connection.execute(query).scalar()
    if base is None:
        raise BrokenWeights(f"{row.version}: the copy {row.base} that it is a difference to is not there")
    return keeping.applied(keeping.opened(base), row.weights)


def _weights(connection: Connection, new: PolicyVersion) -> tuple[str | None, bytes]:
    """Return the version's weights as they are kept, and the version they are a difference to."""
    midnight = new.created_at.replace(hour=0, minute=0, second=0, microsecond=0)
    query = (
        select(policies.c.version, policies.c.weights)
        .where(policies.c.policy == new.policy, policies.c.spec_hash == new.spec_hash)
        .where(policies.c.created_at >= midnight, policies.c.base.is_(None), policies.c.weights.is_not(None))
        .order_by(policies.c.number.desc())
        .limit(1)
    )
    copy = connection.execute(query).first()
    if copy is not None:
        try:
            changes = keeping.difference(keeping.opened(copy.weights), new.model)
        except BrokenWeights:
            # A damaged copy carries no differences; this version is kept in full.
            changes = None
        if changes is not None:
            return copy.version, changes
    return None, keeping.seal(new.model)
