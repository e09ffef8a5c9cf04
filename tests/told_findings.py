"""Findings for the tests of sinks."""

from dataclasses import replace

from netpersona.flow.vm import VmId
from netpersona.flow.window import DAY, MINUTE
from netpersona.risk.finding import KINDS, Finding, Severity, finding_id

AT = 1_760_000_400_000_000 // DAY * DAY  # µs
BAD, BAD6 = "45.33.32.156", "2600:3c01::f03c:91ff:fe18:bb2f"


def finding(kind="c2_beacon", peer=BAD, **changes):
    """The web server called `peer` at port 8443."""
    made = Finding(
        id=finding_id("web-1", kind, peer),
        vm=VmId("web-1"),
        vm_address="10.0.0.1",
        detector=kind,
        kind=kind,
        peer=peer,
        peers=(peer,) if peer is not None else (),
        peers_total=1,
        protocol="tcp",
        port=8443,
        direction="outbound",
        first_seen=AT,
        last_seen=AT + 9 * MINUTE,
        judged_at=AT + 5 * MINUTE,
        confidence=0.93,
        severity=Severity.HIGH,
        alert=True,
        why=f"web-1 (10.0.0.1) called {peer} 10 times, every 60 s; 10.0.0.53 told it where.",
        evidence={"flows": 10, "sent_bytes": 1_000},
        techniques=KINDS[kind],
        feeds=("ours",),
    )
    return replace(made, **changes)


EVERY_KIND = [
    finding(),
    finding("c2_beacon", BAD6),
    finding("intel_match", evidence={"indicator": BAD, "via": "address"}),
    finding("intel_match", "10.0.0.53", port=53, evidence={"indicator": "evil.example", "via": "dns", "uses": 3}),
    finding("dns_tunnel", "10.0.0.53", port=53, evidence={"domain": "t.evil.example", "queries": 400}),
    finding("dga", None, port=53),
    finding("scan_vertical", "10.0.0.2", port=None),
    finding("scan_horizontal", direction="inbound", port=None, protocol=None),
    finding("exfiltration", "45.33.32.10"),
    finding("crypto_mining", None, peers=("45.33.32.11", "10.0.0.9"), peers_total=2, port=None),
    finding("policy_violation", None, protocol=None, port=None),
]
