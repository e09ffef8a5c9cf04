"""What a hunt through the past found, as findings: a VM met something before anybody listed it.

They are put before a person, and add nothing to the risk: what a VM did before counts no more than it did then, and
what it does from now on is judged by the detectors, with the new indicator.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from netpersona.flow.orient import OUTBOUND
from netpersona.flow.vm import VmId
from netpersona.flow.window import SECOND
from netpersona.risk.detectors.words import shown, size, times
from netpersona.risk.finding import KINDS, Finding, Severity, finding_id

NAME = "retro_hunt"
KIND = "intel_match"
ALERT_AT = 0.5  # confidence of the listing
FOUND_MOST = 1_000  # findings of one hunt, the latest contacts first
_SHOWN = 20  # peers, names and ports in the evidence


def findings(met: pl.DataFrame, at: int) -> list[Finding]:
    """A finding for each (indicator, VM) of a hunt's `met` (app.hunting), raised at `at` (µs); FOUND_MOST at most.

    Hunting again updates a finding and never repeats it.
    """
    return [_finding(row, at) for row in met.head(FOUND_MOST).iter_rows(named=True)]


def _finding(met: Mapping[str, Any], at: int) -> Finding:
    outbound = OUTBOUND in met["directions"]
    transport, _, port = (met["ports"][0] if met["ports"] else "").partition("/")
    answered = bool(met["answered"])
    sure = met["confidence"] >= ALERT_AT
    return Finding(
        id=finding_id(met["vm"], KIND, NAME, met["type"], met["value"]),
        vm=VmId(met["vm"]),
        vm_address=met["vm_address"],
        detector=NAME,
        kind=KIND,
        peer=met["peers"][0] if len(met["peers"]) == 1 else None,
        peers=tuple(met["peers"][:FOUND_MOST]),
        peers_total=len(met["peers"]),
        protocol=transport or None,
        port=int(port) if port and len(met["ports"]) == 1 else None,
        direction=OUTBOUND if outbound else "inbound",
        first_seen=met["first"],
        last_seen=met["last"],
        judged_at=at,
        confidence=met["confidence"],
        severity=_severity(outbound=outbound, answered=answered, sure=met["confidence"] >= 0.8),
        alert=outbound and sure and (answered or bool(met["said"])),
        why=_sentence(met, outbound=outbound),
        evidence=_evidence(met),
        techniques=KINDS[KIND],
        feeds=tuple(met["feeds"]),
    )


def _severity(*, outbound: bool, answered: bool, sure: bool) -> Severity:
    if not outbound:
        return Severity.LOW if answered else Severity.INFORMATIONAL
    return Severity.HIGH if answered and sure else Severity.MEDIUM


def _sentence(met: Mapping[str, Any], *, outbound: bool) -> str:
    listed = ", ".join(shown(feed) for feed in met["feeds"][:3])
    what = f"{shown(met['value'])}, which {listed} now lists as {shown((met['categories'] or ['malicious'])[0])}"
    moved = f"{size(met['bytes_out'])} went out, {size(met['bytes_in'])} came back"
    if not met["flows"]:
        did = f"the VM named or asked for {what} {times(met['said'])}"
    elif outbound:
        did = f"the VM talked to {what} {times(met['flows'])}; " + (moved if met["answered"] else "nothing answered")
    else:
        did = f"the VM was called from {what} {times(met['flows'])}, of which it answered {met['answered']}"
    return f"Before it was known, from {_clock(met['first'])} to {_clock(met['last'])}, {did}."


def _evidence(met: Mapping[str, Any]) -> dict[str, float | int | str | list[str]]:
    return {
        "indicator": shown(met["value"]),
        "indicator_type": met["type"],
        "feeds": list(met["feeds"]),
        "flows": met["flows"],
        "flows_answered": met["answered"],
        "sent_bytes": met["bytes_out"],
        "received_bytes": met["bytes_in"],
        "uses": met["said"],
        **{name: [shown(each) for each in met[name][:_SHOWN]] for name in ("via", "ports", "names")},
        "first_source": shown(met["source"] or ""),
    }


def _clock(at: int) -> str:
    """An instant (µs) of a stored flow, UTC to the minute."""
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%d %H:%M")
