"""Whether a feed has changed so much that a person must look before it counts.

A list that lost most of its entries was cut short, or its provider is going out of business; one that grew tenfold
lists by mistake what it should not, or somebody else fills it.  Either way what it said last stays in force.
"""

from __future__ import annotations

SHRINKS_TO = 0.5  # of what it held
GROWS_TO = 10.0  # times what it held
_FROM_NOTHING = 1000  # entries that a list may come to that was empty: some are, most of the time


def reason_to_hold(before: int, after: int) -> str | None:
    """Why a feed of `before` entries that has `after` of them now is held for a person; None: it is as it should be."""
    if after < before * SHRINKS_TO:
        return f"it shrank from {before} to {after} entries, to under half"
    if after > (before * GROWS_TO if before else _FROM_NOTHING):
        return f"it grew from {before} to {after} entries, " + ("more than tenfold" if before else "out of nothing")
    return None
