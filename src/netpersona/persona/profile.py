"""The traffic profile: what a VM normally does, learned window by window from calm traffic.

Heavy hitters with exponential decay in event time, a rest bucket that says what was dropped, histograms of volume
in logarithmic bins, hours of the day, and Good-Turing's count of kinds seen once.
"""

from __future__ import annotations

import math

from netpersona.observation.model import Conversation
from netpersona.persona.model import Completeness, Kind, TrafficProfile

HALF_LIFE = 7 * 86_400_000_000  # µs: habits fade over weeks
KINDS_KEPT = 40
NAMES_KEPT = 16
FINGERPRINTS_KEPT = 6
SLACK = 6  # a table is cut down when it is this much over, so that not every window sorts it
BINS = 80  # half-octaves: bin = 2 * log2(bytes + 1), up to 2^40 bytes in one window

_Z = 1.96  # of the normal distribution, for 95 %
_new = tuple.__new__  # makes a NamedTuple without checking its arity: one is made for each conversation


def kind_of(conversation: Conversation) -> Kind:
    """Inbound flows are of one kind by service; outbound flows by service and peer."""
    c, direction = conversation, conversation.direction
    return _new(Kind, (direction, c.transport, c.port, "" if direction == "inbound" else c.peer))


def knows(profile: TrafficProfile, kind: Kind) -> bool:
    """Whether this kind is among the heavy hitters that the profile keeps."""
    return kind in profile.kinds


def volume_bin(size: int) -> int:
    """The half-octave in which a volume of `size` bytes falls, 0 to BINS - 1."""
    return min(BINS - 1, int(2.0 * math.log2(max(size, 0) + 1)))


def volume_quantile(volumes: tuple[int, ...], share: float) -> float:
    """The upper edge, in bytes, of the bin that holds the given share (0 to 1) of the active windows; 0 if none."""
    total = sum(volumes)
    if not total:
        return 0.0
    wanted, seen = share * total, 0
    for index, count in enumerate(volumes):
        seen += count
        if seen >= wanted:
            return float(2.0 ** ((index + 1) / 2.0) - 1.0)
    return float(2.0 ** (len(volumes) / 2.0) - 1.0)


def completeness(profile: TrafficProfile) -> Completeness:
    """Good-Turing: the share of kinds seen once among all flows estimates the unseen; Wilson's 95 % interval."""
    n, once = profile.flows, profile.singletons
    if n == 0:
        return Completeness()
    share, whole = min(1.0, once / n), 1 + _Z * _Z / n
    centre = (share + _Z * _Z / (2 * n)) / whole
    half = _Z * math.sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n)) / whole
    return Completeness(round(share, 6), round(max(0.0, centre - half), 6), round(min(1.0, centre + half), 6))


def explained(profile: TrafficProfile) -> float:
    """The share of (decayed) flows that the kept kinds explain, 0 to 1."""
    kept = math.fsum(usage.flows for usage in profile.kinds.values())
    whole = kept + profile.dropped_flows
    return round(kept / whole, 6) if whole else 1.0
