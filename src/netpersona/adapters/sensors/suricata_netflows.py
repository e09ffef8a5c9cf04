"""Suricata's netflow events, one for each way of a flow, as the flow events that it would have written.

Suricata tells the way to the server first, and the way back, where there was any, right after it with the ends
exchanged and the same flow_id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from netpersona.adapters.sensors.suricata_events import Event, FlowPart, NetflowPart, TcpPart


class Pairing:
    """Puts the two ways of each flow together; a way that is alone waits for the other through one more call."""

    def __init__(self) -> None:
        self._waiting: dict[int | None, Event] = {}

    def add(self, events: Iterable[Event]) -> list[Event]:
        """The flow events that these netflow events, in the order of the file, make complete."""
        before, self._waiting = self._waiting, {}
        done: list[Event] = []
        for event in events:
            there = before.pop(event.flow_id, None) or self._waiting.pop(event.flow_id, None)
            if there is not None and _turned(there, event):
                done.append(_flow(there, event))
                continue
            if there is not None:
                done.append(_flow(there))
            self._waiting[event.flow_id] = event
        return [*done, *map(_flow, before.values())]

    def finish(self) -> Iterator[Event]:
        """The flows of which only one way was told."""
        yield from map(_flow, self._waiting.values())
        self._waiting = {}


def _turned(there: Event, back: Event) -> bool:
    return (there.src_ip, there.src_port, there.dest_ip, there.dest_port) == (
        back.dest_ip,
        back.dest_port,
        back.src_ip,
        back.src_port,
    )


def _flow(there: Event, back: Event | None = None) -> Event:
    """One flow event from its one or two ways; the times are ISO texts of one writer, which sort as they are."""
    told = [event.netflow or NetflowPart() for event in (there, back) if event is not None]
    ways = [*told, NetflowPart(pkts=0, bytes=0)][:2]
    flow = FlowPart(
        pkts_toserver=ways[0].pkts,
        bytes_toserver=ways[0].bytes,
        pkts_toclient=ways[1].pkts,
        bytes_toclient=ways[1].bytes,
        start=min((way.start for way in told if way.start), default=None),
        end=max((way.end for way in told if way.end), default=None),
    )
    flags = TcpPart(tcp_flags_ts=_flags(there), tcp_flags_tc=None if back is None else _flags(back))
    return msgspec.structs.replace(there, event_type="flow", flow=flow, tcp=flags)


def _flags(event: Event) -> str | None:
    return None if event.tcp is None else event.tcp.tcp_flags
