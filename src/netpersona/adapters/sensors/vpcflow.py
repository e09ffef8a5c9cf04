"""AWS VPC flow logs, version 2 to 7: text separated by spaces, default fields or any that a header line names.

What Athena, CloudWatch Insights and others make of them is read too: CSV, quoted or not, names as account_id or
accountId.

Where a log has the packet's own addresses (pkt-srcaddr, pkt-dstaddr) they are taken, as those of the
interface may be a gateway's.  Both directions of a conversation are one flow (see `biflow`), each network
interface observing for itself.  Times are whole seconds.  tcp-flags are or-ed over the aggregation
interval and never show a plain ACK, so that a SYN without ACK names the originator and a SYN-ACK the
responder.  A rejected flow is REJ.  Lines that CloudWatch exported have its own time, and perhaps the stream's
name, before the log's fields; they are stepped over.  NODATA and SKIPDATA lines say that nothing was logged;
they are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import polars as pl

from netpersona.adapters.sensors.address_column import canonical_addresses
from netpersona.adapters.sensors.biflow import flows_of
from netpersona.adapters.sensors.biflow_ends import ACK, SYN
from netpersona.adapters.sensors.flow_records import ExportTally, as_records, sound
from netpersona.adapters.sensors.source import blocks, open_source
from netpersona.adapters.sensors.text_columns import lines_of, split_header, split_lines
from netpersona.errors import SourceError
from netpersona.flow.account import SourceAccount
from netpersona.flow.table import FlowBatch

DEFAULT_FIELDS = (
    "version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes",
    "start", "end", "action", "log-status",
)  # fmt: skip
_NEEDED = {"protocol", "start", "end"}
_SOURCES, _DESTINATIONS = ("pkt-srcaddr", "srcaddr"), ("pkt-dstaddr", "dstaddr")
_KNOWN_ONLY_HERE = {"srcaddr", "pkt-srcaddr", "log-status", "interface-id", "account-id"}
_NUMBERS = ("srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "tcp-flags")
_FIELDS = {
    name.replace("-", ""): name for name in (*DEFAULT_FIELDS, "pkt-srcaddr", "pkt-dstaddr", "tcp-flags", "vpc-id")
}
_CLOUDWATCH = ["exported-at", "log-stream"]
_EXPORT_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)")
EXPECTED = "expected AWS VPC flow log lines: the 14 default fields, or a header line that names the fields"


def looks_like(head: bytes) -> bool:
    """Whether this may be the beginning of a VPC flow log."""
    _, first = _split(head.split(b"\n", 1)[0][:4096].decode("utf-8", "replace"))
    return _is_header(first) or _default_fields(first) is not None


def _split(line: str) -> tuple[str, list[str]]:
    """The separator of a first line, and its words; names of fields as AWS documents them."""
    separator, words = split_header(line.rstrip("\r"))
    return separator, [_FIELDS.get(word.lower().replace("-", "").replace("_", ""), word) for word in words]


def _is_header(words: list[str]) -> bool:
    return _NEEDED.issubset(words) and bool(_KNOWN_ONLY_HERE.intersection(words))


def _default_fields(words: list[str]) -> list[str] | None:
    """The fields of a line without a header, where it is a default one."""
    before = words[: -len(DEFAULT_FIELDS)]
    rest = words[len(before) :]
    is_default = len(rest) == len(DEFAULT_FIELDS) and rest[0] == "2" and rest[-1] in ("OK", "NODATA", "SKIPDATA")
    exported = len(before) <= len(_CLOUDWATCH) and (not before or _EXPORT_TIME.fullmatch(before[0]) is not None)
    return [*_CLOUDWATCH[: len(before)], *DEFAULT_FIELDS] if is_default and exported else None


class VpcFlowSensor:
    """Flows of one VPC flow log file."""

    format = "vpcflow"

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._tally = ExportTally()
        self._first_line = ""

    @property
    def records(self) -> int:
        """How many of the exporter's records have been read so far; one each way makes a flow."""
        return self._tally.records

    def batches(self) -> Iterator[FlowBatch]:
        """All flows.  Raises SourceError where the first line is neither a header nor a default line."""
        self._tally = ExportTally()
        with open_source(Path(self.path)) as source:
            yield from flows_of(self._records(source), self._tally, self.format)

    def accounts(self) -> list[SourceAccount]:
        """What the file gave; complete once `batches` is exhausted."""
        return [self._tally.account(self.path, self.format)]

    def _records(self, source: BinaryIO) -> Iterator[pl.DataFrame]:
        layout: tuple[str, list[str]] | None = None
        for block in blocks(Path(self.path), source, self._tally.skipped):
            if layout is None:
                layout = self._layout(block)
            yield self._read(block, *layout)
        if layout is None:
            raise SourceError(f"{self.path}:1: the file is empty; {EXPECTED}")

    def _layout(self, block: bytes) -> tuple[str, list[str]]:
        """The separator and the fields, of a header line or of a default one."""
        line = block.split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
        separator, first = _split(line)
        if not _is_header(first):
            fields = _default_fields(first)
            if fields is None:
                raise SourceError(f"{self.path}:1: {' '.join(first)[:80]!r} is not a flow log line; {EXPECTED}")
            return separator, fields
        self._first_line = line
        for side, names in (("source", _SOURCES), ("destination", _DESTINATIONS)):
            if not set(names).intersection(first):
                raise SourceError(f"{self.path}:1: the header names no {side} address; expected {' or '.join(names)}")
        return separator, first

    def _read(self, block: bytes, separator: str, fields: list[str]) -> pl.DataFrame:
        skipped = self._tally.skipped
        lines = lines_of(block)
        lines = lines.filter((lines != self._first_line) & (lines != " ".join(fields)))
        table, bad = split_lines(lines, separator, fields)
        if bad:
            skipped["line with another number of fields"] += bad
        table = self._with_data(table)
        return sound(_records_of(table), skipped)

    def _with_data(self, table: pl.DataFrame) -> pl.DataFrame:
        """Without the lines that say that nothing was logged."""
        if "log-status" not in table.columns:
            return table
        counts = table.filter(pl.col("log-status").is_in(["NODATA", "SKIPDATA"]))["log-status"].value_counts()
        for status, count in counts.iter_rows():
            self._tally.skipped[str(status)] += count
        return table.filter(~pl.col("log-status").is_in(["NODATA", "SKIPDATA"]))


