"""A finding: one detector's reason to worry, in a sentence and in numbers (OCSF's term)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from netpersona.flow.vm import VmId


class Severity(StrEnum):
    """How bad it is if it is true."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


KINDS: dict[str, tuple[str, ...]] = {  # kind -> ATT&CK techniques that it usually is
    "intel_match": ("T1071",),
    "c2_beacon": ("T1071", "T1573"),
    "c2_channel": ("T1095", "T1571"),
    "dga": ("T1568.002",),
    "dns_tunnel": ("T1071.004", "T1572"),
    "icmp_tunnel": ("T1095",),
    "exfiltration": ("T1048", "T1041"),
    "scan_vertical": ("T1046",),
    "scan_horizontal": ("T1018", "T1046"),
    "brute_force": ("T1110",),
    "lateral_movement": ("T1021",),
    "crypto_mining": ("T1496",),
    "exploit_attempt": ("T1190",),
    "long_connection": ("T1571",),
    "volume_anomaly": ("T1030",),
    "new_behaviour": ("T1205",),
    "policy_violation": (),
    "spoofing": ("T1036",),
    "spam": ("T1071.003",),
    "stack_change": (),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to worry about one VM.

    `id` is derived from the VM, the kind and what it is about, and the episode's first instant, so judging again
    updates a finding and never repeats it.  Times are µs since the epoch.
    """

    id: str
    vm: VmId
    vm_address: str
    detector: str
    kind: str  # one of KINDS
    peer: str | None  # None: there are many
    peers: tuple[str, ...]  # sorted, at most 1,000
    peers_total: int
    protocol: str | None
    port: int | None
    direction: str  # inbound | outbound
    first_seen: int
    last_seen: int
    judged_at: int  # event time at which it was first raised
    confidence: float  # 0 to 1: of findings at 0.9, nine in ten should be right
    severity: Severity
    alert: bool  # put before a person; else kept as context that may still weigh in the risk
    why: str  # one sentence a newcomer understands, with the numbers
    evidence: dict[str, float | int | str | list[str]] = field(default_factory=dict)  # units in the names
    techniques: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()  # the feeds it rests on
    weight: float = 0.0  # what it adds to the risk, in log-odds, at judged_at
    half_life: int = 0  # µs


def finding_id(vm: str, kind: str, *about: object) -> str:
    """A stable id: the same VM, kind and subject give the same text (16 hex digits)."""
    text = "\x1f".join([vm, kind, *map(str, about)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
