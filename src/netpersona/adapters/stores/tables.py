"""The store's tables, in SQLAlchemy Core: what is a column because it is asked for, and what is an encoded value.

Rows with `open` set rest on windows to which late flows may still come: the next checkpoint replaces all of them.
Values are bytes by netpersona.persona.codec, which carry their own schema version; `REVISIONS` are those of the
tables.  Times are µs since the epoch.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

REVISIONS = ("0001", "0002")  # oldest first; the files in migrations/versions

METADATA = MetaData()


def _vm(*, primary_key: bool = False) -> Column[str]:
    return Column("vm", String(64), ForeignKey("subjects.vm"), primary_key=primary_key, nullable=False)


SUBJECTS = Table(
    "subjects",
    METADATA,
    Column("vm", String(64), primary_key=True),  # every VM that is spoken of
    Column("seen", Integer, nullable=True),  # when it was last there or judged, to the hour
)

POSITION = Table(
    "position",
    METADATA,
    Column("id", Integer, primary_key=True),  # one row
    Column("closed_until", Integer, nullable=True),
    Column("skipped", LargeBinary, nullable=False),  # of the pending flows: reason -> count, MessagePack
)

VMS = Table(
    "vms",
    METADATA,
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("value", LargeBinary, nullable=False),
)

STATES = Table(
    "states",
    METADATA,
    _vm(primary_key=True),
    Column("persona", LargeBinary, nullable=False),
    Column("memory", LargeBinary, nullable=False),
)

OPEN_PERSONAS = Table(
    "open_personas",
    METADATA,
    _vm(primary_key=True),
    Column("persona", LargeBinary, nullable=False),
)

VERSIONS = Table(
    "versions",
    METADATA,
    _vm(primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("open", Boolean, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Column("persona", LargeBinary, nullable=False),
    Index("versions_by_time", "at"),
)

FINDINGS = Table(
    "findings",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("open", Boolean, primary_key=True),
    _vm(),
    Column("judged_at", Integer, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("last_seen", Integer, nullable=False, server_default="0"),
    Index("findings_by_vm", "vm", "judged_at"),
    Index("findings_by_time", "last_seen"),
)

TERMS = Table(
    "terms",
    METADATA,
    _vm(primary_key=True),
    Column("finding", String(64), primary_key=True),
    Column("at", Integer, primary_key=True, autoincrement=False),
    Column("open", Boolean, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Index("terms_by_time", "at"),
)

PENDING = Table(
    "pending",
    METADATA,
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("content", String(16), nullable=False),  # flows | transactions
    Column("rows", LargeBinary, nullable=False),  # Arrow IPC, zstd
)

NAMES = Table(
    "names",
    METADATA,
    _vm(primary_key=True),
    Column("value", LargeBinary, nullable=False),  # name -> address -> last seen, MessagePack
)

CONTEXT = Table(
    "context",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("who", String(64), nullable=False),
    Column("what", Text, nullable=False),
    Column("vm", String(64), nullable=False),  # which may be forgotten before this is
    Column("version_before", Integer, nullable=True),
    Column("version_after", Integer, nullable=False),
)
