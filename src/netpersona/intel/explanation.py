"""Why something has its reputation: the listings that cover it, and the arithmetic in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from netpersona.intel.allow import AllowEntry
from netpersona.intel.indicator import IndicatorType
from netpersona.intel.reputation import freshness, in_force

_COLUMNS = ["value", "type", "feed", "line", "label", "category", "confidence", "freshness"]
_COLUMNS += ["valid_from", "valid_until", "family"]


@dataclass(frozen=True, slots=True)
class Listing:
    """One indicator that covers the address or name asked about, as it stands at that instant."""

    value: str
    type: IndicatorType
    feed: str
    line: int
    label: str | None
    category: str | None
    confidence: float  # 0 to 1
    freshness: float  # 0 to 1; 1 where the feed does not fade
    valid_from: int | None  # µs; None: the feed gives no date
    valid_until: int | None  # µs
    family: str
    in_force: bool  # false: expired, or not yet valid; it counts nothing

    @property
    def weight(self) -> float:
        """What the listing is worth: confidence × freshness, 0 when it is not in force."""
        return self.confidence * self.freshness if self.in_force else 0.0


@dataclass(frozen=True, slots=True)
class Explanation:
    """The listings that cover `value`, its reputation, and how the one follows from the others."""

    value: str
    reputation: float  # 0 to 1
    listings: tuple[Listing, ...]
    allowed: AllowEntry | None
    words: str

    def __iter__(self) -> Iterator[Listing]:
        return iter(self.listings)

    def __len__(self) -> int:
        return len(self.listings)


def explanation(value: str, rows: pl.DataFrame, allowed: AllowEntry | None, at: int) -> Explanation:
    """The explanation from the rows of the table of indicators that cover `value`."""
    columns = rows.with_columns(freshness(at), in_force(at).alias("in_force")).select(*_COLUMNS, "in_force")
    listings = tuple(_listing(row) for row in columns.iter_rows(named=True))
    families = _families(listings)
    reputation = 1.0
    for best in families:
        reputation *= 1.0 - best.weight
    reputation = 1.0 if allowed is not None else reputation
    return Explanation(value, reputation, listings, allowed, _words(value, reputation, listings, families, allowed))


def _listing(row: dict[str, object]) -> Listing:
    return Listing(**{**row, "type": IndicatorType(str(row["type"]))})  # type: ignore[arg-type]


def _families(listings: tuple[Listing, ...]) -> list[Listing]:
    """The weightiest listing of each family, in the order of the families' names."""
    best: dict[str, Listing] = {}
    for listing in listings:
        held = best.get(listing.family)
        if listing.in_force and (held is None or listing.weight > held.weight):
            best[listing.family] = listing
    return [best[name] for name in sorted(best)]


def _words(
    value: str, reputation: float, listings: tuple[Listing, ...], families: list[Listing], allowed: AllowEntry | None
) -> str:
    if allowed is not None:
        return f"{value} is allow-listed as {allowed.value} ({allowed.comment}), so its reputation is 1."
    if not families:
        past = f"; {len(listings)} listings are not in force" if listings else ""
        return f"No feed lists {value}, so its reputation is 1{past}."
    product = " × ".join(f"(1 - {best.weight:.3g})" for best in families)
    reasons = "; ".join(_reason(best) for best in families)
    silent = sum(listing.in_force for listing in listings) - len(families)
    copies = f" {silent} more of the same families count no further." if silent else ""
    return f"{value}: {reasons}. Reputation = {product} = {reputation:.3g}.{copies}"


def _reason(listing: Listing) -> str:
    what = listing.category or listing.label or "listed"
    worth = f"{listing.confidence:.3g}"
    if listing.freshness < 1:
        worth += f" × {listing.freshness:.3g} for its age"
    return f"{listing.feed}:{listing.line} lists {listing.value} as {what} ({worth})"
