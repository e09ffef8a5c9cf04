"""Captures (pcap, pcapng, also compressed) as a sensor: flows, DNS questions, TLS hellos and HTTP requests.

Our own reader, since one that makes a Python object per packet was measured to be too slow: dpkt 1.9.8 needs four
times as long for the table of flows alone as this sensor for all it says (33 against 8 times the bare walk over the
records, bench/packets.py), and tshark eight times as long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from netpersona.adapters.sensors.account import SourceAccount, Tally
from netpersona.adapters.sensors.packets.capture_file import is_capture, read_capture
from netpersona.adapters.sensors.packets.meter import ROWS, Meter
from netpersona.adapters.sensors.source import damage, open_source
from netpersona.errors import SourceError
from netpersona.flow.table import FlowBatch, batch


def looks_like(head: bytes) -> bool:
    """Whether a source that begins so, once decompressed, is a capture."""
    return is_capture(head)


class PcapSensor:
    """Reads one capture file."""

    format = "pcap"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tally = Tally(str(path), self.format)

    @property
    def path(self) -> str:
        """The file."""
        return str(self._path)

    def batches(self) -> Iterator[FlowBatch]:
        """Its flows and transactions; flows still open at the end come last.  Raises SourceError."""
        self._tally = Tally(self.path, self.format)
        for one in self._metered():
            first, last = one.flows["start"].min(), one.flows["start"].max()
            self._tally.use(one.flows.height, cast("int | None", first), cast("int | None", last))
            self._tally.skip(one.skipped)
            yield one

    def accounts(self) -> list[SourceAccount]:
        """What was read of the file, once `batches` is exhausted."""
        return [self._tally.account()]

    def _metered(self) -> Iterator[FlowBatch]:
        meter = Meter(self.format)
        skipped: Counter[str] = Counter()
        with open_source(self._path) as stream:
            try:
                for block in read_capture(stream, self.path, skipped):
                    for packets in block.parts(ROWS):
                        yield meter.add(packets, skipped)
                        skipped.clear()
                if damage(stream):
                    skipped["compressed data damaged or cut short"] += 1
            except OSError as error:
                raise SourceError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        last = meter.finish()
        yield batch(last.flows, last.transactions, dict(skipped))
