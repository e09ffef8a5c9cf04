"""Finds: flows to peers, uses of names, and requests of URLs, that a feed lists.

How it is fooled: by a peer that no feed lists yet, and by a listed address that has changed hands or that many sites
share (a false alarm).  That a listed scanner probes us says nothing about us: it is context unless we talk back.  Of a
listed URL often the host alone is seen, in DNS and TLS: that is noted, weighs little, and asks no person.
Cost: one step for each sighting; none without sightings.
Method: matching is observation.observe's; feeds combine as independent witnesses, 1 - product(1 - confidence), each
family of feeds that copy each other counted once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from urllib.parse import urlsplit

from msgspec.structs import replace

from netpersona.flow.window import DAY
from netpersona.intel.indicator import Indicator, IndicatorType
from netpersona.observation.model import Sighting
from netpersona.risk.detectors.report import found
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.detectors.words import shown, size, times
from netpersona.risk.finding import Finding, Severity

NAME = "intel_match"
ALERT_AT = 0.5  # confidence that a listing must have before a person is asked
_SHOWN = 20  # listings and names in the evidence
_WEIGHT = 3.4  # log-odds at certainty, for an answered flow
_ASKED, _UNANSWERED = 0.6, 0.5  # shares of it; what calls the VM from outside is not the VM's doing, and weighs nothing
_HOST_ALONE = 0.1  # share of it where of a listed URL only the host was seen: most of its pages are harmless
_HOST = "-host"  # how such a sighting's `via` ends


def judge(scene: Scene) -> list[Finding]:
    """One finding for each peer, direction and port that is listed, or listed name used, with all that lists it."""
    if not scene.observation.sightings:
        return []
    addresses = {(c.peer, c.direction): c.vm_address for c in reversed(scene.observation.conversations)}
    found_at = own_address(scene)
    return [
        _finding(scene, sightings, addresses.get((sightings[0].peer, sightings[0].direction), found_at))
        for sightings in _subjects(scene.observation.sightings)
    ]


def _subjects(sightings: Sequence[Sighting]) -> list[list[Sighting]]:
    """The sightings of one thing together: of an address all that covers it, of a name all that stands above it."""
    met: dict[tuple[str, str, str, int], list[Sighting]] = {}
    for s in sightings:
        met.setdefault((s.via, s.peer, s.direction, s.port), []).append(s)
    groups: dict[tuple[str, str, str, str, int], list[Sighting]] = {}
    for (via, peer, direction, port), those in met.items():
        listed = {s.indicator.value for s in those}
        for s in those:
            top = _subject(s, listed)
            groups.setdefault((top, via, peer, direction, port), []).append(s)
    return [groups[key] for key in sorted(groups)]


def _subject(s: Sighting, listed: Collection[str]) -> str:
    """What is told apart at one peer: names by the topmost, URLs each by itself, or by their host."""
    if s.via == "address":
        return ""
    if s.via == "url":
        return s.indicator.value
    return _host(s.indicator) if s.via.endswith(_HOST) else _topmost(s.indicator.value, listed)


def _host(url: Indicator) -> str:
    """The host of a listed URL."""
    return urlsplit(url.value).hostname or url.value


def _topmost(name: str, listed: Collection[str]) -> str:
    """The highest of the listed domains that stands above this one, or itself."""
    found = name
    while "." in name:
        name = name.partition(".")[2]
        if name in listed:
            found = name
    return found


def _finding(scene: Scene, sightings: list[Sighting], vm_address: str) -> Finding:
    s = max(sightings, key=lambda s: (s.indicator.confidence, s.indicator.feed, -_breadth(s.indicator)))
    widest = max((x for x in sightings if x.transport == s.transport), key=lambda x: x.flows)
    so_far = _so_far(scene, replace(widest, indicator=s.indicator))
    feeds = sorted({sighting.indicator.feed for sighting in sightings})
    confidence = _combined(sighting.indicator for sighting in sightings)
    outbound, alone = s.direction == "outbound", s.via.endswith(_HOST)
    return found(
        scene,
        "intel_match",
        direction=s.direction,
        vm_address=vm_address,
        peer=s.peer,
        peers=[s.peer],
        protocol=s.transport,
        port=s.port,
        first=min(x.first for x in sightings),
        last=max(x.last for x in sightings),
        confidence=confidence,
        severity=_severity(widest, confidence),
        alert=outbound and not alone and confidence >= ALERT_AT,
        why=_sentence(so_far, feeds, confidence),
        evidence={
            "indicator": shown(_host(s.indicator) if alone else _named(sightings).value),
            "via": s.via,
            "feeds": feeds,
            "feed_line": s.indicator.line,
            "listings": _listings(sightings),
            "label": shown(s.indicator.label or s.indicator.category or "unlabelled"),
            **_names_seen(scene, sightings),
            **_counts(so_far),
        },
        feeds=tuple(feeds),
        weight=_WEIGHT * _share(widest),
        half_life=DAY,
    )


def _combined(listings: Iterable[Indicator]) -> float:
    """How sure all listings together are; of a family of feeds that copy each other the surest counts."""
    surest: dict[str, float] = {}
    for each in listings:
        family = each.family or each.feed
        surest[family] = max(surest.get(family, 0.0), each.confidence)
    doubt = 1.0
    for family in sorted(surest):
        doubt *= 1.0 - surest[family]
    return 1.0 - doubt


def _named(sightings: Iterable[Sighting]) -> Indicator:
    """The listing that a finding is named by, whatever else lists its peer: the narrowest, of domains the topmost."""
    return min((s.indicator for s in sightings), key=lambda listed: (_breadth(listed), listed.value))


def _breadth(listed: Indicator) -> int:
    """Less for a longer prefix, and for a domain with fewer labels: by what a listing is told from one inside it."""
    if listed.type == IndicatorType.DOMAIN:
        return listed.value.count(".")
    return 129 - int(listed.value.partition("/")[2]) if listed.type == IndicatorType.NETWORK else 0


def _listings(sightings: Iterable[Sighting]) -> list[str]:
    """Each listing, by the feed and the line where it stands: "feodo:7 lists 203.0.113.0/24 as c2 (0.90)"."""
    listed = {(x.feed, x.line, x.value): x for x in (s.indicator for s in sightings)}
    return [
        f"{shown(x.feed)}:{x.line} lists {shown(x.value)} as {shown(x.label or x.category or 'malicious')} "
        f"({x.confidence:.2f})"
        for _, x in sorted(listed.items())[:_SHOWN]
    ]


def _names_seen(scene: Scene, sightings: Sequence[Sighting]) -> dict[str, list[str]]:
    """The names that the VM used in this window which are listed, or stand below what is: not for addresses."""
    s = sightings[0]
    if s.via == "address":
        return {}
    if s.via == "url" or s.via.endswith(_HOST):
        return {"names_seen": [shown(_host(s.indicator))]}
    listed = {x.indicator.value for x in sightings}
    used = {n.name for n in scene.observation.names if (n.kind, n.peer) == (s.via, s.peer)}
    seen = sorted(name for name in used if name in listed or any(name.endswith(f".{top}") for top in listed))
    return {"names_seen": [shown(name) for name in seen[:_SHOWN]]}


def _so_far(scene: Scene, s: Sighting) -> Sighting:
    """The sighting with the counts of all remembered calls to this peer, not of this window alone."""
    contact = scene.memory.contacts.get((s.transport, s.port, s.peer))
    if contact is None or s.via != "address" or s.direction != "outbound":
        return s
    counts = {name: getattr(contact, name) for name in ("flows", "answered", "bytes_out", "bytes_in")}
    return replace(s, **counts)


def _counts(s: Sighting) -> dict[str, int]:
    """What is known in numbers: of a name or a URL only how often it was used."""
    if s.via != "address":
        return {"uses": s.flows}
    return {
        "flows": s.flows,
        "flows_answered": s.answered,
        "sent_bytes": s.bytes_out,
        "received_bytes": s.bytes_in,
    }


def _share(s: Sighting) -> float:
    if s.direction != "outbound":
        return 0.0
    if s.via.endswith(_HOST):
        return _HOST_ALONE
    if s.via == "dns":
        return _ASKED
    return 1.0 if s.answered else _UNANSWERED


def _severity(s: Sighting, confidence: float) -> Severity:
    if s.direction != "outbound":
        return Severity.LOW if s.answered and not s.via.endswith(_HOST) else Severity.INFORMATIONAL
    if s.via.endswith(_HOST):
        return Severity.LOW
    return Severity.HIGH if s.answered and confidence >= 0.8 else Severity.MEDIUM


def _sentence(s: Sighting, feeds: list[str], confidence: float) -> str:
    listed = (
        f"{shown(s.indicator.value)} is listed as {shown(s.indicator.label or s.indicator.category or 'malicious')}"
    )
    by = f"by {', '.join(shown(feed) for feed in feeds[:3])} ({confidence:.2f})"
    if s.via.endswith(_HOST):
        return _sentence_of_host(s, listed, by)
    if s.via == "dns":
        did = f"the VM asked for its address {times(s.flows)}"
    elif s.via == "url":
        asked = f"asked {s.peer} for it" if s.direction == "outbound" else f"was asked for it by {s.peer}"
        did = f"the VM {asked} {times(s.flows)}"
    elif s.via != "address":
        did = f"{'the VM named it to' if s.direction == 'outbound' else 'was named by'} {s.peer} {times(s.flows)}"
    elif s.direction == "outbound":
        answer = f"{size(s.bytes_out)} went out, {size(s.bytes_in)} came back" if s.answered else "it did not answer"
        did = f"the VM called {s.peer} there {times(s.flows)}; {answer}"
    else:
        did = f"it called the VM {times(s.flows)}, of which the VM answered {s.answered}"
    return f"{listed} {by}, and {did}."


def _sentence_of_host(s: Sighting, listed: str, by: str) -> str:
    outbound = s.direction == "outbound"
    if s.via == f"dns{_HOST}":
        did = f"the VM asked for the address of its host {times(s.flows)}"
    else:
        named = f"the VM named its host to {s.peer}" if outbound else f"{s.peer} named its host to the VM"
        did = f"{named} {times(s.flows)}"
    return f"{listed} {by}, and {did}: which page was meant was not seen, so this says little."


def own_address(scene: Scene) -> str:
    """An address of the VM: one it used in this window, else one that its persona knows, else its name."""
    if scene.observation.conversations:
        return scene.observation.conversations[0].vm_address
    if scene.observation.probes:
        return scene.observation.probes[0].vm_address
    addresses = scene.persona.base.addresses
    return addresses[0].partition("/")[0] if addresses else scene.observation.vm
