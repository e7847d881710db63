"""Audiences: users by number, definitions with versions, lists, bitmaps, runs."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op
from pyroaring import BitMap

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# The definition that members of before belong to: none there is, so they are evaluated anew.
_BEFORE = "before"
_PAGE = 500


def upgrade() -> None:
    op.create_table(
        "audience_numbers",
        sa.Column("number", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audience_numbers")),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_audience_numbers_user_id", "audience_numbers", ["user_id"], unique=True)
    op.create_table(
        "audience_versions",
        sa.Column("audience", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("audience", "version", name=op.f("pk_audience_versions")),
    )
    op.create_table(
        "audience_lists",
        sa.Column("audience", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("members", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("audience", "version", name=op.f("pk_audience_lists")),
    )
    op.create_table(
        "audience_bitmaps",
        sa.Column("audience", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=36), nullable=False),
        sa.Column("members", sa.LargeBinary(), nullable=False),
        sa.Column("entered", sa.LargeBinary(), nullable=False),
        sa.Column("left", sa.LargeBinary(), nullable=False),
        sa.Column("told", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("audience", "run", name=op.f("pk_audience_bitmaps")),
    )
    op.create_table(
        "audience_states",
        sa.Column("audience", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("definition", sa.String(length=32), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("audience", name=op.f("pk_audience_states")),
    )
    _carry_over(op.get_bind())
    op.drop_table("audience_members")
    op.drop_table("audience_runs")
    op.create_table(
        "audience_runs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("users", sa.Integer(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("features", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audience_runs")),
    )
    op.create_index("ix_audience_runs_started_at", "audience_runs", ["started_at"], unique=False)


def _carry_over(connection: sa.Connection) -> None:
    """Who is in stays in, so that the next evaluation tells only of those who come and go."""
    members = sa.table("audience_members", sa.column("audience"), sa.column("user_id"))
    runs = sa.table("audience_runs", sa.column("audience"), sa.column("as_of"))
    numbers = sa.table("audience_numbers", sa.column("number"), sa.column("user_id"))
    known = sa.select(members.c.user_id).distinct().order_by(members.c.user_id)
    connection.execute(sa.insert(numbers).from_select(["user_id"], known))
    as_of = {row.audience: row.as_of for row in connection.execute(sa.select(runs))}
    bitmaps: dict[str, BitMap] = {}
    joined = sa.select(members.c.audience, numbers.c.number).join(
        numbers, numbers.c.user_id == members.c.user_id
    )
    for row in connection.execute(joined):
        bitmaps.setdefault(row.audience, BitMap()).add(row.number)
    for audience, inside in bitmaps.items():
        values = {"audience": audience, "run": _BEFORE, "members": inside.serialize()}
        empty = BitMap().serialize()
        connection.execute(
            sa.insert(
                sa.table(
                    "audience_bitmaps", *map(sa.column, ("audience", "run", "members", "entered", "left"))
                )
            ),
            {**values, "entered": empty, "left": empty},
        )
        state = {
            "audience": audience,
            "run": _BEFORE,
            "revision": 1,
            "definition": _BEFORE,
            "as_of": as_of.get(audience, time.time_ns() // 1000),
            "size": len(inside),
        }
        connection.execute(sa.insert(sa.table("audience_states", *map(sa.column, state))), state)


def downgrade() -> None:
    for table in (
        "audience_runs",
        "audience_states",
        "audience_bitmaps",
        "audience_lists",
        "audience_versions",
        "audience_numbers",
    ):
        op.drop_table(table)
    op.create_table(
        "audience_members",
        sa.Column("audience", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("entered_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("audience", "user_id", name=op.f("pk_audience_members")),
    )
    op.create_table(
        "audience_runs",
        sa.Column("audience", sa.String(length=64), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("audience", name=op.f("pk_audience_runs")),
    )
