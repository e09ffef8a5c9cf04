"""Headers into flows: who opened each, where one ends and the next with the same ends begins, sums each way.

A flow's key is the unordered pair of endpoints with the protocol and the interface it was seen on.  Its originator
sent the first packet, but for a SYN-ACK, whose sender answered.  The next packet of the key opens a new flow after a
silence (tcp 300 s, all others 60 s), or where it is a bare SYN and a FIN or RST was seen since the flow began.

    rows      one for each open flow carried over, then one for each packet, in the same columns
    sorted    by key, then carried row first, then time, then place in the batch
    flows     runs of sorted rows, cut by key, silence and SYN; summed by reduceat

A flow that may still go on is carried to the next batch as one row, so the result depends on how the packets were
cut into batches only where they are out of order across a cut, or where too many flows are open.

A flow may be told in parts: `begin_part` sets the sums of all open flows to nothing, and what comes then is the next
part.  What says in which state a flow is (its flags, and with them whether a side sent anything) goes on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netpersona.adapters.sensors.packets.dissect import ACK, FIN, NO_PORT, RST, SYN, TCP, Headers
from netpersona.adapters.sensors.packets.fingerprint import WIDTH, syn_features
from netpersona.adapters.sensors.packets.open_flows import (
    COLUMNS,
    FIRSTS,
    KEY,
    NOT_YET,
    SUMS,
    Columns,
    OpenFlows,
    no_rows,
)
from netpersona.adapters.sensors.packets.packets import Flags, Ints, Words

IDLE_TCP, IDLE = 300_000_000, 60_000_000  # µs
MOST_OPEN = 500_000  # flows that are carried from one batch to the next but one
SENT, SPOKE = 256, 512  # beside the TCP flags of a side: it sent a packet, one with a payload

_CLOSED_EARLY = "flow closed early: too many are open"


@dataclass(frozen=True, slots=True)
class Assembled:
    """A batch of packets put into flows.

    `packet` are rows of the batch's Headers in the order of `flow`, then of time; `flow` is each one's row in
    `flows`; `from_opener` says that its sender opened that flow.  `flows` are the flows of these packets and those
    of before that have ended now, in the columns of `COLUMNS` and `syn`: endpoint a is the lesser one, `opener` is
    0 for a and 1 for b.  `ended` are those that nothing can join any more, `touched` those that have packets here.
    """

    packet: Ints
    flow: Ints
    from_opener: Flags
    flows: Columns
    ended: Flags
    touched: Flags


class FlowTable:
    """The open flows of one sensor, `most` at most (MOST_OPEN where not given); of more, some end, and are counted.

    That is a sixteenth more than must be, so that not every batch has to choose.  One interface that opens too many
    ends its own first.
    """

    def __init__(self, most: int | None = None) -> None:
        self._open = OpenFlows()
        self._most = MOST_OPEN if most is None else most

    def __len__(self) -> int:
        """How many flows are open."""
        return len(self._open)

    def add(self, headers: Headers, skipped: Counter[str], until: int = 0) -> Assembled:
        """Put a batch of packets into flows; `until` (µs) is a time up to which all packets were given."""
        packets = _rows(headers)
        now = max(int(headers.time.max()) if len(headers) else 0, until)
        taken, cut = self._take(packets, now, skipped)
        carried = len(taken["start"])
        rows = {name: np.concatenate([taken[name], packets[name]]) for name in COLUMNS}
        order = _sorted(rows, carried)
        begins = _begins({name: rows[name][order] for name in (*KEY, "last", "flags_a", "flags_b")}, order < carried)
        flows = _summed(rows, order, begins)
        flows["syn"] = _syn(headers, rows, order, begins, taken["syn"])
        of_row = np.cumsum(begins) - 1
        seen = np.flatnonzero(order >= carried)
        packet, flow = order[seen] - carried, of_row[seen]
        sender = np.where(packets["packets_a"][packet] == 1, 0, 1)
        touched = np.zeros(len(flows["uid"]), bool)
        touched[flow] = True
        ended = self._keep_open(flows, now, cut)
        return Assembled(packet, flow, sender == flows["opener"][flow], flows, ended, touched)

    def finish(self) -> Columns:
        """The flows that are still open, as they stand; none is open afterwards."""
        return self._open.take(self._open.rows())

    def begin_part(self) -> None:
        """From now on, sums and starts of the open flows are those of their next part."""
        for name in SUMS:
            self._open.column(name)[:] = 0
        self._open.column("start")[:] = NOT_YET
        self._open.column("part")[:] += 1

    def named(self, uids: Words) -> Columns:
        """The open flows of these uids, as they stand."""
        rows = self._open.rows()
        return self._open.at(rows[np.isin(self._open.column("uid")[rows], uids)])

    def _take(self, packets: Columns, now: int, skipped: Counter[str]) -> tuple[Columns, Words]:
        """Take out the open flows that this batch may join or ends; with the uids of those it ends for want of room.

        Ended are those that have been silent too long, and where too many are open, the ones silent longest.  The
        others are not looked at again, so a scan's thousands of open flows cost little.  A flow taken in vain, since
        its key's hash is that of another, does no harm.
        """
        table = self._open
        out = table.joined_by(np.unique(_mix(packets))) | table.silent(now, _idle(table.column("word")))
        excess = len(table) - int(out.sum()) - self._most
        ended: Words = np.zeros(0, np.uint64)
        if excess > 0:
            rest = table.rows()[~out[table.rows()]]
            cut = rest[_spared_least(table.at(rest, ("word", "last", "uid")), excess + self._most // 16)]
            ended = table.column("uid")[cut]
            out[cut] = True
            skipped[_CLOSED_EARLY] += len(cut)
        return table.take(np.flatnonzero(out)), ended

    def _keep_open(self, flows: Columns, now: int, cut: Words) -> Flags:
        """Keep the flows that may go on; which ones have ended."""
        last_of_key = np.ones(len(flows["uid"]), bool)
        same = [flows[name][:-1] == flows[name][1:] for name in KEY]
        last_of_key[:-1] = ~np.logical_and.reduce(same)
        alive = last_of_key & (now - flows["last"] <= _idle(flows["word"]))
        if len(cut):
            alive &= ~np.isin(flows["uid"], cut)
        kept = {name: column[alive] for name, column in flows.items()}
        self._open.put(kept, _mix(kept))
        return ~alive


def _spared_least(flows: Columns, count: int) -> Flags:
    """So many flows: those of interfaces that have more than their share of all first, and the ones silent longest."""
    _, tap, of_tap = np.unique(tap_of(flows["word"]), return_inverse=True, return_counts=True)
    greedy = of_tap[tap] > len(tap) / len(of_tap)
    order = flows["last"] - greedy * (1 << 60)
    limit = np.partition(order, count - 1)[count - 1]
    cut: Flags = order < limit
    ties = np.flatnonzero(order == limit)
    cut[ties[np.argsort(flows["uid"][ties])][: count - int(cut.sum())]] = True
    return cut


def _syn(headers: Headers, rows: Columns, order: Ints, begins: Flags, known: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Each flow's features of its originator's first SYN, carried over or read now; zeros where none was seen."""
    carried = len(known)
    start = np.flatnonzero(begins)
    first = order[start]
    syn = np.zeros((len(first), WIDTH), np.uint16)
    old = first < carried
    syn[old] = known[first[old]]
    flags = rows["flags_a"] | rows["flags_b"]
    bare = (order >= carried) & (flags[order] & (SYN | ACK) == SYN) & (protocol_of(rows["word"][order]) == TCP)
    at = np.flatnonzero(bare)
    flow = np.searchsorted(start, at, side="right") - 1
    sender = np.where(rows["packets_a"][order[at]] == 1, 0, 1)
    good = (sender == rows["opener"][first[flow]]) & (syn[flow, 0] == 0)
    at, flow = at[good], flow[good]
    earliest = np.diff(flow, prepend=-1) > 0
    syn[flow[earliest]] = syn_features(headers, order[at[earliest]] - carried)
    return syn


