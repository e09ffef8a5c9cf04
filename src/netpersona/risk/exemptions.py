"""Which risk terms do not count, since when, until when, and why.

    an allow-entry    that covers the peer of a term, or all names that it is about
    feeds             that a term wholly rests on, all of them log-only
    listings          of those feeds that a person refuted; for what was seen up to then

The terms stay in the ledger: each is marked with its exemption, and counts again when that is over, as far as it has
not faded.  An exemption holds from the instant at which somebody said so, so the score of an earlier instant is what it
was; those that are over are kept for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from msgspec.structs import replace

from netpersona.flow.window import window_of
from netpersona.flow.words import minute
from netpersona.intel.allow import AllowEntry
from netpersona.intel.covering import Covering
from netpersona.intel.precision import By, PrecisionLedger
from netpersona.persona.model import Exempt, Persona, RiskTerm

ALLOW, FEED, LISTING = "allow", "feed", "listing"
OVER_KEPT = 10_000
_REMEMBERED = 50_000  # subjects of terms

_Subject = tuple[str | None, tuple[str, ...], tuple[str, ...]]  # peer, names, feeds


class Exemption(NamedTuple):
    """One reason why terms do not count."""

    kind: str  # ALLOW | FEED | LISTING
    value: str  # what the entry or the listing is about; a feed's name
    feed: str  # of a listing; else empty
    since: int  # µs
    until: int | None  # µs, exclusive; None: until it is taken back
    raised: int | None  # only terms that were raised by then; None: all
    why: str

    def holds(self, at: int) -> bool:
        """Whether it holds at the instant `at` (µs)."""
        return self.since <= at and (self.until is None or at < self.until)


_Reasons = tuple[tuple[tuple[Exemption, ...], ...], ...]  # alternatives; of one, each of its parts must be exempt


@dataclass(frozen=True)
class Exemptions:
    """All exemptions that hold, and those that are over."""

    held: tuple[Exemption, ...] = ()

    def followed(self, present: Iterable[Exemption], at: int) -> Exemptions:
        """The exemptions where these hold at `at` (µs), and no others; the same object where that changes nothing.

        One that held before keeps its beginning; one that holds no more ends now.
        """
        wanted = {_key(each): each for each in present if each.until is None or at < each.until}
        known = {_key(each) for each in self.held if each.until is None or at < each.until}
        if wanted.keys() == known:
            return self
        over, going_on = [], [wanted[key] for key in wanted.keys() - known]
        for each in self.held:
            if each.until is not None and each.until <= at:
                over.append(each)
            elif _key(each) in wanted:
                going_on.append(each)
            elif each.since < at:
                over.append(each._replace(until=at))
        over.sort(key=lambda each: (each.until or 0, _key(each)[:3]))
        return Exemptions(
            (*over[-OVER_KEPT:], *sorted(going_on, key=lambda each: (*_key(each)[:3], each.since, each.why)))
        )

    def on(self, terms: Sequence[RiskTerm], at: int) -> tuple[RiskTerm, ...]:
        """The terms, each marked with what exempts it at `at` (µs), if anything does."""
        return tuple(self._marked(term, at) for term in terms)

    def on_persona(self, persona: Persona, at: int) -> Persona:
        """The persona, its terms marked; the same object where nothing changed."""
        marked = self.on(persona.risk_ledger, at)
        return persona if marked == persona.risk_ledger else replace(persona, risk_ledger=marked)

    def next_end(self, at: int) -> int | None:
        """The next instant (µs) after `at` at which one of them ends; None: never."""
        return min((each.until for each in self.held if each.until is not None and each.until > at), default=None)

    def _marked(self, term: RiskTerm, at: int) -> RiskTerm:
        found = self._exempt(term, at) if self.held else None
        return term if found == term.exempt else replace(term, exempt=found)

    def _exempt(self, term: RiskTerm, at: int) -> Exempt | None:
        """What exempts the term for the longest: its peer's entry, or those of all its names, or all its feeds'."""
        found = []
        for reasons in self._about(term):
            best = [min((e for e in each if _speaks(e, term, at)), key=_lasting, default=None) for each in reasons]
            those = [e for e in best if e is not None]
            if those and len(those) == len(best):
                ends = [e.until for e in those if e.until is not None]
                why = "; ".join(dict.fromkeys(e.why for e in those))
                found.append(Exempt(max(e.since for e in those), min(ends, default=None), why))
        return min(found, key=_lasting, default=None)

    def _about(self, term: RiskTerm) -> _Reasons:
        """Every exemption of whatever time that is about this term: by its peer, by each name, by each feed."""
        subject = (None if term.relayed else term.peer, term.names, term.feeds)
        if subject not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[subject] = self._search(*subject)
        return self._known[subject]

    def _search(self, peer: str | None, names: tuple[str, ...], feeds: tuple[str, ...]) -> _Reasons:
        about = names if peer is None else (peer, *names)
        against = (
            (*self._feeds.get(feed, ()), *(each for value in about for each in self._refuted_of(feed, value)))
            for feed in feeds
        )
        by_peer = () if peer is None else (tuple(self._allowed.of(peer)),)
        return by_peer, tuple(tuple(self._allowed.of(name)) for name in names), tuple(against)

    def _refuted_of(self, feed: str, value: str) -> Iterable[Exemption]:
        covering = self._refuted.get(feed)
        return () if covering is None else covering.of(value)

    @cached_property
    def _known(self) -> dict[_Subject, _Reasons]:
        return {}

    @cached_property
    def _allowed(self) -> Covering[Exemption]:
        return Covering((each.value, each) for each in self.held if each.kind == ALLOW)

    @cached_property
    def _feeds(self) -> dict[str, list[Exemption]]:
        found: dict[str, list[Exemption]] = {}
        for each in self.held:
            if each.kind == FEED:
                found.setdefault(each.value, []).append(each)
        return found

    @cached_property
    def _refuted(self) -> dict[str, Covering[Exemption]]:
        found: dict[str, list[Exemption]] = {}
        for each in self.held:
            if each.kind == LISTING:
                found.setdefault(each.feed, []).append(each)
        return {feed: Covering((each.value, each) for each in those) for feed, those in found.items()}


NONE = Exemptions()


def of_allow_entry(entry: AllowEntry, at: int) -> Exemption:
    """What an allow-entry exempts from `at` (µs) on."""
    author = f"; {entry.author}" if entry.author else ""
    until = "" if entry.until is None else f"; until {minute(entry.until)}"
    why = f"the allow-entry {entry.value} covers what it is about ({entry.comment}{author}{until})"
    return Exemption(ALLOW, entry.value, "", at, entry.until, None, why)


def of_ledger(ledger: PrecisionLedger, window: int) -> list[Exemption]:
    """What the feeds' ledger exempts: by feeds that are log-only, and by listings that a person refuted.

    A person speaks of what was seen up to then, and of the rest of that window (µs long), which is judged as a whole.
    """
    found = []
    for feed, record in sorted(ledger.feeds.items()):
        if record.log_only_since is not None:
            why = f"feed {feed} is log-only since {minute(record.log_only_since)}, below its floor"
            found.append(Exemption(FEED, feed, "", record.log_only_since, None, None, why))
        for value, seen in sorted(record.listings.items()):
            said = seen.verdict
            if said is not None and not said.right and said.by == By.PERSON:
                why = f"a person refuted {value} of feed {feed} on {minute(said.at)} ({said.who})"
                raised = window_of(said.at, window).end
                found.append(Exemption(LISTING, value, feed, said.at, None, raised, why))
    return found


def _key(each: Exemption) -> tuple[str, str, str, int | None, int | None, str]:
    """What is the same exemption, whenever it was noticed."""
    return each.kind, each.value, each.feed, each.until, each.raised, each.why


def _speaks(each: Exemption, term: RiskTerm, at: int) -> bool:
    return each.holds(at) and (each.raised is None or term.at <= each.raised)


def _lasting(each: Exemption | Exempt) -> tuple[bool, int]:
    """The one without an end first, then by how late it ends."""
    return each.until is not None, -(each.until or 0)
