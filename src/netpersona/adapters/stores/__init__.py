"""Where personas, findings and decisions are kept: in SQLite, or in memory for the length of one run."""

from __future__ import annotations

from netpersona.adapters.stores.memory import MemoryStore
from netpersona.errors import StoreError
from netpersona.ports import Store

_EXAMPLE = "for example sqlite:///netpersona.db, or a path that ends in .db, or memory:"


def open_store(url: str, *, create: bool = True) -> Store:
    """The store that the URL names: sqlite:///relative.db, sqlite:////absolute.db, a path ending in .db, or memory:.

    Without `create` a store that is not there is refused instead of made.  Raises StoreError.
    """
    if url in ("memory:", "sqlite://", "sqlite:///:memory:"):
        return MemoryStore()
    from netpersona.adapters.stores.sqlite import SqliteStore  # noqa: PLC0415  (SQLAlchemy costs 0.2 s)

    scheme, colon, _ = url.partition("://")
    if not colon and url.endswith((".db", ".sqlite", ".sqlite3")):
        return SqliteStore(f"sqlite:///{url}", create=create)
    if scheme == "sqlite" and colon:
        return SqliteStore(url, create=create)
    if scheme.split("+")[0] in ("postgresql", "postgres"):
        raise StoreError(f"a store in PostgreSQL comes later; name one in SQLite, {_EXAMPLE}")
    raise StoreError(f"{_shown(url)!r} names no store that netpersona knows; name one in SQLite, {_EXAMPLE}")


def _shown(url: str) -> str:
    """The URL without a password, as messages never carry a secret."""
    scheme, colon, rest = url.partition("://")
    return f"{scheme}://***@{rest.rsplit('@', 1)[1]}" if colon and "@" in rest else url
