"""What happens to the precision ledger: what was met, who says that it was right or wrong, and what a store can tell.

The live loop keeps the ledger and calls `turned` for each batch of windows that closed.  Of a replay nothing is kept;
`of_store` makes the ledger from the findings that it left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import polars as pl

from netpersona.app.answers.personas import EDITS
from netpersona.flow.vm import VmId
from netpersona.intel.indicators import EMPTY, IndicatorSet
from netpersona.intel.precision import (
    USUAL,
    By,
    Claim,
    Met,
    Notice,
    PrecisionLedger,
    Standards,
    judged,
    sighted,
    weighed,
)
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
    standards: Standards = USUAL,
) -> tuple[PrecisionLedger, tuple[Notice, ...]]:
    """The ledger after windows that closed, with the findings made in them, and what to tell of it.

    `everything`: what all feeds say, those that are log-only with them.
    """
    _, watched = everything.split(ledger.log_only)
    ledger = sighted(ledger, [*met(closed), *met_of(closed, watched), *overruled(closed, everything)])
    claims = [*by_findings(findings), *by_families(ledger, everything, at)]
    ledger = judged(ledger, [*claims, *by_allow_list(ledger, everything.allow, at)])
    return weighed(ledger, at, standards)


def met(observations: Iterable[Observation]) -> list[Met]:
    """The listings that windows met; the host of a listed URL alone is no meeting with it."""
    return [
        Met(s.indicator.feed, s.indicator.value, s.peer if s.via == "address" else "", s.last)
        for observation in observations
        for s in observation.sightings
        if not s.via.endswith("-host")
    ]


def met_of(observations: Iterable[Observation], watched: IndicatorSet) -> list[Met]:
    """The listings of `watched` that windows met and no sighting tells of."""
    found: list[Met] = []
    for at, peers, names in _used(observations) if len(watched) else ():
        found += _told(watched.match_addresses(peers, at), watched.match_names(names, at), watched, at)
    return found


def overruled(observations: Iterable[Observation], everything: IndicatorSet) -> list[Met]:
    """The listings that windows met and that an allow-list overrules, so that no sighting tells of them."""
    found: list[Met] = []
    for at, peers, names in _used(observations) if everything.allow.entries else ():
        found += _told(*everything.overruled(peers, names, at), everything, at)
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
        if f.kind == "intel_match"
        for feed in f.feeds
        for about in sorted({_about(f), str(f.evidence.get("indicator", ""))} - {""})
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
    bare = replace(everything, allow=EMPTY)
    matches = [(f, _about(f)) for f in findings if f.kind == "intel_match"]
    about = pl.Series([each for _, each in matches], dtype=pl.String)
    pairs = [bare.match_addresses(about).rename({"peer": "about"}), bare.match_names(about).rename({"name": "about"})]
    listed: dict[str, list[tuple[str, str]]] = {}
    for each, feed, value in _listed(pl.concat(pairs), bare):
        listed.setdefault(each, []).append((feed, value))
    return [
        Met(feed, value, each if _by_address(f) else "", f.last_seen)
        for f, each in matches
        for feed, value in listed.get(each, ())
        if feed in f.feeds
    ]


def _used(observations: Iterable[Observation]) -> Iterator[tuple[int, pl.Series, pl.Series]]:
    """The end of each window, with the peers that were talked to and the names that were used in it."""
    windows: dict[int, tuple[set[str], set[str]]] = {}
    for observation in observations:
        peers, names = windows.setdefault(observation.window.end, (set(), set()))
        peers.update(c.peer for c in observation.conversations)
        names.update(n.name for n in observation.names if n.kind != "alert")
    for at, (peers, names) in sorted(windows.items()):
        yield at, pl.Series(sorted(peers), dtype=pl.String), pl.Series(sorted(names), dtype=pl.String)


def _told(addresses: pl.DataFrame, names: pl.DataFrame, intel: IndicatorSet, at: int) -> Iterator[Met]:
    """What was met, of (peer, indicator) and (name, indicator)."""
    for peer, feed, value in _listed(addresses, intel):
        yield Met(feed, value, peer, at)
    for _, feed, value in _listed(names, intel):
        yield Met(feed, value, "", at)


def _listed(pairs: pl.DataFrame, intel: IndicatorSet) -> Iterator[tuple[str, str, str]]:
    """Each first column of the pairs, with the feed and the value of its indicator."""
    rows = intel.table.select("feed", "value")[pairs["indicator"]]
    return zip(pairs.to_series(0), rows["feed"], rows["value"], strict=True)


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


def _about(finding: Finding) -> str:
    """The peer or the listed name that a match is about; empty where it says neither."""
    return finding.peer or "" if _by_address(finding) else str(finding.evidence.get("indicator", ""))


def _by_address(finding: Finding) -> bool:
    return finding.evidence.get("via", "address") == "address"
