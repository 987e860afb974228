"""Where the database holds what the vault sealed, and how the row of each sealed value is named."""

from sqlalchemy import Column

from landbridge.store.tables import client_secrets, connections, sign_ins

SEALED: tuple[Column[bytes], ...] = (
    client_secrets.c.sealed,
    connections.c.sealed_tokens,
    sign_ins.c.sealed_secrets,
)
"""Every sealed column. A new one belongs here, or a rotation of keys leaves it behind; a test compares the names."""


def identity(table: str, project_id: str, row_id: str) -> str:
    """Return what the vault binds a sealed value to: a value that is moved to another row does not open."""
    return f"{table}/{project_id}/{row_id}"
