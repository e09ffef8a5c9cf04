"""What the report says of one file that a sensor read."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SourceAccount:
    """One file's line in the report's `input.sources`.

    `flows` counts the records used: flows, or for an application's log (dns, http, ...) its rows.
    `skipped` counts the records that could not be read, by reason.  `first` and `last` are the earliest
    and the latest start, in µs since the epoch; None where nothing was used.  `notes` are sentences on what
    the records stand for, such as that the source was sampled.
    """

    path: str
    format: str
    flows: int
    skipped: dict[str, int] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None
    notes: tuple[str, ...] = ()
