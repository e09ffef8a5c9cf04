"""Which revision of the tables a store has, and how an older one is brought to the newest.

Alembic takes half a second to import, so it is asked only where the stored revision is not the newest.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, text

from netpersona.adapters.stores.tables import REVISIONS
from netpersona.errors import StoreError

_MIGRATIONS = Path(__file__).parent / "migrations"


def bring_to_newest(engine: Engine, path: Path) -> None:
    """Run the migrations that the store has not had.  Raises StoreError for a newer store or a stranger's database."""
    with engine.connect() as connection:
        if _revision(connection, path) == REVISIONS[-1]:
            return
    with engine.execution_options(writes=True).begin() as connection:
        if _revision(connection, path) != REVISIONS[-1]:  # else another process was quicker
            _upgrade(connection)


def _revision(connection: Connection, path: Path) -> str | None:
    """The stored revision, None for an empty database."""
    tables = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
    if "alembic_version" not in tables:
        if tables:
            raise StoreError(f"{path}: this is a database, but not netpersona's; name another file")
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found not in REVISIONS:
        raise StoreError(
            f"{path}: the store has revision {found}, made by a newer netpersona; "
            f"this one knows revisions up to {REVISIONS[-1]}: upgrade netpersona, or name another file"
        )
    return str(found)


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")
