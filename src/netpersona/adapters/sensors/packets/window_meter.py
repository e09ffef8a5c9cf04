"""The metering process of a live sensor: what each window holds so far, told while it goes on.

**A flow is told in parts, one for each window in which it has packets; a report gives the parts that changed, whole.**
Who judges the open window keeps a table by (uid, part) and replaces rows in it.  The other way, rows of what was added
since the last report, was weighed and left: what judging counts does not add.  A flow that was unanswered a second ago
and is answered now is one flow less in one group and one more in another; its state, name and duration change too.
Rows that replace can be judged at any moment as they stand, a report that comes twice does no harm, and a window's
table in the end is what a reader of a capture would say.  The price: who judges holds the rows of the open window (as
many as it has flows, not packets), and reads those of a VM again when there is new evidence.

**Why parts.**  A window closes and is learned while flows go on.  Their later bytes belong to later windows, or a
whole night's upload on one connection would be the five minutes it began in.  `part` 0 is the flow; part n (it has the
flow's uid, ends, state so far and names, but the packets of its own window only) is not another flow.  Parts of one uid
sum to the flow's exact packets and bytes.

A packet belongs to the window of its time, but never to one before that of the packet before it: slightly out of order
packets stay together.  Only a clock that is set back by more than STEP goes back.  Nothing else here depends on how
packets are cut into reports, so a window's rows after its end are the same however often was asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from netpersona.adapters.sensors.packets.assemble import FlowTable
from netpersona.adapters.sensors.packets.conversation import Conversations
from netpersona.adapters.sensors.packets.dialogue import Dialogue, Said
from netpersona.adapters.sensors.packets.dissect import dissect
from netpersona.adapters.sensors.packets.open_flows import Columns
from netpersona.adapters.sensors.packets.packets import SLACK, Flags, Ints, Packets
from netpersona.adapters.sensors.packets.rows import flow_rows, transaction_rows
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA, FlowBatch, batch, conform
from netpersona.flow.window import WINDOW

STEP = 5_000_000  # µs
ROWS = 250_000  # packets that are worked on at once
MOST_OPEN = 250_000  # flows, some 300 bytes each


@dataclass(frozen=True, slots=True)
class Report:
    """What changed since the report before.

    `batch.flows` are the flows, or parts of flows, that have new packets: each whole, in place of what was said before
    under its (uid, part).  `batch.transactions` are those that are complete now; each comes once.  `asked` are those
    begun since the last report that still wait for an answer: they come again, complete, in a later report.
    Whatever starts before `until` (µs) is final: a window that ends there or before may be closed.  It is `waits` µs
    behind the present, for what was asked then and still waits, and for packets that the kernel has not handed over;
    nothing that is told began after `now`.  A window's end it passes dialogue.LATENESS later at the latest.
    `vanished` are interfaces that were there at the last report and are not now.
    """

    batch: FlowBatch
    asked: pl.DataFrame
    until: int
    vanished: tuple[str, ...] = ()
    waits: int = 0

    @property
    def now(self) -> int:
        """The present, µs: no packet that was seen came later."""
        return self.until + self.waits


class WindowMeter:
    """Turns packets into reports; `taps` names the interfaces by the numbers that packets carry.

    Keeps at most `most` open flows: then those silent longest are ended, and counted in `skipped`.
    """

    def __init__(self, sensor: str, taps: Mapping[int, str], window: int = WINDOW, most: int = MOST_OPEN) -> None:
        self._sensor, self._taps, self._window = sensor, taps, window
        self._table = FlowTable(most)
        self._conversations = Conversations(impatient=True, window=window)
        self._latest: int | None = None  # the time that packets have come to, µs
        self._began: int | None = None  # the window whose parts are counted, µs
        self._said: list[Said] = []
        self._rows: list[pl.DataFrame] = []

    @property
    def open_flows(self) -> int:
        """How many flows may go on."""
        return len(self._table)

    def report(self, packets: list[Packets], until: int, skipped: Counter[str]) -> Report:
        """What these packets change; all packets before `until` (µs) were given with them or before.

        `skipped` counts go into the batch with those of the packets.
        """
        parts = [part for some in packets for part in some.parts(ROWS)]
        for place, part in enumerate(parts):
            for one, is_last in self._by_window(part, until, skipped):
                self._add(one, until if is_last and place == len(parts) - 1 else min(until, self._latest or 0), skipped)
        if not any(len(part) for part in parts):
            self._add(_NO_PACKETS, until, skipped)
        flows, said = self._rows, self._said
        self._rows, self._said = [], []
        waiting = self._conversations.waiting_since()
        final = until if waiting is None else min(until, waiting)
        self._latest = None if self._latest is None else max(self._latest, until)  # what is said to be final, is
        return Report(
            batch=batch(
                _latest_of(flows),
                transaction_rows(said, self._sensor, self._taps),
                dict(skipped),
                self._conversations.banners.rows(),
            ),
            asked=conform(transaction_rows(self._conversations.asked(), self._sensor, self._taps), TRANSACTION_SCHEMA),
            until=final,
            waits=until - final,
        )

    def _by_window(self, packets: Packets, until: int, skipped: Counter[str]) -> Iterator[tuple[Packets, bool]]:
        """The packets window by window, and whether these are the last; parts begin where windows do."""
        if not len(packets):
            return
        at = _never_back(packets.time, self._latest)
        windows = at // self._window
        starts = np.flatnonzero(np.diff(windows, prepend=windows[0] - 1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(windows)], strict=True):
            begin = int(windows[start]) * self._window
            if self._began is not None and begin != self._began:
                self._add(_NO_PACKETS, min(until, begin), skipped)
                self._table.begin_part()
            self._began, self._latest = begin, int(at[stop - 1])
            some = packets.at(slice(start, stop))
            yield replace(some, time=np.maximum(some.time, begin)), stop == len(windows)

    def _add(self, packets: Packets, until: int, skipped: Counter[str]) -> None:
        headers = dissect(packets, skipped)
        assembled = self._table.add(headers, skipped, until)
        self._said += self._conversations.hear(headers, assembled, skipped)
        flows = assembled.flows
        dialogues = self._conversations.known(flows["uid"])
        told, named = self._conversations.give_up(until)
        _, left = self._conversations.close(flows["uid"][assembled.ended])
        self._said += told + left
        named += [said.flow[-1] for said in left if said.kind == "tls"]
        uids = np.array(named, np.uint64)
        self._tell(flows, assembled.touched | np.isin(flows["uid"], uids), dialogues)
        if len(uids):
            others = self._table.named(uids)
            self._tell(others, np.ones(len(others["uid"]), bool), self._conversations.known(others["uid"]))

    def _tell(self, flows: Columns, chosen: Flags, dialogues: list[tuple[int, Dialogue]]) -> None:
        """Report the chosen ones of these flows, as far as they have packets in this part."""
        chosen = chosen & (flows["packets_a"] + flows["packets_b"] > 0)
        place = np.cumsum(chosen) - 1
        known = [(int(place[row]), dialogue) for row, dialogue in dialogues if chosen[row]]
        told = {name: column[chosen] for name, column in flows.items()}
        if len(told["uid"]):
            self._rows.append(conform(flow_rows(told, known, self._sensor, self._taps), FLOW_SCHEMA))


def _latest_of(rows: list[pl.DataFrame]) -> pl.DataFrame | None:
    """Of rows with one (uid, part), the last one."""
    if len(rows) < 2:
        return rows[0] if rows else None
    return pl.concat(rows).unique(["uid", "part"], keep="last", maintain_order=True)


def _never_back(time: Ints, latest: int | None) -> Ints:
    """The times, each no earlier than the one before it, unless by more than STEP."""
    parts: list[Ints] = []
    while len(time):
        at = np.maximum.accumulate(np.maximum(time, time[0] if latest is None or time[0] < latest - STEP else latest))
        back = np.flatnonzero(time < at - STEP)
        stop = int(back[0]) if len(back) else len(time)
        parts.append(at[:stop])
        time, latest = time[stop:], int(at[stop - 1])
    return np.concatenate(parts) if parts else time


_NO_PACKETS = Packets(np.zeros(SLACK, np.uint8), *[np.zeros(0, np.int64)] * 5)
