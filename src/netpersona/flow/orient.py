"""From the sensor's view to the VM's: whose flow is it, who is the peer, which way did it go.

A flow between two VMs gives one row for each of them.  Where no inventory names the VMs, they are the private
addresses that open or answer flows, from the window in which they first do so.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from netpersona.flow.window import WINDOW

OUTBOUND, INBOUND = "outbound", "inbound"
PRIVATE = r"^(?:10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|f[cd][0-9a-f]{2}:)"  # RFC 1918, RFC 4193
_BROADCAST = r"\.255$"
_REFUSED = ["REJ", "RSTOS0", "RSTRH"]
_TRIES = 3  # packets: a connection is tried so often, or a little more
_RESET = 60  # bytes at most, with what headers a sensor counts: no options, no payload
_OPENING = 84  # the same of a SYN with options


def owner_table(owners: Mapping[str, str], since: Mapping[str, int] | None = None) -> pl.DataFrame:
    """Which VM has which address, and from when (µs) that counts: columns address, vm, since."""
    known = since or {}
    rows = [(address, vm, known.get(address)) for address, vm in sorted(owners.items())]
    return pl.DataFrame(rows, schema={"address": pl.String, "vm": pl.String, "since": pl.Int64}, orient="row")


def oriented(table: pl.DataFrame, owners: pl.DataFrame, window: int = WINDOW) -> pl.DataFrame:
    """The rows of a flow or transaction table as the VMs see them.

    `owners` is an owner_table(); a row before the window of `since` is not counted.  Adds the columns vm, vm_address,
    peer, direction (outbound: the VM opened the flow), port (the responder's; 0 where there is none) and window (its
    start, µs); rows that concern no VM are left out, rows between two VMs come twice.
    """
    common = table.with_columns(
        port=pl.col("responder_port").cast(pl.Int32).fill_null(0),
        window=pl.col("start") - pl.col("start") % window,
    )
    since = pl.col("since") - pl.col("since") % window
    all_counted = owners.filter(since > pl.lit(table["start"].min(), pl.Int64)).is_empty()
    sides = []
    for direction, own, other in ((OUTBOUND, "originator", "responder"), (INBOUND, "responder", "originator")):
        side = common.join(owners, left_on=own, right_on="address", how="inner")
        if not all_counted:
            side = side.filter(pl.col("since").is_null() | (pl.col("start") >= since))
        sides.append(side.rename({own: "vm_address", other: "peer"}).with_columns(direction=pl.lit(direction)))
    return pl.concat([side.select(sides[0].columns) for side in sides]).drop("since")


def first_activity(flows: pl.DataFrame) -> pl.DataFrame:
    """When each private address first opened or answered a flow: columns address, start (µs)."""
    opened = flows.lazy().group_by(address="originator").agg(pl.col("start").min())
    answered = flows.lazy().filter(answered_by_responder()).group_by(address="responder").agg(pl.col("start").min())
    first = pl.concat(pl.collect_all([opened, answered])).group_by("address").agg(pl.col("start").min())
    private = pl.col("address").str.contains(PRIVATE) & ~pl.col("address").str.contains(_BROADCAST)
    return first.filter(private).sort("address")


def answered_by_responder() -> pl.Expr:
    """Whether the responder sent anything that was not a refusal."""
    silent = pl.col("state").is_in([*_REFUSED, "S0", "SH"]).fill_null(value=False)
    said = pl.max_horizontal("packets_resp", "bytes_resp", "payload_resp").fill_null(0) > 0
    spoken = pl.col("state").is_in(["SF", "S1", "S2", "S3", "RSTO", "RSTR"]).fill_null(value=False)
    return (said | spoken) & ~silent & ~_reset_at_once()


def refused_by_responder() -> pl.Expr:
    """Whether all that the responder sent was a refusal."""
    return pl.col("state").is_in(_REFUSED).fill_null(value=False) | _reset_at_once()


def _reset_at_once() -> pl.Expr:
    """Whether a TCP flow without a state, as NetFlow without flags has it, looks like a reset for each opening packet.

    Who opens a connection acknowledges it, and so sends more packets than who lets it be opened.
    """
    openings, resets = pl.col("packets_orig"), pl.col("packets_resp")
    alone = resets.is_between(1, _TRIES) & openings.is_between(1, resets)
    small = (pl.col("bytes_resp") <= _RESET * resets) & (pl.col("bytes_orig") <= _OPENING * openings)
    return ((pl.col("transport") == "tcp") & pl.col("state").is_null() & alone & small).fill_null(value=False)
