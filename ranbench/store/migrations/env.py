"""How Alembic runs here: on the connection, and inside the transaction, that ``upgrade.migrate`` hands over."""

from alembic import context

from ranbench.store.schema import VERSION_TABLE, Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
