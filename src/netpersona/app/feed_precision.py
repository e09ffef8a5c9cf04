"""What happens to the precision ledger: what was met, who says that it was right or wrong, and what a store can tell.

The live loop keeps the ledger and calls `turned` for each batch of windows that closed.  Of a replay nothing is kept;
`of_store` makes the ledger from the findings that it left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from netpersona.app.answers.personas import EDITS
from netpersona.flow.vm import VmId
from netpersona.intel.indicators import EMPTY, IndicatorSet
from netpersona.intel.precision import By, Claim, Met, Notice, PrecisionLedger, judged, sighted, weighed
from netpersona.intel.precision_codec import of_bytes
from netpersona.intel.witnesses import by_allow_list, by_families
from netpersona.observation.model import Observation
from netpersona.ports import Store
from netpersona.risk.finding import Finding
from netpersona.risk.judge import SERIOUS

CONTEXT = "precision"  # the key under which a store keeps the ledger


def turned(
    ledger: PrecisionLedger,
    closed: Sequence[Observation],
    findings: Iterable[Finding],
    everything: IndicatorSet,
    at: int,
    floors: Mapping[str, float] | None = None,
) -> tuple[PrecisionLedger, tuple[Notice, ...]]:
    """The ledger after windows that closed, with the findings made in them, and what to tell of it.

    `everything`: what all feeds say, those that are log-only with them.
    """
    _, watched = everything.split(ledger.log_only)
    ledger = sighted(ledger, [*met(closed), *met_of(closed, watched), *overruled(closed, everything)])
    claims = [*by_findings(findings), *by_families(ledger, everything, at)]
    ledger = judged(ledger, [*claims, *by_allow_list(ledger, everything.allow, at)])
    return weighed(ledger, at, floors)


def met(observations: Iterable[Observation]) -> list[Met]:
    """The listings that windows met."""
    return [
        Met(s.indicator.feed, s.indicator.value, s.peer if s.via == "address" else "", s.last)
        for observation in observations
        for s in observation.sightings
    ]


def met_of(observations: Iterable[Observation], watched: IndicatorSet) -> list[Met]:
    """The listings of `watched` that windows met and no sighting tells of."""
    windows: dict[int, list[Observation]] = {}
    for observation in observations if len(watched) else ():
        windows.setdefault(observation.window.end, []).append(observation)
    return [each for at, those in sorted(windows.items()) for each in _met(*_used(those), watched, at)]


def overruled(observations: Iterable[Observation], everything: IndicatorSet) -> list[Met]:
    """The listings that windows met and that an allow-list overrules, so that no sighting tells of them."""
    allow, bare = everything.allow, replace(everything, allow=EMPTY)
    found = []
    for observation in observations if allow.entries else ():
        at = observation.window.end
        peers, names = _used([observation])
        own = [peer for peer in peers if allow.covers_address(peer, at)]
        found += _met(own, [name for name in names if allow.covers_name(name, at)], bare, at)
    return found


def by_findings(findings: Iterable[Finding]) -> list[Claim]:
    """That listings were right about whose peers a detector found, which rests on no feed, what is serious."""
    return [
        Claim(f.peer, right=True, by=By.FINDING, at=f.last_seen, who=f"{f.kind} of {f.vm}")
        for f in findings
        if f.peer is not None and not f.feeds and f.weight >= SERIOUS
    ]


def by_person(findings: Iterable[Finding], who: str, at: int, *, right: bool) -> list[Claim]:
    """What a person says of the listings that these findings rest on: of a VM that is acquitted, that they were wrong.

    A person who confirms a finding says that they were right.
    """
    return [
        Claim(about, right=right, by=By.PERSON, at=at, who=who, feed=feed)
        for f in findings
        if f.detector == "intel_match"
        for feed in f.feeds
        for about in sorted({str(f.evidence["indicator"]), *([f.peer] if f.peer and _by_address(f) else [])})
    ]


def of_store(store: Store, everything: IndicatorSet, at: int) -> PrecisionLedger:
    """The ledger that the store keeps, or that its findings come to.  Raises ValueError for a damaged one."""
    kept = store.context(CONTEXT)
    if kept is not None:
        return of_bytes(kept)
    findings = store.findings()
    ledger = sighted(PrecisionLedger(), _met_by_findings(findings, everything))
    claims = [*by_findings(findings), *by_families(ledger, everything, at)]
    claims += [*by_allow_list(ledger, everything.allow, at), *_acquitted(store, findings)]
    return weighed(judged(ledger, claims), at)[0]


def _met_by_findings(findings: Iterable[Finding], everything: IndicatorSet) -> list[Met]:
    """The listings that the matches among the findings rest on, each finding counted once."""
    matches = [f for f in findings if f.detector == "intel_match" and f.peer is not None]
    peers = [f.peer for f in matches if f.peer is not None and _by_address(f)]
    names = [str(f.evidence["indicator"]) for f in matches if not _by_address(f)]
    by_about: dict[str, list[Met]] = {}
    for about, those in _pairs(peers, names, replace(everything, allow=EMPTY), None):
        by_about.setdefault(about, []).append(those)
    return [
        each._replace(at=f.last_seen)
        for f in matches
        for each in by_about.get(str(f.peer) if _by_address(f) else str(f.evidence["indicator"]), ())
        if each.feed in f.feeds
    ]


def _used(observations: Iterable[Observation]) -> tuple[list[str], list[str]]:
    """The peers that were talked to, and the names that were used."""
    those = list(observations)
    names = {n.name for observation in those for n in observation.names if n.kind != "alert"}
    return sorted({c.peer for observation in those for c in observation.conversations}), sorted(names)


def _met(peers: Sequence[str], names: Sequence[str], intel: IndicatorSet, at: int) -> list[Met]:
    """The listings in force at `at` (µs) that cover these, each once for a peer or a name."""
    return [those for _, those in _pairs(peers, names, intel, at)]


def _pairs(
    peers: Sequence[str], names: Sequence[str], intel: IndicatorSet, at: int | None
) -> Iterator[tuple[str, Met]]:
    """Each peer and name with each listing that covers it."""
    if not peers and not names:
        return
    addresses = intel.match_addresses(pl.Series(peers, dtype=pl.String), at)
    used = intel.match_names(pl.Series(names, dtype=pl.String), at)
    for key, pairs in (("peer", addresses), ("name", used)):
        listed = intel.table.select("feed", "value")[pairs["indicator"]]
        for about, feed, value in zip(pairs[key], listed["feed"], listed["value"], strict=True):
            yield about, Met(feed, value, about if key == "peer" else "", at or 0)


def _acquitted(store: Store, findings: Sequence[Finding]) -> list[Claim]:
    """What the acquittals in the personas' histories say of the findings before them."""
    of_vm: dict[VmId, list[Finding]] = {}
    for f in findings:
        of_vm.setdefault(f.vm, []).append(f)
    words = EDITS["acquit"][1]
    return [
        claim
        for vm, those in sorted(of_vm.items())
        for version in store.history(vm)
        if version.why == words
        for claim in by_person(
            [f for f in those if f.judged_at <= version.at], f"{vm} was acquitted", version.at, right=False
        )
    ]


def _by_address(finding: Finding) -> bool:
    return finding.evidence.get("via", "address") == "address"
