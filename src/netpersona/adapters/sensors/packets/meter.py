"""The metering process (RFC 7011): batches of packets in, FlowBatches out, open flows carried in between."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from netpersona.adapters.sensors.packets.addresses import address_text, mac_text
from netpersona.adapters.sensors.packets.assemble import Columns, FlowTable, ports_of
from netpersona.adapters.sensors.packets.conn_state import conn_states
from netpersona.adapters.sensors.packets.conversation import Conversations, Heard
from netpersona.adapters.sensors.packets.dialogue import Dialogue
from netpersona.adapters.sensors.packets.dissect import NO_PORT, dissect
from netpersona.adapters.sensors.packets.fingerprint import signatures
from netpersona.adapters.sensors.packets.packets import Ints, Packets
from netpersona.flow.table import FlowBatch, batch

ROWS = 500_000  # packets that are worked on at once

_TRANSPORTS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 58: "icmp6", 132: "sctp"}
_NO_ENDPOINT = "packet cut short before its ports"


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
        said = pl.concat([self._transactions(assembled.flows, heard), self._transactions(ended, left)])
        return batch(self._flows(ended, closed), said, dict(skipped))

    def finish(self) -> FlowBatch:
        """The flows that are still open, as they stand."""
        flows = self._table.finish()
        closed, left = self._conversations.close(flows["uid"])
        return batch(self._flows(flows, closed), self._transactions(flows, left))

    def _flows(self, flows: Columns, closed: list[tuple[int, Dialogue]]) -> pl.DataFrame:
        by_a = flows["opener"] == 0
        orig = {name: np.where(by_a, flows[f"{name}_a"], flows[f"{name}_b"]) for name in _PAIRED}
        resp = {name: np.where(by_a, flows[f"{name}_b"], flows[f"{name}_a"]) for name in _PAIRED}
        protocol = flows["word"] >> 34
        known = pl.DataFrame(
            {
                "row": [place for place, _ in closed],
                "application": [dialogue.application for _, dialogue in closed],
                "server_name": [dialogue.server_name for _, dialogue in closed],
                "tls_fingerprint": [dialogue.fingerprint for _, dialogue in closed],
            },
            schema={"row": pl.UInt32, "application": pl.String, "server_name": pl.String, "tls_fingerprint": pl.String},
        )
        frame = pl.DataFrame(
            {
                **_endpoints(flows, by_a),
                "duration": flows["last"] - flows["start"],
                "start": flows["start"],
                **{f"{name}_orig": orig[name] for name in ("bytes", "packets", "payload")},
                **{f"{name}_resp": resp[name] for name in ("bytes", "packets", "payload")},
                "state": conn_states(
                    protocol, orig["flags"], resp["flags"], resp["packets"], orig["payload"] + resp["payload"]
                ),
                "tcp_fingerprint": signatures(flows["syn"]),
                "originator_mac": mac_text(orig["mac"]),
                "responder_mac": mac_text(resp["mac"]),
                "vlan": pl.Series(flows["vlan"]).replace(-1, None),
                "sensor": pl.repeat(self._sensor, len(by_a), dtype=pl.String, eager=True),
            }
        )
        return frame.with_row_index("row").join(known, on="row", how="left", maintain_order="left").drop("row")

    def _transactions(self, flows: Columns, heard: Heard) -> pl.DataFrame:
        said = [one for _, one in heard]
        rows = np.array([row for row, _ in heard], np.int64)
        by_opener = np.array([one.by_opener for one in said], bool)
        chosen = {name: column[rows] for name, column in flows.items() if name != "syn"}
        ends = _endpoints(chosen, (chosen["opener"] == 0) == by_opener)
        return pl.DataFrame(
            {
                **ends,
                "start": pl.Series([one.start for one in said], dtype=pl.Int64),
                "kind": pl.Series([one.kind for one in said], dtype=pl.String),
                "name": pl.Series([one.name for one in said], dtype=pl.String),
                "detail": pl.Series([one.detail for one in said], dtype=pl.String),
                "status": pl.Series([one.status for one in said], dtype=pl.String),
                "answers": pl.Series([one.answers for one in said], dtype=pl.List(pl.String)),
                "ttl": pl.Series([one.ttl for one in said], dtype=pl.Int64),
                "agent": pl.Series([one.agent for one in said], dtype=pl.String),
                "sensor": pl.repeat(self._sensor, len(said), dtype=pl.String, eager=True),
            }
        )


_PAIRED = ("bytes", "packets", "payload", "flags", "mac")


def _endpoints(flows: Columns, by_a: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> dict[str, pl.Series]:
    """Who asked and who was asked, over what, under which uid; `by_a` says which rows endpoint a asked."""
    port_a, port_b = ports_of(flows["word"])
    return {
        "uid": pl.select(pl.format("P{}", pl.Series(flows["uid"]))).to_series(),
        "transport": _transports(flows["word"] >> 34),
        "originator": address_text(*(np.where(by_a, flows[f"a_{half}"], flows[f"b_{half}"]) for half in ("hi", "lo"))),
        "originator_port": _port(np.where(by_a, port_a, port_b)),
        "responder": address_text(*(np.where(by_a, flows[f"b_{half}"], flows[f"a_{half}"]) for half in ("hi", "lo"))),
        "responder_port": _port(np.where(by_a, port_b, port_a)),
    }


def _port(port: Ints) -> pl.Series:
    return pl.Series(port).replace(NO_PORT, None).cast(pl.UInt16)


def _transports(protocol: Ints) -> pl.Series:
    return pl.Series(protocol).replace_strict(
        list(_TRANSPORTS), list(_TRANSPORTS.values()), default=pl.Series(protocol).cast(pl.String)
    )
