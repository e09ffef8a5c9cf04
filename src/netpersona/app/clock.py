"""Instants for people."""

from __future__ import annotations

from datetime import UTC, datetime


def clock(at: int | None) -> str:
    """An instant (µs) for a person: UTC to the second; beyond the calendar, its seconds since the epoch."""
    if at is None:
        return "-"
    try:
        return datetime.fromtimestamp(at / 1e6, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{at / 1e6:.0f} s"
