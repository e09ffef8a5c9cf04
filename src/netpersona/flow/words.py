"""Counts and instants in words."""

from __future__ import annotations

from datetime import UTC, datetime


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: 1 flow, 1,234 flows; `plural` where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def minute(at: int) -> str:
    """An instant (µs) to the minute: 2026-01-31 12:00 UTC; beyond the calendar its seconds since the epoch."""
    try:
        return datetime.fromtimestamp(at / 1e6, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{at / 1e6:.0f} s"
