"""The metering process (RFC 7011): batches of packets in, FlowBatches out, open flows carried in between."""

from __future__ import annotations

from collections import Counter

import polars as pl

from netpersona.adapters.sensors.packets.assemble import FlowTable
from netpersona.adapters.sensors.packets.conversation import Conversations
from netpersona.adapters.sensors.packets.dissect import dissect
from netpersona.adapters.sensors.packets.packets import Packets
from netpersona.adapters.sensors.packets.rows import flow_rows, transaction_rows
from netpersona.flow.table import FlowBatch, batch

ROWS = 500_000  # packets that are worked on at once


class Meter:
    """Turns packets into flows and transactions; `sensor` is the label that the rows carry.

    A flow is reported once, when it has ended or at `finish`; a transaction when it is answered, or with its flow.
    """

    def __init__(self, sensor: str) -> None:
        self._sensor = sensor
        self._table = FlowTable()
        self._conversations = Conversations()

    def add(self, packets: Packets, skipped: Counter[str]) -> FlowBatch:
        """What is complete after these packets; `skipped` counts go into the batch with those of the packets."""
        headers = dissect(packets, skipped)
        assembled = self._table.add(headers, skipped)
        heard = self._conversations.hear(headers, assembled, skipped)
        ended = {name: column[assembled.ended] for name, column in assembled.flows.items()}
        closed, left = self._conversations.close(ended["uid"])
        said = transaction_rows([*heard, *left], self._sensor, None)
        rows = flow_rows(ended, closed, self._sensor, None)
        return batch(rows, said, dict(skipped), self._conversations.banners.rows())

    def finish(self) -> FlowBatch:
        """The flows that are still open, as they stand."""
        flows = self._table.finish()
        closed, left = self._conversations.close(flows["uid"])
        rows: pl.DataFrame = flow_rows(flows, closed, self._sensor, None)
        return batch(rows, transaction_rows(left, self._sensor, None))
