"""Weights of policy versions apart from their records, sealed, so that they can be let go of."""

from __future__ import annotations

import zlib
from hashlib import blake2b

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_DIGEST = 16
_policies = sa.table(
    "policies",
    sa.column("version", sa.String),
    sa.column("base", sa.String),
    sa.column("body", sa.LargeBinary),
    sa.column("weights", sa.LargeBinary),
    sa.column("state", sa.LargeBinary),
    sa.column("used", sa.Boolean),
)


def upgrade() -> None:
    op.add_column("policies", sa.Column("base", sa.String(length=96)))
    op.add_column("policies", sa.Column("weights", sa.LargeBinary()))
    op.add_column("policies", sa.Column("state", sa.LargeBinary()))
    # Which of those that are there were used is not known: they stay.
    op.add_column("policies", sa.Column("used", sa.Boolean(), nullable=False, server_default=sa.true()))
    with op.batch_alter_table("policies") as batch:
        batch.alter_column("used", server_default=None)
    connection = op.get_bind()
    for name, body in connection.execute(sa.select(_policies.c.version, _policies.c.body)).all():
        record = msgspec.msgpack.decode(body)
        model, state = record["model"], record["state"]
        record |= {"model": b"", "state": None}
        _set(
            name,
            body=_sealed(msgspec.msgpack.encode(record)),
            weights=_sealed(model),
            state=None if state is None else _sealed(state),
        )


def downgrade() -> None:
    connection = op.get_bind()
    rows = connection.execute(sa.select(_policies)).all()
    copies = {
        row.version: row.weights[_DIGEST:] for row in rows if row.base is None and row.weights is not None
    }
    for row in rows:
        if row.weights is None:
            connection.execute(_policies.delete().where(_policies.c.version == row.version))
            continue
        record = msgspec.msgpack.decode(row.body[_DIGEST:])
        model = copies.get(row.version)
        if model is None:
            changes = zlib.decompress(row.weights[_DIGEST:])
            model = bytes(one ^ other for one, other in zip(copies[row.base], changes, strict=True))
        record |= {"model": model, "state": None if row.state is None else row.state[_DIGEST:]}
        _set(row.version, body=msgspec.msgpack.encode(record))
    with op.batch_alter_table("policies") as batch:
        for name in ("used", "state", "weights", "base"):
            batch.drop_column(name)


def _set(name: str, **values: bytes | None) -> None:
    op.get_bind().execute(sa.update(_policies).where(_policies.c.version == name).values(values))


def _sealed(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST).digest() + data
