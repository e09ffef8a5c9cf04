"""Flows and what was said in them, from numbers into the words of FLOW_SCHEMA and TRANSACTION_SCHEMA."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from netpersona.adapters.sensors.packets.addresses import address_text, mac_text
from netpersona.adapters.sensors.packets.assemble import SENT, SPOKE, ports_of, protocol_of, tap_of
from netpersona.adapters.sensors.packets.conn_state import conn_states
from netpersona.adapters.sensors.packets.dialogue import Dialogue, Said
from netpersona.adapters.sensors.packets.dissect import NO_PORT
from netpersona.adapters.sensors.packets.fingerprint import signatures
from netpersona.adapters.sensors.packets.open_flows import Columns
from netpersona.adapters.sensors.packets.packets import Flags, Ints
from netpersona.flow.table import no_transactions

_TRANSPORTS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 58: "icmp6", 132: "sctp"}
_PAIRED = ("bytes", "packets", "payload", "flags", "mac")


def flow_rows(
    flows: Columns, known: Sequence[tuple[int, Dialogue]], sensor: str, taps: Mapping[int, str] | None
) -> pl.DataFrame:
    """One row for each flow; `known` are dialogues, each with its place in `flows`.

    `taps` names the interfaces by their number; with it, a flow is told in parts.
    """
    by_a = flows["opener"] == 0
    orig = {name: np.where(by_a, flows[f"{name}_a"], flows[f"{name}_b"]) for name in _PAIRED}
    resp = {name: np.where(by_a, flows[f"{name}_b"], flows[f"{name}_a"]) for name in _PAIRED}
    protocol = protocol_of(flows["word"])
    frame = pl.DataFrame(
        {
            **_endpoints(flows, by_a),
            "duration": flows["last"] - flows["start"],
            "start": flows["start"],
            **{f"{name}_orig": orig[name] for name in ("bytes", "packets", "payload")},
            **{f"{name}_resp": resp[name] for name in ("bytes", "packets", "payload")},
            "state": conn_states(
                protocol, orig["flags"], resp["flags"], resp["flags"] & SENT, (orig["flags"] | resp["flags"]) & SPOKE
            ),
            "tcp_fingerprint": signatures(flows["syn"]),
            "originator_mac": mac_text(orig["mac"]),
            "responder_mac": mac_text(resp["mac"]),
            "vlan": _without(flows["vlan"], -1),
            "part": pl.Series(flows["part"]) if taps else None,
            "sensor": pl.repeat(sensor, len(by_a), dtype=pl.String, eager=True),
            "source": _sources(flows["word"], taps),
        }
    )
    return _with_dialogues(frame, known) if known else frame


def _with_dialogues(frame: pl.DataFrame, known: Sequence[tuple[int, Dialogue]]) -> pl.DataFrame:
    """The flows, and what was found in the dialogues of some."""
    said = pl.DataFrame(
        {
            "row": [place for place, _ in known],
            "application": [dialogue.application for _, dialogue in known],
            "server_name": [dialogue.server_name for _, dialogue in known],
            "tls_fingerprint": [dialogue.fingerprint for _, dialogue in known],
        },
        schema={"row": pl.UInt32, "application": pl.String, "server_name": pl.String, "tls_fingerprint": pl.String},
    )
    return frame.with_row_index("row").join(said, on="row", how="left", maintain_order="left").drop("row")


def transaction_rows(said: Sequence[Said], sensor: str, taps: Mapping[int, str] | None) -> pl.DataFrame:
    """One row for each transaction."""
    if not said:
        return no_transactions()
    words, *addresses, openers, uids = zip(*(one.flow for one in said), strict=True)
    flows: Columns = {
        "word": np.array(words, np.int64),
        **{
            name: np.array(values, np.uint64)
            for name, values in zip(("a_hi", "a_lo", "b_hi", "b_lo"), addresses, strict=True)
        },
        "uid": np.array(uids, np.uint64),
    }
    by_opener = np.array([one.by_opener for one in said], bool)
    ends = _endpoints(flows, (np.array(openers, np.int64) == 0) == by_opener)
    return pl.DataFrame(
        {
            **ends,
            "start": pl.Series([one.start for one in said], dtype=pl.Int64),
            "kind": pl.Series([one.kind for one in said], dtype=pl.String),
            "name": pl.Series([one.name for one in said], dtype=pl.String),
            "detail": pl.Series([one.detail for one in said], dtype=pl.String),
            "status": pl.Series([one.status for one in said], dtype=pl.String),
            "answers": _lists([one.answers for one in said]),
            "ttl": pl.Series([one.ttl for one in said], dtype=pl.Int64),
            "agent": pl.Series([one.agent for one in said], dtype=pl.String),
            "sensor": pl.repeat(sensor, len(said), dtype=pl.String, eager=True),
            "source": _sources(flows["word"], taps),
        }
    )


def _endpoints(flows: Columns, by_a: Flags) -> dict[str, pl.Series]:
    """Who asked and who was asked, over what, under which uid; `by_a` says which rows endpoint a asked."""
    port_a, port_b = ports_of(flows["word"])
    return {
        "uid": pl.select(pl.format("P{}", pl.Series(flows["uid"]))).to_series(),
        "transport": _transports(protocol_of(flows["word"])),
        "originator": address_text(*(np.where(by_a, flows[f"a_{half}"], flows[f"b_{half}"]) for half in ("hi", "lo"))),
        "originator_port": _port(np.where(by_a, port_a, port_b)),
        "responder": address_text(*(np.where(by_a, flows[f"b_{half}"], flows[f"a_{half}"]) for half in ("hi", "lo"))),
        "responder_port": _port(np.where(by_a, port_b, port_a)),
    }


def _sources(word: Ints, taps: Mapping[int, str] | None) -> pl.Series:
    if not taps:
        return pl.repeat(None, len(word), dtype=pl.String, eager=True)
    return _named(tap_of(word), taps.get)


def _lists(values: Sequence[tuple[str, ...] | None]) -> pl.Series:
    """A column of lists; texts hold no line break.  A Series for each inner list would cost ten times as much."""
    joined = pl.Series([None if value is None else "\n".join(value) for value in values], dtype=pl.String)
    lists = joined.str.split("\n")
    return pl.select(pl.when(joined == "").then(pl.lit([], pl.List(pl.String))).otherwise(lists)).to_series()


def _port(port: Ints) -> pl.Series:
    return _without(port, NO_PORT).cast(pl.UInt16)


def _transports(protocol: Ints) -> pl.Series:
    return _named(protocol, lambda number: _TRANSPORTS.get(number, str(number)))


def _named(numbers: Ints, name: Callable[[int], str | None]) -> pl.Series:
    """The names of numbers of which there are few different ones."""
    distinct, which = np.unique(numbers, return_inverse=True)
    return pl.Series([name(number) for number in distinct.tolist()], dtype=pl.String).gather(which.reshape(-1))


def _without(numbers: Ints, none: int) -> pl.Series:
    """The numbers, null where they are that one."""
    series = pl.Series(numbers)
    return series.replace(none, None) if (numbers == none).any() else series
