"""Run by Alembic for every command; the connection comes from `warehouse.migrate`, never from a file."""

from __future__ import annotations

from alembic import context

from betting_assets.warehouse.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, include_schemas=True)
with context.begin_transaction():
    context.run_migrations()
