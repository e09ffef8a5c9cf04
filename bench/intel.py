"""Speed of intelligence on one core, each figure beside a plain way to do the same in the same run.

    look-ups   10 M random addresses, and 10 M listed ones, against 1 M listings (900,000 addresses, 100,000 /24)
    import     a plain list of 1 M lines, from bytes to the merged set
    resolve    every address and network below a threshold
    gate       what the warning lists add to it, and how much of random addresses they speak of
    families   what finding out who copies whom adds to a merge
    churn      1 % of the listings change, as one feed and as ten: from the feeds' bytes to what a kernel's set gains
               and loses; the kernel's own part is measured by bench/nftables.py

Run: .venv/bin/python bench/intel.py [listings] [look-ups]
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"  # before polars is imported

import resource
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from netpersona.adapters.warning_lists import warning_lists
from netpersona.intel.families import with_families
from netpersona.intel.feed import FeedSettings, FeedSnapshot, parse
from netpersona.intel.gate import Protected, refuse
from netpersona.intel.indicators import IndicatorSet

T = TypeVar("T")
AT = 1_700_000_000_000_000
SAMPLE = 200_000  # addresses given to the ways that are slow


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    listings, count = (int(text) for text in (*sys.argv[1:], "1000000", "10000000")[:2])
    rng = np.random.default_rng(7)
    starts = rng.integers(0x0B000000, 0xDF000000, listings, dtype=np.uint32)
    content = feed_text(starts)
    snapshot, _ = timed(
        f"import of {listings:,} lines", lambda: parse(content, FeedSettings("bench")), listings, "lines"
    )
    print(f"{'':52}peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB, the list itself included")
    intel, _ = timed("merge", lambda: IndicatorSet.merge([snapshot]), listings, "indicators")
    random = rng.integers(0, 2**32, count, dtype=np.uint32)
    listed = starts[rng.integers(0, listings, count)]
    timed("first look-up (builds the bitmap)", lambda: intel.listed(random), count, "look-ups")
    for name, peers in (("random", random), ("listed", listed)):
        look_ups(name, intel, snapshot, peers)
    timed("below(0.5)", lambda: intel.below(0.5, AT), listings, "indicators")
    gates(snapshot)
    timed("families", lambda: with_families(intel.table, ()), listings, "indicators")
    for feeds in (1, 10):
        churn(starts, feeds)


def feed_text(starts: npt.NDArray[np.uint32]) -> bytes:
    """A plain list: every tenth line is a /24."""
    lines = [
        f"{ip_address(n & ~255)}/24" if place % 10 == 0 else str(ip_address(n))
        for place, n in enumerate(starts.tolist())
    ]
    return "\n".join(lines).encode()


def look_ups(name: str, intel: IndicatorSet, snapshot: FeedSnapshot, peers: npt.NDArray[np.uint32]) -> None:
    """Ours, numpy's binary search over the same intervals, and a set of addresses and of /24s asked one by one."""
    ours, speed = timed(f"look-ups, {name}", lambda: intel.listed(peers), len(peers), "look-ups")
    flat = intel._addresses.v4  # noqa: SLF001 (the same intervals for the reference)
    search = flat._searched  # noqa: SLF001 (what few look-ups use)
    found, plain = timed("  numpy.searchsorted over the intervals", lambda: search(peers), len(peers), "look-ups")
    assert (ours == found).all()
    sample = peers[:SAMPLE].tolist()
    known = set(snapshot.indicators["value"].to_list())
    one, slow = timed(
        "  one by one in a Python set", lambda: [one_by_one(known, n) for n in sample], SAMPLE, "look-ups"
    )
    assert one == ours[:SAMPLE].tolist()
    print(f"{'':52}{speed / plain:.1f} × numpy.searchsorted, {speed / slow:.0f} × one by one")


def gates(snapshot: FeedSnapshot) -> None:
    """The gate without and with the bundled warning lists."""
    protected = Protected(lists=warning_lists(None))
    count = snapshot.indicators.height
    _, bare = timed("gate", lambda: refuse(snapshot), count, "indicators")
    found, listed = timed("gate with warning lists", lambda: refuse(snapshot, protected), count, "indicators")
    print(f"{'':52}{bare / listed:.2f} × the time; {found.refused_total / count:.1%} refused")


def churn(starts: npt.NDArray[np.uint32], feeds: int) -> None:
    """One hour: each feed is read again with 1 % of its listings changed, and all sets are made anew after each."""
    rng = np.random.default_rng(8)
    parts = np.array_split(np.unique(starts & np.uint32(0xFFFFFF00)), feeds)  # one address of each /24: no networks
    said = [feed_of(f"feed-{n}", part) for n, part in enumerate(parts)]
    before = IndicatorSet.merge(said).below(0.5, AT)
    fresh = [np.where(rng.random(len(part)) < 0.005, part + np.uint32(1), part) for part in parts]
    texts = [plain(part) for part in fresh]
    spent, changed = 0.0, 0
    for n, text in enumerate(texts):
        begin = time.process_time()
        said[n] = refuse(parse(text, FeedSettings(f"feed-{n}")))
        after = IndicatorSet.merge(said).below(0.5, AT)
        gone, new = set(before.addresses).difference(after.addresses), set(after.addresses).difference(before.addresses)
        spent += time.process_time() - begin
        changed, before = changed + len(gone) + len(new), after
    total = sum(map(len, parts))
    name = f"churn of {changed / total:.1%} of {total:,}, {feeds} feeds"
    print(f"{name:42}{spent:8.2f} s an hour: {spent / 36:.2f} % of a core")


def feed_of(name: str, numbers: npt.NDArray[np.uint32]) -> FeedSnapshot:
    return refuse(parse(plain(numbers), FeedSettings(name)))


def plain(numbers: npt.NDArray[np.uint32]) -> bytes:
    return "\n".join([str(ip_address(n)) for n in numbers.tolist()]).encode()


def one_by_one(known: set[str], number: int) -> bool:
    text = f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}"
    return f"{text}.{number & 255}" in known or f"{text}.0/24" in known


def timed(name: str, work: Callable[[], T], count: int, unit: str) -> tuple[T, float]:
    """The result, and how many a second of CPU time."""
    begin = time.process_time()
    result = work()
    spent = time.process_time() - begin
    print(f"{name:42}{spent:8.2f} s  {count / spent / 1e6:8.2f} M {unit} a second")
    return result, count / spent


if __name__ == "__main__":
    main()