def _records_of(table: pl.DataFrame) -> pl.DataFrame:
    def number(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.Int64, strict=False) if name in table.columns else pl.lit(None, dtype=pl.Int64)

    def text(name: str) -> pl.Expr:
        return pl.col(name) if name in table.columns else pl.lit(None, dtype=pl.String)

    flags = number("tcp-flags")
    records = table.select(
        start=number("start").clip(-1, 1 << 34) * 1_000_000,
        end=number("end").clip(-1, 1 << 34) * 1_000_000,
        protocol=number("protocol"),
        source=pl.coalesce(_address(name, table) for name in _SOURCES),
        source_port=number("srcport").fill_null(0),
        destination=pl.coalesce(_address(name, table) for name in _DESTINATIONS),
        destination_port=number("dstport").fill_null(0),
        bytes=number("bytes") if "bytes" in table.columns else pl.lit(0),
        packets=number("packets") if "packets" in table.columns else pl.lit(0),
        tcp_flags=flags & 0xFF,
        forward=pl.when((flags & SYN) > 0).then((flags & ACK) == 0),
        denied=text("action") == "REJECT",
        observer=text("interface-id"),
    ).with_columns(
        canonical_addresses_of("source"),
        canonical_addresses_of("destination"),
    )
    return as_records({name: records[name] for name in records.columns})


def _address(name: str, table: pl.DataFrame) -> pl.Expr:
    if name not in table.columns:
        return pl.lit(None, dtype=pl.String)
    return pl.when(pl.col(name) != "-").then(name)


def canonical_addresses_of(name: str) -> pl.Expr:
    """The column's addresses in their one text; null where the text is none."""
    return pl.col(name).map_batches(canonical_addresses, return_dtype=pl.String)
