"""The persona: everything netpersona knows and has decided about one VM, as one immutable value.

    base_network_config    what the inventory says, or what the traffic shows
    traffic_profile        what the VM normally does
    behavioral_signatures  known behaviours recognised in what it does
    risk_score             how worried we are, with the ledger it is computed from
    mitigation_rules       this VM's own rules; `mitigations` are those in force now

Bounded: the canonical text of a persona stays within 8 KiB whatever the traffic.

Structs rather than frozen dataclasses, as every window of every VM makes some anew, and these are made in a fraction
of the time.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from netpersona.flow.vm import VmId


class Kind(NamedTuple):
    """What makes two flows of a VM the same sort of thing.

    For inbound flows that is the service (the peer is ""), for outbound flows the service and the peer.
    """

    direction: str  # outbound | inbound
    transport: str
    port: int  # the service port; 0 where there is none
    peer: str


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """How much of one kind was seen, decaying, and when."""

    flows: float  # decayed count
    bytes_out: float
    bytes_in: float
    first: int  # µs
    last: int  # µs


class TrafficProfile(msgspec.Struct, frozen=True):
    """What the VM normally does: heavy hitters with decay, a rest bucket, bands of volume, hours, fingerprints."""

    kinds: dict[Kind, Usage] = {}
    names: dict[str, Usage] = {}  # registered domains asked for or named in TLS and HTTP
    fingerprints: dict[str, Usage] = {}  # "tls:<ja3>", "tcp:<signature>"
    hours: tuple[float, ...] = (0.0,) * 24  # decayed flows by hour of the day, UTC
    volumes_out: tuple[
        int, ...
    ] = ()  # counts of active windows by size of bytes out (see persona.profile for the bins)
    volumes_in: tuple[int, ...] = ()
    windows: int = 0  # active windows learned
    flows: int = 0  # flows learned, exactly
    singletons: int = 0  # kinds seen exactly once: Good-Turing's N1
    dropped_kinds: int = 0  # heavy hitters that had to go
    dropped_flows: float = 0.0  # the rest bucket: decayed flows of the kinds that went


class Completeness(msgspec.Struct, frozen=True):
    """How much of what the VM does we have seen: Good-Turing's estimate that the next flow is of an unseen kind.

    `low` and `high` bound it at 95 %.  Source: I. J. Good, Biometrika 40 (1953).
    """

    unseen: float = 1.0
    low: float = 0.0
    high: float = 1.0

    @property
    def seen(self) -> float:
        """The probability that the next flow is of a kind already seen: `persona.completeness` in policies."""
        return 1.0 - self.unseen


class BehavioralSignature(msgspec.Struct, frozen=True):
    """A known behaviour that was recognised in the VM's traffic."""

    name: str  # a finding's kind: c2_beacon, scan_vertical, ...
    since: int  # µs
    last: int  # µs
    peer: str | None
    confidence: float  # 0 to 1
    why: str


class Exempt(NamedTuple):
    """Why a risk term does not count, from `since` up to `until` (µs; None: until that is taken back)."""

    since: int
    until: int | None
    why: str


class RiskTerm(msgspec.Struct, frozen=True):
    """One reason to worry, with its owner: `weight` in log-odds at the instant `at`, halved every `half_life`."""

    detector: str
    peer: str | None  # the group's other half: terms of one (detector, peer) share a cap
    weight: float
    half_life: int  # µs
    at: int  # µs
    finding: str  # the finding's id
    feeds: tuple[str, ...]  # the feeds it rests on, so that it can be recomputed without one of them
    why: str
    names: tuple[str, ...] = ()  # that it is about, beside its peer
    relayed: bool = False  # whether its peer, as a resolver, only passed the names on
    exempt: Exempt | None = None  # None: it counts


class Mitigation(msgspec.Struct, frozen=True):
    """A rule that was triggered and holds for a while; it always ends."""

    policy: str
    rule: str
    policy_version: int
    since: int  # µs
    until: int | None  # µs; None: until its `until` condition is true
    why: str


class BaseNetworkConfig(msgspec.Struct, frozen=True):
    """How the VM stands in the network.  `inferred`: no inventory said so, the traffic did."""

    addresses: tuple[str, ...] = ()
    interface: str | None = None
    mac: str | None = None
    gateways: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    mtu: int | None = None
    inferred: bool = True


class Persona(msgspec.Struct, frozen=True):
    """One VM's persona.  Versions count what a person would call a change; counters alone make none."""

    vm: VmId
    version: int = 1
    labels: dict[str, str] = {}
    base: BaseNetworkConfig = BaseNetworkConfig()
    learning: str = "learning"  # learning | frozen
    mitigation_rules: tuple[dict[str, object], ...] = ()  # as written in spec; parsed by policy.parse_rules
    profile: TrafficProfile = TrafficProfile()
    signatures: tuple[BehavioralSignature, ...] = ()
    risk_prior: float = 0.02
    risk_ledger: tuple[RiskTerm, ...] = ()
    completeness: Completeness = Completeness()
    mitigations: tuple[Mitigation, ...] = ()
    exposure: tuple[str, ...] = ()  # known_exploited, ... (filled by vulnerability matching)
    exposed_ports: tuple[int, ...] = ()
    learned_until: int | None = None  # µs: the end of the last window learned
    first_seen: int | None = None  # µs
    last_seen: int | None = None  # µs
