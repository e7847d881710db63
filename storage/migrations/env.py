"""Alembic's entry: runs the migrations on the connection that `storage.migrate` hands over."""

from __future__ import annotations

from alembic import context

# SQLite too keeps what creates tables in a transaction; Alembic would commit after each migration there.
context.configure(
    connection=context.config.attributes["connection"],
    transaction_per_migration=False,
    transactional_ddl=True,
)

with context.begin_transaction():
    context.run_migrations()
