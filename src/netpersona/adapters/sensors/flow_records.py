"""What a flow exporter says, before it is a flow: one row for each unidirectional record, in columns.

NetFlow, nfdump files and VPC flow logs all describe one direction of a conversation, for one stretch of
time; `biflow` makes flows of them.  A record that answers for both directions (RFC 5103, nfdump's
"out" counters) becomes two rows that know who asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from netpersona.flow.account import SourceAccount
from netpersona.flow.table import FlowBatch, batch

BATCH_ROWS = 250_000

RECORD_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "start": pl.Int64,  # µs since the epoch
    "end": pl.Int64,  # µs since the epoch
    "protocol": pl.UInt8,  # IANA number
    "source": pl.String,  # canonical address text: who sent this
    "source_port": pl.UInt16,
    "destination": pl.String,
    "destination_port": pl.UInt16,
    "bytes": pl.Int64,
    "packets": pl.Int64,
    "tcp_flags": pl.UInt8,  # of all packets, or-ed; null: not said
    "forward": pl.Boolean,  # sent by the originator (true), an answer (false); null: not said
    "denied": pl.Boolean,  # a firewall dropped it; null: not said
    "observer": pl.String,  # records of different observers never pair; null: one observer
}

# IANA keywords (protocol-numbers), lower case; icmp6 as the flow table spells it.
TRANSPORTS = {
    0: "hopopt", 1: "icmp", 2: "igmp", 4: "ipv4", 6: "tcp", 8: "egp", 17: "udp", 33: "dccp", 41: "ipv6", 46: "rsvp",
    47: "gre", 50: "esp", 51: "ah", 58: "icmp6", 88: "eigrp", 89: "ospf", 103: "pim", 108: "ipcomp", 112: "vrrp",
    115: "l2tp", 132: "sctp", 136: "udplite", 137: "mpls-in-ip",
}  # fmt: skip
WITH_PORTS = (6, 17, 33, 132, 136)

_LATEST = 1 << 53  # µs: the year 2255
_MOST = 1 << 48  # bytes or packets in one record: 281 TB
_V4_MAPPED = 0xFFFF


def no_records() -> pl.DataFrame:
    """An empty record table."""
    return pl.DataFrame(schema=RECORD_SCHEMA)


def as_records(columns: Mapping[str, Any]) -> pl.DataFrame:
    """A record table of these columns; absent ones are null."""
    frame = pl.DataFrame(columns)
    return frame.select(
        pl.col(name).cast(dtype, strict=False) if name in frame.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in RECORD_SCHEMA.items()
    )


def sound(records: pl.DataFrame, skipped: Counter[str]) -> pl.DataFrame:
    """The records that can be true; the others are counted in `skipped` by reason.

    A record that ends before it starts (clock steps inside exporters) is kept, as an instant.
    """
    checks = {
        "record without addresses": pl.col("source").is_null() | pl.col("destination").is_null(),
        "record without a protocol": pl.col("protocol").is_null(),
        "record without ports": pl.col("protocol").is_in(WITH_PORTS)
        & (pl.col("source_port").is_null() | pl.col("destination_port").is_null()),
        "impossible time": ~pl.col("start").is_between(0, _LATEST) | ~pl.col("end").is_between(0, _LATEST),
        "impossible counter": ~pl.col("bytes").is_between(0, _MOST) | ~pl.col("packets").is_between(0, _MOST),
    }
    for reason, bad in checks.items():
        keep = ~bad.fill_null(value=True)
        kept = records.filter(keep)
        if kept.height < records.height:
            skipped[reason] += records.height - kept.height
            records = kept
    return records.with_columns(
        pl.max_horizontal("start", "end").alias("end"),
        pl.when((pl.col("protocol") == 6) & (pl.col("tcp_flags") > 0)).then("tcp_flags").alias("tcp_flags"),
        *(
            pl.when(pl.col("protocol").is_in(WITH_PORTS)).then(name).otherwise(0).cast(pl.UInt16).alias(name)
            for name in ("source_port", "destination_port")
        ),
    )


def v4_text(addresses: npt.NDArray[np.uint32]) -> pl.Series:
    """Dotted text of IPv4 addresses given as numbers."""
    number = pl.col("a")
    octets = [(number // (1 << shift) % 256).cast(pl.String) for shift in (24, 16, 8, 0)]
    known, place = np.unique(addresses.astype(np.uint32), return_inverse=True)
    texts = pl.DataFrame({"a": known}).select(pl.concat_str(octets, separator=".").alias("address"))["address"]
    return texts.gather(place)


def v6_text(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> pl.Series:
    """Canonical text (RFC 5952) of IPv6 addresses given as two halves; IPv4-mapped ones become IPv4."""
    frame = pl.DataFrame({"high": high.astype(np.uint64), "low": low.astype(np.uint64)})
    known = frame.unique()
    texts = [_v6(*halves) for halves in known.iter_rows()]
    named = known.with_columns(pl.Series("address", texts, dtype=pl.String))
    return frame.join(named, on=["high", "low"], how="left", maintain_order="left")["address"]


def _v6(high: int, low: int) -> str:
    address = IPv6Address(high << 64 | low)
    return str(address.ipv4_mapped or address)


@dataclass(slots=True)
class ExportTally:
    """What one flow export has given so far; `records` are the exporter's, before they were paired."""

    records: int = 0
    flows: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    first: int | None = None  # start of the earliest flow, µs
    last: int | None = None  # and of the latest
    notes: list[str] = field(default_factory=list)  # what to know of the source, once it was read to its end
    _told: Counter[str] = field(default_factory=Counter)

    def batch(self, flows: pl.DataFrame) -> FlowBatch:
        """The flows as a batch, with what was skipped since the batch before."""
        if flows.height:
            first, last = cast("int", flows["start"].min()), cast("int", flows["start"].max())
            self.first = first if self.first is None else min(first, self.first)
            self.last = last if self.last is None else max(last, self.last)
            self.flows += flows.height
        news = self.skipped - self._told
        self._told = self.skipped.copy()
        return batch(flows=flows, skipped=dict(sorted(news.items())))

    def account(self, path: str, form: str) -> SourceAccount:
        """The account of a source that was read to its end."""
        skipped = dict(sorted(self.skipped.items()))
        return SourceAccount(path, form, self.flows, skipped, self.first, self.last, tuple(self.notes))
