"""Windows: half-open, aligned spans of event time."""

from __future__ import annotations

from typing import NamedTuple

SECOND = 1_000_000  # µs
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WINDOW = 5 * MINUTE


class Window(NamedTuple):
    """Event time from `start` up to, but not with, `end`; both µs since the epoch."""

    start: int
    end: int


def window_of(at: int, length: int = WINDOW) -> Window:
    """The aligned window that holds the instant `at` (µs)."""
    start = at - at % length
    return Window(start, start + length)
