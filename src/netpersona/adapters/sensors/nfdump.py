"""Files of nfcapd and nfdump, read without the tool: layout 1 (nfdump 1.6) and layout 2 (nfdump 1.7).

A file is a header and blocks, each compressed for itself (none, LZO, bzip2, LZ4; zstd with the package
zstandard).  A block that cannot be read is counted, and the next one is read.  Both directions of a
conversation become one flow (see `biflow`).  Files of big-endian hosts, encrypted files and layouts to come
are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import polars as pl

from netpersona.adapters.sensors.biflow import flows_of
from netpersona.adapters.sensors.flow_records import ExportTally
from netpersona.adapters.sensors.nfdump_codecs import DECODERS, CodecError
from netpersona.adapters.sensors.nfdump_records import RecordReader
from netpersona.adapters.sensors.source import damage, open_source
from netpersona.errors import SourceError
from netpersona.flow.account import SourceAccount
from netpersona.flow.table import FlowBatch

_MAGIC, _BIG_ENDIAN = b"\x0c\xa5", b"\xa5\x0c"
_HEADER = {1: 276, 2: 40}  # bytes; of layout 1 with the statistics record
_V1_COMPRESSIONS = {0x01: 1, 0x08: 2, 0x10: 3}  # flag of the file: decoder
_BLOCK_HEADER = struct.Struct("<IIHH")  # records, bytes, type, flags
_DATA_BLOCKS = (2, 3)
_UNCOMPRESSED, _UNENCRYPTED = 1, 2
_MOST = 16 << 20  # bytes of a block; nfdump's own buffers hold 5 MiB
_TOGETHER = 16 << 20  # bytes of blocks read at once: some 150,000 records
EXPECTED = "expected a file of nfdump 1.6 or 1.7 (layout 1 or 2)"
UNREADABLE_BLOCK = "unreadable block"


class _Header(NamedTuple):
    layout: int
    compression: int
    encrypted: bool
    data_end: int  # byte at which blocks about the file itself begin; 0: there are none


def looks_like(head: bytes) -> bool:
    """Whether this may be the beginning of an nfdump file, of whatever layout."""
    return len(head) >= 4 and (
        (head[:2] == _MAGIC and 0 < head[2] < 16 and head[3] == 0)
        or (head[:2] == _BIG_ENDIAN and head[2] == 0 and 0 < head[3] < 16)
    )


class NfdumpSensor:
    """Flows of one nfdump file."""

    format = "nfdump"

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._tally = ExportTally()

    @property
    def records(self) -> int:
        """How many of the exporter's records have been read so far; one each way makes a flow."""
        return self._tally.records

    def batches(self) -> Iterator[FlowBatch]:
        """All flows.  Raises SourceError where the header cannot be read, or not one block can."""
        self._tally = ExportTally()
        with open_source(Path(self.path)) as source:
            yield from flows_of(self._records(source), self._tally, self.format)

    def accounts(self) -> list[SourceAccount]:
        """What the file gave; complete once `batches` is exhausted."""
        return [self._tally.account(self.path, self.format)]

    def _records(self, source: BinaryIO) -> Iterator[pl.DataFrame]:
        header = self._header(source)
        reader = RecordReader(self._tally.skipped)
        some: list[bytes] = []
        for block in self._plain_blocks(source, header):
            some.append(block)
            if sum(map(len, some)) >= _TOGETHER:
                yield reader.read(some)
                some = []
        yield reader.read(some)

    def _plain_blocks(self, source: BinaryIO, header: _Header) -> Iterator[bytes]:
        """The data blocks, decompressed."""
        read = 0
        for at, block, flags in self._blocks(source, header):
            codec = 0 if flags & _UNCOMPRESSED else header.compression
            if header.encrypted and not flags & _UNENCRYPTED:
                raise SourceError(f"{self.path}: at byte {at}: the file is encrypted; decrypt it with nfdump first")
            try:
                records = DECODERS[codec](block, _MOST)
            except CodecError as error:
                if read == 0:
                    raise SourceError(f"{self.path}: at byte {at}: unreadable block: {error}; {EXPECTED}") from error
                self._tally.skipped[UNREADABLE_BLOCK] += 1
                continue
            read += 1
            yield records

    def _header(self, source: BinaryIO) -> _Header:
        head = self._read(source, 4)
        if head[:2] == _BIG_ENDIAN:
            raise SourceError(f"{self.path}: written on a big-endian host; {EXPECTED} of a little-endian one")
        layout = int.from_bytes(head[2:4], "little")
        if head[:2] != _MAGIC or layout not in _HEADER:
            raise SourceError(f"{self.path}: at byte 0: {head.hex()} begins no such file; {EXPECTED}")
        rest = self._read(source, _HEADER[layout] - 4)
        if len(rest) < _HEADER[layout] - 4:
            raise SourceError(f"{self.path}: at byte {4 + len(rest)}: the header ends early; {EXPECTED}")
        if layout == 1:
            flags = int.from_bytes(rest[:4], "little")
            codec = next((codec for bit, codec in _V1_COMPRESSIONS.items() if flags & bit), 0)
            return _Header(1, codec, encrypted=False, data_end=0)
        compression, encryption = rest[12], rest[13]
        if compression not in DECODERS:
            raise SourceError(f"{self.path}: at byte 16: compression {compression} is not known; {EXPECTED}")
        return _Header(2, compression, encryption != 0, int.from_bytes(rest[20:28], "little"))

    def _read(self, source: BinaryIO, length: int) -> bytes:
        try:
            return source.read(length)
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read: {error.strerror or error}") from error

    def _blocks(self, source: BinaryIO, header: _Header) -> Iterator[tuple[int, bytes, int]]:
        """Where each data block begins, its bytes and its flags."""
        at = _HEADER[header.layout]
        while head := self._read(source, _BLOCK_HEADER.size):
            if 0 < header.data_end <= at:
                break
            if len(head) < _BLOCK_HEADER.size:
                self._tally.skipped[UNREADABLE_BLOCK] += 1
                break
            _, size, kind, flags = _BLOCK_HEADER.unpack(head)
            block = self._read(source, size) if size <= _MOST else b""
            if len(block) < size:
                self._tally.skipped[UNREADABLE_BLOCK] += 1
                break
            if kind in _DATA_BLOCKS:
                yield at, block, flags
            at += _BLOCK_HEADER.size + size
        if reason := damage(source):
            self._tally.skipped[reason] += 1
