"""Recordings of NetFlow v5, v9 and IPFIX: export datagrams, each after its length (4 bytes, big-endian).

Counters of a sampled source are scaled where it tells its rate, and the account says so (see `netflow_sampling`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import polars as pl

from netpersona.adapters.sensors.biflow import flows_of
from netpersona.adapters.sensors.flow_records import BATCH_ROWS, ExportTally
from netpersona.adapters.sensors.netflow_decoder import Decoder
from netpersona.adapters.sensors.source import damage, open_source
from netpersona.errors import SourceError
from netpersona.flow.account import SourceAccount
from netpersona.flow.table import FlowBatch

_MOST = 65_535  # bytes of a datagram
_LEAST = {5: 24, 9: 20, 10: 16}
EXPECTED = "expected NetFlow v5, v9 or IPFIX datagrams, each after its length in 4 bytes"


def looks_like(head: bytes) -> bool:
    """Whether this may be the beginning of a recording of export datagrams."""
    if len(head) < 8:
        return False
    length, version, second = struct.unpack_from(">IHH", head)
    if version not in _LEAST or not _LEAST[version] <= length <= _MOST:
        return False
    if version == 5:
        return bool(length == 24 + 48 * second)
    return bool(second == length) if version == 10 else second > 0


class NetflowSensor:
    """Flows of one recording; both directions of a conversation are one flow (see `biflow`)."""

    format = "netflow"

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._tally = ExportTally()

    @property
    def records(self) -> int:
        """How many of the exporter's records have been read so far; one each way makes a flow."""
        return self._tally.records

    def batches(self) -> Iterator[FlowBatch]:
        """All flows.  Raises SourceError where the first datagram cannot be framed."""
        self._tally = ExportTally()
        with open_source(Path(self.path)) as source:
            yield from flows_of(self._records(source), self._tally, self.format)

    def accounts(self) -> list[SourceAccount]:
        """What the file gave; complete once `batches` is exhausted."""
        return [self._tally.account(self.path, self.format)]

    def _records(self, source: BinaryIO) -> Iterator[pl.DataFrame]:
        decoder = Decoder()
        decoder.skipped = self._tally.skipped
        for datagram in self._datagrams(source):
            decoder.feed(datagram)
            if decoder.waiting >= BATCH_ROWS:
                yield decoder.drain()
        decoder.finish()
        yield decoder.drain()
        self._tally.notes = decoder.notes()

    def _datagrams(self, source: BinaryIO) -> Iterator[bytes]:
        at = 0
        while head := self._read(source, 4, at):
            length = int.from_bytes(head, "big")
            datagram = self._read(source, length, at) if len(head) == 4 and 0 < length <= _MOST else b""
            if len(datagram) < length or not datagram:
                self._broken(at, length)
                return
            yield datagram
            at += 4 + length
        if reason := damage(source):
            self._tally.skipped[reason] += 1

    def _broken(self, at: int, length: int) -> None:
        if at == 0:
            raise SourceError(f"{self.path}: at byte 0: a datagram of {length} bytes cannot be read; {EXPECTED}")
        self._tally.skipped["recording breaks off or loses its framing: the rest is unread"] += 1

    def _read(self, source: BinaryIO, length: int, at: int) -> bytes:
        try:
            return source.read(length)
        except OSError as error:
            raise SourceError(f"{self.path}: at byte {at}: {error}; {EXPECTED}") from error