def _rows(headers: Headers) -> Columns:
    """Each packet as a flow of one packet."""
    src, dst = (headers.src_hi, headers.src_lo, headers.src_port), (headers.dst_hi, headers.dst_lo, headers.dst_port)
    swap = _less(dst, src)
    sent = (~swap).astype(np.int64)  # 1: by a
    answer = (headers.protocol == TCP) & (headers.flags & (SYN | ACK) == SYN | ACK) & (swap | _less(src, dst))
    ports = np.where(swap, headers.dst_port, headers.src_port), np.where(swap, headers.src_port, headers.dst_port)
    rows: Columns = {
        "a_hi": np.where(swap, headers.dst_hi, headers.src_hi),
        "a_lo": np.where(swap, headers.dst_lo, headers.src_lo),
        "b_hi": np.where(swap, headers.src_hi, headers.dst_hi),
        "b_lo": np.where(swap, headers.src_lo, headers.dst_lo),
        "word": headers.tap << 42 | headers.protocol << 34 | ports[0] << 17 | ports[1],
        "start": headers.time,
        "last": headers.time,
        "packets_a": sent,
        "packets_b": 1 - sent,
        "opener": swap.astype(np.int64) ^ answer,
        "mac_a": np.where(swap, headers.dst_mac, headers.src_mac),
        "mac_b": np.where(swap, headers.src_mac, headers.dst_mac),
        "vlan": headers.vlan,
        "part": np.zeros(len(headers), np.int64),
        "uid": np.zeros(len(headers), np.uint64),
    }
    flags = headers.flags | SENT | np.where(headers.payload_length > 0, SPOKE, 0)
    for name, values in (("bytes", headers.length), ("payload", headers.payload_length), ("flags", flags)):
        rows[f"{name}_a"], rows[f"{name}_b"] = values * sent, values * (1 - sent)
    return rows


