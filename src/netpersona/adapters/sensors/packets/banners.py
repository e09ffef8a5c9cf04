"""What servers say they are: the first line of SSH (RFC 4253, 4.2), the Server header of HTTP (RFC 9110, 10.2.4).

A server says the same in every flow; it is told once an hour of event time, at the hour's beginning, so that it does
not matter in which order the flows of an hour are read.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import numpy as np
import polars as pl

from netpersona.adapters.sensors.packets.addresses import address_text
from netpersona.adapters.sensors.packets.assemble import ports_of
from netpersona.adapters.sensors.packets.dialogue import Flow
from netpersona.flow.table import BANNER_SCHEMA, conform
from netpersona.flow.window import HOUR

LONGEST = 200  # octets of a banner
MOST = 10_000  # banners of which it is remembered that they were told
_Banner: TypeAlias = tuple[int, int, int, int, str]  # hour (µs), the server's address in two halves, port, text
_SERVER = re.compile(rb"\nserver:[ \t]*([^\r\n]{1,200})", re.IGNORECASE)
_SSH = re.compile(rb"SSH-[0-9.]{1,8}-[\x20-\x7e]{1,200}")


def banner_in(segment: bytes) -> str | None:
    """The banner in the segment with which a server begins to answer; None where it shows none."""
    head = segment.partition(b"\r\n\r\n")[0]
    found = _SSH.match(head)
    octets = found[0] if found else match[1] if (match := _SERVER.search(head)) else b""
    return "".join(chr(octet) for octet in octets[:LONGEST] if 32 <= octet < 127).strip() or None


class Banners:
    """The banners heard since they were last told."""

    def __init__(self) -> None:
        self._told: set[_Banner] = set()
        self._new: list[_Banner] = []

    def hear(self, flow: Flow, by_opener: bool, at: int, segment: bytes) -> None:
        """A segment that may begin with one; what the side that opened the flow says is no server's word."""
        text = None if by_opener else banner_in(segment)
        if text is None:
            return
        word, a_hi, a_lo, b_hi, b_lo, opener, _ = flow
        port_a, port_b = (int(port[0]) for port in ports_of(np.array([word], np.int64)))
        server = (b_hi, b_lo, port_b) if opener == 0 else (a_hi, a_lo, port_a)
        banner = (at - at % HOUR, *server, text)
        if banner not in self._told:
            if len(self._told) >= MOST:
                self._told.clear()
            self._told.add(banner)
            self._new.append(banner)

    def rows(self) -> pl.DataFrame:
        """What was heard since this was last asked; BANNER_SCHEMA."""
        new, self._new = self._new, []
        columns = ("start", "hi", "lo", "responder_port", "text")
        schema = {"start": pl.Int64, "hi": pl.UInt64, "lo": pl.UInt64, "responder_port": pl.UInt16, "text": pl.String}
        table = pl.DataFrame(new, schema={name: schema[name] for name in columns}, orient="row")
        if table.is_empty():
            return conform(table.select("start"), BANNER_SCHEMA)
        server = address_text(table["hi"].to_numpy(), table["lo"].to_numpy()).alias("responder")
        return conform(table.with_columns(server, transport=pl.lit("tcp")), BANNER_SCHEMA)
