"""How often each feed is right here, and which feed is only written down.

A sighting is a listing that was met here.  Each listing that was met may get one verdict, right or wrong, by the
strongest that speaks of it:

    a person        who acquits a VM, or says that a listing is right or wrong
    an allow-list   that covers it: the operator needs what the feed calls bad
    a finding       of a detector that knows no feeds, about the same peer: the listing was right
    a family        of other feeds that lists the same: right, but for half, as feeds err together

Of a feed's verdicts, each fading with HALF_LIFE, come its precision, right / (right + wrong), and the interval in which
it lies (Wilson's, at 90 %: E. B. Wilson, JASA 22 (1927); L. Brown, T. Cai, A. DasGupta, Statistical Science 16 (2001)).
A feed whose whole interval is below its floor, by `least` verdicts or more, is demoted to log-only: it lowers no
reputation, makes no risk and gives the kernel nothing, but what it lists is still sighted and judged.  It counts again
when its interval reaches MARGIN above the floor: by new verdicts, or because the old ones have faded.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

from netpersona.flow.window import DAY

FLOOR = 0.5  # precision, unless a feed is told otherwise
MARGIN = 0.1
LEAST = 5.0  # verdicts, by weight, unless a feed is told otherwise
LEAST_MOST = 1000.0  # as many listings of a feed are remembered
HALF_LIFE = 60 * DAY  # µs: what a feed was right about long ago says less of it now
LISTINGS_KEPT = 1000  # of one feed: of more the last ones that were met
FEEDS_KEPT = 1000
_PEERS_KEPT = 8
_Z = 1.6449  # the normal quantile of a two-sided interval of 90 %


class By(IntEnum):
    """Whose verdict it is, the weaker first."""

    FAMILY = 1
    FINDING = 2
    ALLOW_LIST = 3
    PERSON = 4

    @property
    def weight(self) -> float:
        """What the verdict counts."""
        return 0.5 if self is By.FAMILY else 1.0


class Met(NamedTuple):
    """One listing of a feed was met here, once in a window."""

    feed: str
    value: str  # of the listing
    peer: str  # the address that was talked to; empty where a name was used
    at: int  # µs


class Claim(NamedTuple):
    """Somebody says that a listing is right or wrong."""

    about: str  # the listing's value, or the peer by which it was met
    right: bool
    by: By
    at: int  # µs
    who: str  # in words
    feed: str | None = None  # None: whichever lists it


class Verdict(NamedTuple):
    """What holds of a listing."""

    right: bool
    by: By
    at: int  # µs
    who: str


class Seen(NamedTuple):
    """One listing that was met here."""

    first: int  # µs
    last: int  # µs
    times: int  # windows and peers
    peers: tuple[str, ...]  # sorted, the alphabetically first
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one feed."""

    sightings: int = 0  # ever
    listings: Mapping[str, Seen] = field(default_factory=dict)  # by value
    log_only_since: int | None = None  # µs; None: the feed counts


class Standard(NamedTuple):
    """What a feed is held to."""

    floor: float = FLOOR  # precision; 0 demotes never
    least: float = LEAST  # verdicts, by weight, before it can be demoted


@dataclass(frozen=True, slots=True)
class Standards:
    """What every feed is held to."""

    usual: Standard = field(default_factory=Standard)
    feeds: Mapping[str, Standard] = field(default_factory=dict)  # those that are held to another one

    def of(self, feed: str) -> Standard:
        """What this feed is held to."""
        return self.feeds.get(feed, self.usual)


USUAL = Standards()


class Estimate(NamedTuple):
    """A feed's precision here; None where nothing was judged."""

    right: float  # verdicts, by weight
    wrong: float
    precision: float | None
    low: float
    high: float


class Notice(NamedTuple):
    """A feed was demoted, or counts again."""

    feed: str
    log_only: bool
    words: str


@dataclass(frozen=True)
class PrecisionLedger:
    """What is known of every feed that was met here."""

    feeds: Mapping[str, Record] = field(default_factory=dict)

    @property
    def log_only(self) -> frozenset[str]:
        """The feeds that are demoted."""
        return frozenset(name for name, record in self.feeds.items() if record.log_only_since is not None)


def sighted(ledger: PrecisionLedger, met: Iterable[Met]) -> PrecisionLedger:
    """The ledger with what was met in windows that are over; each window is told once."""
    by_feed: dict[str, list[Met]] = {}
    for each in sorted(met):
        by_feed.setdefault(each.feed, []).append(each)
    feeds = dict(ledger.feeds)
    for name, those in by_feed.items():
        if name in feeds or len(feeds) < FEEDS_KEPT:
            feeds[name] = _met(feeds.get(name, Record()), those)
    return PrecisionLedger(feeds)


