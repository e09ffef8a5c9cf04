"""Instants for machines: RFC 3339, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at: int | None) -> str | None:
    """An instant (µs since the epoch) such as 2026-01-31T12:00:00.5Z, exact; None of none, or beyond the calendar."""
    if at is None:
        return None
    try:
        text = (_EPOCH + timedelta(microseconds=at)).replace(tzinfo=None).isoformat()
    except OverflowError:
        return None
    return (text.rstrip("0") if "." in text else text) + "Z"
