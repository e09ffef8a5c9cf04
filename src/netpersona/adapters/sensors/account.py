"""An account of one file in the making, while a sensor reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

from netpersona.flow.account import SourceAccount

__all__ = ["SourceAccount", "Tally", "add_reasons"]


@dataclass(slots=True)
class Tally:
    """A SourceAccount in the making: what has been read of one file so far."""

    path: str
    format: str
    flows: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None

    def skip(self, reasons: dict[str, int]) -> None:
        """Add records that could not be read, by reason."""
        add_reasons(self.skipped, reasons)

    def use(self, rows: int, first: int | None, last: int | None) -> None:
        """Add records that were used, with the earliest and the latest of their starts (µs)."""
        self.flows += rows
        if first is not None:
            self.first = first if self.first is None else min(self.first, first)
        if last is not None:
            self.last = last if self.last is None else max(self.last, last)

    def account(self) -> SourceAccount:
        """What the report will say."""
        reasons = dict(sorted(self.skipped.items()))
        return SourceAccount(self.path, self.format, self.flows, reasons, self.first, self.last)


def add_reasons(total: dict[str, int], more: dict[str, int]) -> None:
    """Add one count by reason to another, in place."""
    for reason, count in more.items():
        total[reason] = total.get(reason, 0) + count
