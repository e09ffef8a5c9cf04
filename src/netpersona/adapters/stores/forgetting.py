"""What the SQLite store lets go by age: see Store.forget for what, edit.py for the rules that both stores share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby

from sqlalchemy import Connection, Select, bindparam, delete, func, select, update

from netpersona.adapters.stores.edit import carried, outdated, seen_by
from netpersona.adapters.stores.tables import (
    AUDIT,
    FINDINGS,
    NAMES,
    OPEN_PERSONAS,
    STATES,
    SUBJECTS,
    TERMS,
    VERSIONS,
    VMS,
)
from netpersona.flow.vm import Vm, VmId
from netpersona.persona.codec import decode
from netpersona.persona.model import Persona
from netpersona.ports import Checkpoint, Forgotten

_OF_VM = (STATES, OPEN_PERSONAS, VERSIONS, FINDINGS, TERMS, NAMES)


def write_seen(connection: Connection, checkpoint: Checkpoint) -> None:
    """Write down which VMs were seen by this checkpoint, where that is news."""
    known: Mapping[VmId, int | None] = {VmId(row.vm): row.seen for row in connection.execute(select(SUBJECTS))}
    fresh = seen_by(checkpoint, known)
    if fresh:
        at = update(SUBJECTS).where(SUBJECTS.c.vm == bindparam("who")).values(seen=bindparam("at"))
        connection.execute(at, [{"who": vm, "at": at} for vm, at in fresh.items()])


def forget(connection: Connection, gone: int, past: int) -> Forgotten:
    """Delete what Store.forget names."""
    vms = _gone(connection, gone)
    for vm in vms:
        for table in (*_OF_VM, SUBJECTS):
            connection.execute(delete(table).where(table.c.vm == vm))
    stays = _carried(connection)
    terms = delete(TERMS).where(TERMS.c.open.is_(False), TERMS.c.at < past, TERMS.c.finding.not_in(stays))
    raised = select(TERMS.c.vm).where(TERMS.c.vm == FINDINGS.c.vm, TERMS.c.finding == FINDINGS.c.id)
    findings = delete(FINDINGS).where(
        FINDINGS.c.open.is_(False), FINDINGS.c.last_seen < past, FINDINGS.c.id.not_in(stays), ~raised.exists()
    )
    return Forgotten(
        vms=vms,
        versions=_forget_versions(connection, past),
        terms=connection.execute(terms).rowcount,  # the terms first: a finding stays while it has one
        findings=connection.execute(findings).rowcount,
        changes=connection.execute(delete(AUDIT).where(AUDIT.c.at < past)).rowcount,
    )


def _gone(connection: Connection, before: int) -> tuple[VmId, ...]:
    there = {decode(value, Vm).name for value in connection.execute(select(VMS.c.value)).scalars()}
    unseen = select(SUBJECTS.c.vm).where(SUBJECTS.c.seen < before).order_by(SUBJECTS.c.vm)
    return tuple(VmId(vm) for vm in connection.execute(unseen).scalars() if vm not in there)


def _carried(connection: Connection) -> Select[tuple[str]]:
    """The findings that the risk of a persona rests on, to be compared with."""
    ids: set[str] = set()
    for table in (STATES, OPEN_PERSONAS):
        ids |= carried(decode(value, Persona) for value in connection.execute(select(table.c.persona)).scalars())
    listed = func.json_each(json.dumps(sorted(ids))).table_valued("value")
    return select(listed.c.value)


def _forget_versions(connection: Connection, past: int) -> int:
    closed = VERSIONS.c.open.is_(False)
    aged = select(VERSIONS.c.vm).where(closed, VERSIONS.c.at < past)
    concerned = select(VERSIONS.c.vm, VERSIONS.c.version, VERSIONS.c.at).where(closed, VERSIONS.c.vm.in_(aged))
    rows = connection.execute(concerned.order_by(VERSIONS.c.vm, VERSIONS.c.version)).all()
    old = [
        {"who": vm, "number": number}
        for vm, of_vm in groupby(rows, key=lambda row: row.vm)
        for number in outdated([(row.version, row.at) for row in of_vm], past)
    ]
    if old:
        named = (VERSIONS.c.vm == bindparam("who")) & (VERSIONS.c.version == bindparam("number"))
        connection.execute(delete(VERSIONS).where(closed, named), old)
    return len(old)
