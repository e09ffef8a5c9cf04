"""Suricata's EVE file as a sensor.

It is read twice: first what was said (dns, tls, http, alert), then the flows, which by then are known by name.
Where it has no flow events, but netflow events, those are read instead; where it has both, they tell the same.
An event whose flow_id has no flow event makes a flow of its own, without counters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from netpersona.adapters.sensors.account import SourceAccount, Tally
from netpersona.adapters.sensors.mentions import Mentions
from netpersona.adapters.sensors.source import blocks, head, open_source
from netpersona.adapters.sensors.suricata_events import TRANSACTIONS, decode, looks_like
from netpersona.adapters.sensors.suricata_flows import flows, flows_of
from netpersona.adapters.sensors.suricata_netflows import Pairing
from netpersona.adapters.sensors.suricata_shape import dns_messages, paired, said
from netpersona.errors import SourceError
from netpersona.flow.table import FlowBatch, batch

__all__ = ["SuricataSensor", "looks_like"]


class SuricataSensor:
    """One EVE file.  Events that name no host get the sensor's name `suricata`."""

    format = "suricata"

    def __init__(self, path: Path) -> None:
        self._file = path
        self._tally = Tally(str(path), self.format)
        self._types: Counter[str] = Counter()

    @property
    def path(self) -> str:
        """The file."""
        return str(self._file)

    def batches(self) -> Iterator[FlowBatch]:
        """Transactions, then flows.  Raises SourceError for a file that is no EVE file."""
        self._tally = Tally(self.path, self.format)
        self._types = Counter()
        start = head(self._file)
        if not start.strip():
            return
        if not looks_like(start):
            shown = start.lstrip()[:60]
            raise SourceError(f"{self._file}:1: {shown!r} begins no EVE file; expected JSON objects with 'event_type'")
        known = Mentions()
        yield from self._said(known)
        yield from self._happened(known)
        if self._types["netflow"] and not self._types["flow"]:
            yield from self._exported(known)
        for own in known.flows():
            yield batch(flows=own)

    def accounts(self) -> list[SourceAccount]:
        """What was read, once `batches` is exhausted: flow events and those that speak of flows."""
        account = self._tally.account()
        if account.flows or account.skipped or not self._types:
            return [account]
        held = ", ".join(f"{count:,} {name[:20]}" for name, count in (+self._types).most_common(3))
        return [replace(account, notes=(f"no event of it speaks of flows: {held}; Suricata's eve-log needs 'flow'",))]

    def _said(self, known: Mentions) -> Iterator[FlowBatch]:
        skipped: dict[str, int] = {}
        waiting: pl.DataFrame | None = None
        for lines in self._lines(skipped, of_flows=False):
            events = decode(lines, skipped)
            self._types.update(event.event_type for event in events)
            rows, mentioned = said(events, self.format, skipped)
            messages = dns_messages(events, self.format, skipped)
            self._use(rows, len([event for event in events if event.event_type in TRANSACTIONS]))
            self._use(messages, 0)
            known.add(_complete(mentioned))
            known.add(_complete(messages))
            # An answer may stand in the next block: a question waits for it there, but no longer.
            messages = messages.with_columns(waited=pl.lit(value=False))
            questions = paired(messages if waiting is None else pl.concat([waiting, messages]))
            ready = questions.filter(pl.col("answered") | pl.col("waited"))
            waiting = questions.filter(~(pl.col("answered") | pl.col("waited"))).with_columns(waited=pl.lit(value=True))
            yield batch(transactions=pl.concat([rows, ready], how="diagonal"), skipped=self._told(skipped))
        if waiting is not None and waiting.height:
            yield batch(transactions=waiting)
        if skipped:
            yield batch(skipped=self._told(skipped))

    def _happened(self, known: Mentions) -> Iterator[FlowBatch]:
        skipped: dict[str, int] = {}
        for lines in self._lines({}, of_flows=True):
            self._types["flow"] += len(lines)
            yield self._flows(flows(lines, self.format, skipped), known, skipped)

    def _exported(self, known: Mentions) -> Iterator[FlowBatch]:
        pairing, skipped = Pairing(), dict[str, int]()
        for lines in self._lines({}, of_flows=False):
            events = [event for event in decode(lines, {}) if event.event_type == "netflow"]
            yield self._flows(flows_of(pairing.add(events), self.format, skipped), known, skipped)
        yield self._flows(flows_of([*pairing.finish()], self.format, skipped), known, skipped)

    def _flows(self, table: pl.DataFrame, known: Mentions, skipped: dict[str, int]) -> FlowBatch:
        self._use(table, table.height)
        return batch(flows=known.tell(table), skipped=self._told(skipped))

    def _lines(self, skipped: dict[str, int], *, of_flows: bool) -> Iterator[list[bytes]]:
        """The lines of flow events, or all the others, block by block."""
        with open_source(self._file) as stream:
            for block in blocks(self._file, stream, skipped):
                yield [line for line in block.split(b"\n") if _is_flow(line) is of_flows and line.strip()]

    def _told(self, skipped: dict[str, int]) -> dict[str, int]:
        """What was skipped since last asked; it is added to the account."""
        since = dict(skipped)
        skipped.clear()
        self._tally.skip(since)
        return since

    def _use(self, table: pl.DataFrame, records: int) -> None:
        first, last = table.select(pl.col("start").min().alias("first"), pl.col("start").max().alias("last")).row(0)
        self._tally.use(records, first, last)


def _is_flow(line: bytes) -> bool:
    """Whether this is a flow event, without decoding it; the writers put one space after a colon, or none."""
    return b'"event_type":"flow"' in line or b'"event_type": "flow"' in line


def _complete(mentioned: pl.DataFrame) -> pl.DataFrame:
    """Mentions with every column that they need; what Suricata does not say is null."""
    types = {"source": pl.String, "server_name": pl.String, "tls_fingerprint": pl.String, "auth_success": pl.Boolean}
    absent = types | {"payload_orig": pl.Int64, "payload_resp": pl.Int64}
    return mentioned.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in absent.items() if name not in mentioned.columns
    )