def judged(ledger: PrecisionLedger, claims: Iterable[Claim]) -> PrecisionLedger:
    """The ledger with what is claimed of listings that were met; of others nothing is kept."""
    ordered = sorted(claims, key=lambda each: (each.at, each.by, each.about, each.right, each.who, each.feed or ""))
    places = _places(ledger, {claim.about for claim in ordered})
    changed: dict[str, dict[str, Seen]] = {}
    for claim in ordered:
        for feed, value in places.get(claim.about, ()):
            listings = changed.get(feed) or dict(ledger.feeds[feed].listings)
            if claim.feed in {None, feed} and _prevails(claim, listings[value].verdict):
                verdict = Verdict(claim.right, claim.by, claim.at, claim.who)
                listings[value] = listings[value]._replace(verdict=verdict)
                changed[feed] = listings
    fresh = {feed: replace(ledger.feeds[feed], listings=listings) for feed, listings in changed.items()}
    return PrecisionLedger({**ledger.feeds, **fresh})


def estimate(record: Record, at: int) -> Estimate:
    """The feed's precision at the instant `at` (µs)."""
    sums = {True: 0.0, False: 0.0}
    for _, seen in sorted(record.listings.items()):
        if seen.verdict is not None:
            sums[seen.verdict.right] += seen.verdict.by.weight * _faded(at - seen.verdict.at)
    right, wrong = sums[True], sums[False]
    total = right + wrong
    if total == 0:
        return Estimate(0.0, 0.0, None, 0.0, 1.0)
    return Estimate(right, wrong, right / total, *wilson(right, total))


def wilson(right: float, total: float) -> tuple[float, float]:
    """The interval of 90 % for a share of which `right` of `total` (> 0) were seen."""
    squared = _Z * _Z
    middle = (right + squared / 2) / (total + squared)
    half = _Z / (total + squared) * math.sqrt(right * (total - right) / total + squared / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def weighed(
    ledger: PrecisionLedger, at: int, standards: Standards = USUAL
) -> tuple[PrecisionLedger, tuple[Notice, ...]]:
    """The ledger with each feed demoted or counting as its precision at `at` (µs) says, and a notice of each change."""
    feeds, notices = dict(ledger.feeds), []
    for name, record in sorted(ledger.feeds.items()):
        standard = standards.of(name)
        found = estimate(record, at)
        log_only = _is_log_only(record, found, standard)
        if log_only != (record.log_only_since is not None):
            feeds[name] = replace(record, log_only_since=at if log_only else None)
            notices.append(Notice(name, log_only, _notice(name, found, standard.floor, log_only=log_only)))
    return PrecisionLedger(feeds), tuple(notices)


def in_words(found: Estimate) -> str:
    """A precision for a person: "4.5 of 6 judged listings were right: 0.75, between 0.47 and 0.91"."""
    if found.precision is None:
        return "nothing that it lists was met and judged here"
    total = found.right + found.wrong
    share = f"{found.precision:.2f}, between {found.low:.2f} and {found.high:.2f}"
    return f"{found.right:.3g} of {total:.3g} judged listings were right: {share}"


def _met(record: Record, those: Iterable[Met]) -> Record:
    listings, count = dict(record.listings), 0
    for each in those:
        count += 1
        peers = {each.peer} - {""}
        seen = listings.get(each.value, Seen(each.at, each.at, 0, ()))
        listings[each.value] = seen._replace(
            first=min(seen.first, each.at),
            last=max(seen.last, each.at),
            times=seen.times + 1,
            peers=tuple(sorted(peers.union(seen.peers))[:_PEERS_KEPT]),
        )
    if len(listings) > LISTINGS_KEPT:
        last = sorted(listings, key=lambda value: (-listings[value].last, value))[:LISTINGS_KEPT]
        listings = {value: listings[value] for value in sorted(last)}
    return replace(record, sightings=record.sightings + count, listings=listings)


def _places(ledger: PrecisionLedger, wanted: Collection[str]) -> dict[str, list[tuple[str, str]]]:
    """Where these values and peers stand in the ledger: feed and value of the listing."""
    found: dict[str, list[tuple[str, str]]] = {}
    for feed, record in ledger.feeds.items() if wanted else ():
        for value, seen in record.listings.items():
            for about in {value, *seen.peers}.intersection(wanted):
                found.setdefault(about, []).append((feed, value))
    return found


def _prevails(claim: Claim, verdict: Verdict | None) -> bool:
    """Whether a claim replaces what holds: the stronger does, of equals the later."""
    return verdict is None or (claim.by, claim.at) >= (verdict.by, verdict.at)


def _faded(age: int) -> float:
    return math.exp2(-max(age, 0) / HALF_LIFE)


def _is_log_only(record: Record, found: Estimate, standard: Standard) -> bool:
    if record.log_only_since is not None:
        return found.high < min(standard.floor + MARGIN, 1.0) and standard.floor > 0
    return found.high < standard.floor and found.right + found.wrong >= standard.least


def _notice(name: str, found: Estimate, floor: float, *, log_only: bool) -> str:
    if log_only:
        return f"feed {name} is log-only from now on, as its precision is below {floor:g}: {in_words(found)}"
    return f"feed {name} counts again, as its precision may be {floor + MARGIN:g} or more: {in_words(found)}"
