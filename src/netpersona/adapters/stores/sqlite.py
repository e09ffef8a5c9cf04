"""The store in one SQLite file: each checkpoint is one transaction, so a kill at any instant leaves the one before.

WAL with full synchronisation; foreign keys on; a writer waits up to BUSY_TIMEOUT for another one.  Connections are
opened for each call and closed after it: nothing is held between checkpoints, and nothing needs to be closed.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table, bindparam, create_engine, delete, event, insert, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from netpersona.adapters.stores.blobs import (
    packed_counts,
    packed_frames,
    packed_names,
    unpacked_counts,
    unpacked_frame,
    unpacked_names,
)
from netpersona.adapters.stores.edit import FINDINGS_KEPT, TERMS_KEPT, check_next, edited, kept, surplus
from netpersona.adapters.stores.forgetting import forget, write_seen
from netpersona.adapters.stores.revision import bring_to_newest
from netpersona.adapters.stores.tables import (
    AUDIT,
    CONTEXT,
    FINDINGS,
    NAMES,
    OPEN_PERSONAS,
    PENDING,
    POSITION,
    STATES,
    SUBJECTS,
    TERMS,
    VERSIONS,
    VMS,
)
from netpersona.errors import StoreError
from netpersona.flow.table import FlowBatch, batch
from netpersona.flow.vm import Vm, VmId
from netpersona.persona.codec import decode, encode
from netpersona.persona.memory import Memory
from netpersona.persona.model import Persona, RiskTerm
from netpersona.persona.state import VmState
from netpersona.ports import Checkpoint, Forgotten, Outcome, PersonaVersion
from netpersona.risk.finding import Finding

BUSY_TIMEOUT = 5.0  # seconds
_Rows = list[dict[str, Any]]


class SqliteStore:
    """A Store in the SQLite file that the URL names, sqlite:///relative.db or sqlite:////absolute.db.

    Opening makes the file and its directory where they are absent (unless `create` is false), and brings an older
    one to the newest revision.  Raises StoreError.
    """

    def __init__(self, url: str, *, create: bool = True, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.path = Path(url.removeprefix("sqlite:///"))
        _check_place(self.path, create=create)
        address = URL.create("sqlite", database=str(self.path))
        self._engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": busy_timeout})
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        with self._refusals():
            bring_to_newest(self._engine, self.path)

    def closed_until(self) -> int | None:
        """The end (µs) of the last window that is closed for good; None for an empty store."""
        with self._reading() as connection:
            found: int | None = connection.execute(select(POSITION.c.closed_until)).scalar()
        return found

    def states(self) -> dict[VmId, VmState]:
        """Every VM's keyed state at `closed_until`."""
        with self._reading() as connection:
            rows = connection.execute(select(STATES).order_by(STATES.c.vm)).all()
        return {VmId(row.vm): VmState(decode(row.persona, Persona), decode(row.memory, Memory)) for row in rows}

    def pending(self) -> FlowBatch:
        """The flows of the windows that are still open."""
        with self._reading() as connection:
            rows = connection.execute(select(PENDING).order_by(PENDING.c.part)).all()
            skipped = connection.execute(select(POSITION.c.skipped)).scalar()
        frames: dict[str, list[pl.DataFrame]] = {"flows": [], "transactions": []}
        for row in rows:
            frames[row.content].append(unpacked_frame(row.rows))
        whole = {content: pl.concat(parts) if parts else None for content, parts in frames.items()}
        return batch(whole["flows"], whole["transactions"], unpacked_counts(skipped) if skipped else {})

    def vms(self) -> list[Vm]:
        """The VMs, as the last checkpoint had them."""
        with self._reading() as connection:
            values = connection.execute(select(VMS.c.value).order_by(VMS.c.place)).scalars().all()
        return [decode(value, Vm) for value in values]

    def names(self) -> dict[VmId, dict[str, dict[str, int]]]:
        """DNS answers seen by each VM: name -> address -> last seen (µs)."""
        with self._reading() as connection:
            rows = connection.execute(select(NAMES).order_by(NAMES.c.vm)).all()
        return {VmId(row.vm): unpacked_names(row.value) for row in rows}

    def personas(self) -> dict[VmId, Persona]:
        """Every persona as it stands now, open windows included."""
        with self._reading() as connection:
            rows = connection.execute(select(STATES.c.vm, STATES.c.persona)).all()
            rows = [*rows, *connection.execute(select(OPEN_PERSONAS.c.vm, OPEN_PERSONAS.c.persona)).all()]
        newest = {row.vm: row.persona for row in rows}
        return {VmId(vm): decode(newest[vm], Persona) for vm in sorted(newest)}

    def history(self, vm: VmId) -> list[PersonaVersion]:
        """The stored versions of a persona, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(select(VERSIONS).where(VERSIONS.c.vm == vm).order_by(VERSIONS.c.open)).all()
        newest = {row.version: row for row in rows}
        return kept(PersonaVersion(decode(row.persona, Persona), row.at, row.why) for row in newest.values())

    def findings(self, vm: VmId | None = None) -> list[Finding]:
        """Findings in the order (judged_at, id)."""
        wanted = select(FINDINGS.c.id, FINDINGS.c.value).order_by(FINDINGS.c.open)
        with self._reading() as connection:
            rows = connection.execute(wanted if vm is None else wanted.where(FINDINGS.c.vm == vm)).all()
        newest = {row.id: row.value for row in rows}
        return sorted((decode(value, Finding) for value in newest.values()), key=lambda f: (f.judged_at, f.id))

    def terms(self, vm: VmId) -> list[RiskTerm]:
        """The risk terms of a VM that are kept, in the order of their instants."""
        with self._reading() as connection:
            rows = connection.execute(select(TERMS).where(TERMS.c.vm == vm).order_by(TERMS.c.open)).all()
        newest = {(row.at, row.finding): row.value for row in rows}
        return [decode(newest[key], RiskTerm) for key in sorted(newest)]

    def context(self, key: str) -> bytes | None:
        """What the last decisions rested on."""
        with self._reading() as connection:
            value: bytes | None = connection.execute(select(CONTEXT.c.value).where(CONTEXT.c.key == key)).scalar()
        return value

    def audit(self) -> list[tuple[int, str, str, VmId, int | None, int]]:
        """What people changed, oldest first: instant (µs, event time), who, what, VM, version before and after."""
        with self._reading() as connection:
            rows = connection.execute(select(AUDIT).order_by(AUDIT.c.id)).all()
        return [(r.at, r.who, r.what, VmId(r.vm), r.version_before, r.version_after) for r in rows]

    def commit(self, checkpoint: Checkpoint) -> None:
        """Write one checkpoint, wholly or not at all."""
        with self._writing() as connection:
            _write_outcome(connection, checkpoint.closed)
            _write_states(connection, checkpoint.closed.states)
            _prune_versions(connection, {version.persona.vm for version in checkpoint.closed.versions})
            _prune(connection, FINDINGS, {f.vm for f in checkpoint.closed.findings}, FINDINGS_KEPT)
            _prune(connection, TERMS, {vm for vm, _ in checkpoint.closed.terms}, TERMS_KEPT)
            _replace_open(connection, checkpoint.open)
            _replace_pending(connection, checkpoint)
            _replace_world(connection, checkpoint)
            write_seen(connection, checkpoint)

    def put_persona(self, persona: Persona, at: int, why: str) -> None:
        """Store what a person changed (frozen, reset, labels) as a new version, in the keyed state too.

        Raises StoreError where the persona is not the next version of the stored one: someone else changed it.
        """
        with self._writing() as connection:
            opened = _persona_of(connection, OPEN_PERSONAS, persona.vm)
            state = _state_of(connection, persona.vm)
            before = opened or (state.persona if state else None)
            check_next(before, persona)
            _write_outcome(connection, Outcome(versions=[PersonaVersion(persona, at, why)]))
            _write_states(connection, {persona.vm: edited(state, before, persona)})
            _prune_versions(connection, {persona.vm})
            if opened is not None:
                _put(connection, OPEN_PERSONAS, [{"vm": persona.vm, "persona": encode(persona)}])
            version = None if before is None else before.version
            change = {"at": at, "who": _who(), "what": why, "vm": persona.vm, "version_before": version}
            connection.execute(insert(AUDIT), [{**change, "version_after": persona.version}])

    def forget(self, gone: int, past: int) -> Forgotten:
        """Let go what is too old, wholly or not at all; the file keeps its size, and has room for what comes."""
        with self._writing() as connection:
            return forget(connection, gone, past)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._refusals(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        writer = self._engine.execution_options(writes=True)
        with self._refusals(), writer.begin() as connection:
            yield connection

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What SQLite refuses, said in words that help."""
        try:
            yield
        except (DBAPIError, OSError) as e:
            raise StoreError(f"{self.path}: {_reason(e)}") from e


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin`, not by the driver's guess
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _check_place(path: Path, *, create: bool) -> None:
    if path.is_dir():
        raise StoreError(f"{path}: is a directory; name a file in it, for example {path / 'netpersona.db'}")
    if path.exists():
        return
    if not create:
        raise StoreError(f"{path}: there is no store; `netpersona replay SOURCE --store {path}` makes one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StoreError(f"{path}: its directory cannot be made: {e.strerror}; name a place you may write to") from e


_REASONS = {
    "database is locked": "another process is writing to it; nothing was written: try again when that one is done",
    "database or disk is full": "the disk is full; nothing of this was written, and what was stored before is good",
    "disk I/O error": "the disk refuses to be read or written (is it full?); what was stored before is good",
    "file is not a database": "this is not a store: the file is no SQLite database; name another file",
    "unable to open database file": "cannot be opened: may you read and write here, and in its directory?",
    "readonly database": "may not be written to: ask its owner, or name another file",
    "malformed": "is damaged; restore it from a copy",
}


def _reason(error: DBAPIError | OSError) -> str:
    text = str(error.orig) if isinstance(error, DBAPIError) else error.strerror or str(error)
    return next((words for sign, words in _REASONS.items() if sign in text), text)


def _who() -> str:
    try:
        return getpass.getuser()[:64]
    except (KeyError, OSError):
        return "unknown"


def _put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows; one with the same primary key is replaced."""
    if not rows:
        return
    keys = list(table.primary_key.columns)
    same = delete(table).where(*(key == bindparam(f"old_{key.name}") for key in keys))
    connection.execute(same, [{f"old_{key.name}": row[key.name] for key in keys} for row in rows])
    connection.execute(insert(table), rows)


def _replace(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Let the table hold exactly these rows."""
    connection.execute(delete(table))
    if rows:
        connection.execute(insert(table), rows)


def _introduce(connection: Connection, vms: Iterable[VmId]) -> None:
    known = set(connection.execute(select(SUBJECTS.c.vm)).scalars())
    new = sorted(set(vms) - known)
    if new:
        connection.execute(insert(SUBJECTS), [{"vm": vm} for vm in new])


def _write_outcome(connection: Connection, outcome: Outcome, *, is_open: bool = False) -> None:
    """The versions, findings and terms of an outcome, in order, so that of two with one key the later one stays."""
    versions = {(v.persona.vm, v.persona.version): v for v in outcome.versions}
    findings = {finding.id: finding for finding in outcome.findings}
    terms = {(vm, term.finding, term.at): term for vm, term in outcome.terms}
    _introduce(
        connection, {vm for vm, _ in outcome.terms} | {vm for vm, _ in versions} | {f.vm for f in outcome.findings}
    )
    _put(connection, VERSIONS, [_version_row(version, is_open) for version in versions.values()])
    _put(connection, FINDINGS, [_finding_row(finding, is_open) for finding in findings.values()])
    rows: _Rows = [
        {"vm": vm, "finding": finding, "at": at, "open": is_open, "value": encode(term)}
        for (vm, finding, at), term in terms.items()
    ]
    _put(connection, TERMS, rows)


def _version_row(version: PersonaVersion, is_open: bool) -> dict[str, Any]:
    persona = version.persona
    row = {"vm": persona.vm, "version": persona.version, "at": version.at, "why": version.why}
    return {**row, "open": is_open, "persona": encode(persona)}


def _finding_row(finding: Finding, is_open: bool) -> dict[str, Any]:
    row = {"id": finding.id, "vm": finding.vm, "judged_at": finding.judged_at, "last_seen": finding.last_seen}
    return {**row, "open": is_open, "value": encode(finding)}


def _write_states(connection: Connection, states: Mapping[VmId, VmState]) -> None:
    _introduce(connection, states)
    rows = [{"vm": vm, "persona": encode(s.persona), "memory": encode(s.memory)} for vm, s in states.items()]
    _put(connection, STATES, rows)


def _prune_versions(connection: Connection, vms: set[VmId]) -> None:
    """Drop the versions that `kept` would not keep; open ones come and go whole, and do not count."""
    for vm in sorted(vms):
        ours = (VERSIONS.c.vm == vm) & (VERSIONS.c.open.is_(False))
        numbers = connection.execute(select(VERSIONS.c.version).where(ours).order_by(VERSIONS.c.version)).scalars()
        gone = surplus(list(numbers))
        if gone:
            connection.execute(delete(VERSIONS).where(ours, VERSIONS.c.version.in_(gone)))


def _prune(connection: Connection, table: Table, vms: set[VmId], most: int) -> None:
    """Drop all but the latest rows of each of these VMs; open ones come and go whole, and do not count."""
    at, name = (table.c.judged_at, table.c.id) if table is FINDINGS else (table.c.at, table.c.finding)
    for vm in sorted(vms):
        ours = (table.c.vm == vm) & table.c.open.is_(False)
        latest = select(at, name).where(ours).order_by(at.desc(), name.desc())
        first = connection.execute(latest.offset(most - 1).limit(1)).one_or_none()
        if first is not None:
            older = (at < first[0]) | ((at == first[0]) & (name < first[1]))
            connection.execute(delete(table).where(ours, older))


def _replace_open(connection: Connection, outcome: Outcome) -> None:
    for table in (VERSIONS, FINDINGS, TERMS):
        connection.execute(delete(table).where(table.c.open.is_(True)))
    _write_outcome(connection, outcome, is_open=True)
    _introduce(connection, outcome.states)
    _replace(
        connection,
        OPEN_PERSONAS,
        [{"vm": vm, "persona": encode(state.persona)} for vm, state in outcome.states.items()],
    )


def _replace_pending(connection: Connection, checkpoint: Checkpoint) -> None:
    pending = checkpoint.pending
    parts = [("flows", blob) for blob in packed_frames(pending.flows)]
    parts += [("transactions", blob) for blob in packed_frames(pending.transactions)]
    rows: _Rows = [{"part": i, "content": content, "rows": blob} for i, (content, blob) in enumerate(parts)]
    _replace(connection, PENDING, rows)
    position = {"id": 1, "closed_until": checkpoint.closed_until, "skipped": packed_counts(pending.skipped)}
    _replace(connection, POSITION, [position])


def _replace_world(connection: Connection, checkpoint: Checkpoint) -> None:
    _replace(connection, VMS, [{"place": i, "value": encode(vm)} for i, vm in enumerate(checkpoint.vms)])
    _introduce(connection, checkpoint.names)
    _replace(connection, NAMES, [{"vm": vm, "value": packed_names(n)} for vm, n in checkpoint.names.items()])
    _replace(connection, CONTEXT, [{"key": key, "value": value} for key, value in checkpoint.context.items()])


def _persona_of(connection: Connection, table: Table, vm: VmId) -> Persona | None:
    value = connection.execute(select(table.c.persona).where(table.c.vm == vm)).scalar()
    return None if value is None else decode(value, Persona)


def _state_of(connection: Connection, vm: VmId) -> VmState | None:
    row = connection.execute(select(STATES).where(STATES.c.vm == vm)).one_or_none()
    return None if row is None else VmState(decode(row.persona, Persona), decode(row.memory, Memory))