def _less(left: tuple[Words, Words, Ints], right: tuple[Words, Words, Ints]) -> Flags:
    """Which left endpoints come before the right ones: by address, then port."""
    high, low, port = ((one < other, one == other) for one, other in zip(left, right, strict=True))
    less: Flags = high[0] | high[1] & (low[0] | low[1] & port[0])
    return less


def _sorted(rows: Columns, carried: int) -> Ints:
    """The order by key, carried rows first, then time, then place.

    A key is hashed into the high bits of one number with the row's rank in the low ones, since one such sort costs
    a fifth of a sort by five columns.  Two keys with one hash would be interleaved; then all columns are sorted.
    """
    count = len(rows["start"])
    rank = np.arange(count)
    time = rows["last"][carried:]
    if len(time) and (np.diff(time) < 0).any():
        rank[carried:] = carried + np.argsort(time, kind="stable")
    bits = np.uint64(max(count - 1, 1).bit_length())
    mixed = _mix(rows)[rank] >> bits << bits | np.arange(count, dtype=np.uint64)
    order: Ints = rank[(np.sort(mixed) & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)]
    shorts = np.sort(mixed) >> bits
    together = shorts[1:] == shorts[:-1]
    differ = np.logical_or.reduce([rows[name][order][1:] != rows[name][order][:-1] for name in KEY])
    if not (together & differ).any():
        return order
    place = np.empty(count, np.int64)
    place[rank] = np.arange(count)
    return np.lexsort((place, *(rows[name] for name in KEY)))


def _mix(rows: Columns) -> Words:
    """A 64-bit number for each key (splitmix64's finaliser over its columns)."""
    mixed = np.zeros(len(rows["word"]), np.uint64)
    for name in KEY:
        mixed = _stirred(mixed ^ rows[name].astype(np.uint64))
    return mixed * np.uint64(0x94D049BB133111EB)


def _stirred(words: Words) -> Words:
    words = words * np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    stirred: Words = words ^ words >> np.uint64(27)
    return stirred


def _begins(rows: Columns, carried: Flags) -> Flags:
    """Which sorted rows begin a flow."""
    count = len(rows["last"])
    if not count:
        return np.zeros(0, bool)
    new_key = np.ones(count, bool)
    new_key[1:] = np.logical_or.reduce([rows[name][1:] != rows[name][:-1] for name in KEY])
    key_start = np.maximum.accumulate(np.where(new_key, np.arange(count), 0))
    # a packet that is older than its carried flow's last one counts as simultaneous with that
    last = np.where(carried[key_start], np.maximum(rows["last"], rows["last"][key_start]), rows["last"])
    begins = new_key.copy()
    begins[1:] |= np.diff(last) > _idle(rows["word"][1:])
    return begins | _reopened(rows, carried, begins)


def _reopened(rows: Columns, carried: Flags, begins: Flags) -> Flags:
    """Which rows are a bare SYN after a FIN or RST of the same flow.

    It is enough to look back to the SYN before it: had the flow been closed before that one, that one would have
    begun a new flow.
    """
    tcp = protocol_of(rows["word"]) == TCP
    flags = np.where(tcp, rows["flags_a"] | rows["flags_b"], 0)
    syn = ~carried & (flags & (SYN | ACK) == SYN)
    closes = np.concatenate([[0], np.cumsum(flags & (FIN | RST) != 0)])  # before each row
    marks = np.maximum.accumulate(np.where(syn | begins, np.arange(len(syn)), 0))
    since = np.concatenate([[0], marks[:-1]])
    reopened: Flags = syn & ~begins & (closes[:-1] > closes[since])
    return reopened


def _summed(rows: Columns, order: Ints, begins: Flags) -> Columns:
    """One row for each run of sorted rows."""
    start = np.flatnonzero(begins)
    first = order[start]
    flows: Columns = {name: rows[name][first] for name in (*KEY, *FIRSTS)}
    if not len(start):
        return no_rows()
    flows["start"] = np.minimum.reduceat(rows["start"][order], start)
    flows["last"] = np.maximum.reduceat(rows["last"][order], start)
    for name in SUMS:
        flows[name] = np.add.reduceat(rows[name][order], start)
    flows["part"] = np.maximum.reduceat(rows["part"][order], start)
    for name in ("flags_a", "flags_b"):
        flows[name] = np.bitwise_or.reduceat(rows[name][order], start)
    named = _stirred(_mix(flows) ^ flows["start"].astype(np.uint64))
    flows["uid"] = np.where(flows["uid"] == 0, np.maximum(named, np.uint64(1)), flows["uid"])
    return flows


def _idle(word: Ints) -> Ints:
    """The silence that ends a flow of this key, µs."""
    return np.where(protocol_of(word) == TCP, IDLE_TCP, IDLE)


def protocol_of(word: Ints) -> Ints:
    """The IANA number of the protocol."""
    return word >> 34 & 0xFF


def tap_of(word: Ints) -> Ints:
    """The number of the interface."""
    return word >> 42


def ports_of(word: Ints) -> tuple[Ints, Ints]:
    """The ports of endpoints a and b; NO_PORT where there is none."""
    return word >> 17 & (2 * NO_PORT - 1), word & (2 * NO_PORT - 1)
