"""How long flows last that go on from window to window: a window has only a part of each, with that part's length.

When a flow began is remembered from the windows that closed, for those that may go on: TCP that nobody ended, and what
had packets in the window's last minute.  Who is silent longest goes first.
"""

from __future__ import annotations

import polars as pl
from msgspec.structs import replace

from netpersona.flow.window import MINUTE
from netpersona.observation.model import Observation

MOST = 50_000  # flows, some 150 bytes each
_OPEN = ("S1", "S2", "S3", "OTH")
_SERVICE = ["originator", "responder", "transport", "responder_port"]

_Service = tuple[str, str, str, int]


class Lasting:
    """When flows began, by their uid."""

    def __init__(self) -> None:
        self._began: dict[str, int] = {}  # µs; who was seen last stands last

    def closed(self, flows: pl.DataFrame, end: int) -> None:
        """Take the flows of a window that ended then (µs)."""
        until = pl.col("start") + pl.col("duration").fill_null(0)
        goes_on = (
            (until >= end - MINUTE)
            | (pl.col("part") > 0)
            | ((pl.col("transport") == "tcp") & pl.col("state").is_in(_OPEN))
        )
        for uid, start in flows.filter(goes_on & pl.col("uid").is_not_null()).select("uid", "start").iter_rows():
            self._began[uid] = self._began.pop(uid, start)
        while len(self._began) > MOST:
            del self._began[next(iter(self._began))]

    def lengths(self, flows: pl.DataFrame) -> dict[_Service, int]:
        """By originator, responder, transport and port: how long (µs) the longest flow lasts that began before."""
        parts = flows.filter(pl.col("part") > 0).select("uid", "start", "duration", *_SERVICE)
        found: dict[_Service, int] = {}
        for uid, start, duration, *service in parts.iter_rows():
            began = self._began.get(uid)
            if began is not None:
                key = (service[0], service[1], service[2], service[3] or 0)
                found[key] = max(found.get(key, 0), start + (duration or 0) - began)
        return found


def stretched(observation: Observation, lengths: dict[_Service, int]) -> Observation:
    """The observation, its conversations as long as their flows are."""
    if not lengths:
        return observation
    changed = [
        replace(c, longest=longest)
        if (longest := lengths.get(_service(c.direction, c.vm_address, c.peer, c.transport, c.port), 0)) > c.longest
        else c
        for c in observation.conversations
    ]
    return replace(observation, conversations=tuple(changed))


def _service(direction: str, own: str, peer: str, transport: str, port: int) -> _Service:
    return (own, peer, transport, port) if direction == "outbound" else (peer, own, transport, port)
