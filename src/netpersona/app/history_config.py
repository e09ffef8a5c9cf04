"""`history` in the configuration: where flows are kept, for how long, and how much of them at most.

history: {path: /var/lib/netpersona/flows, keep: 30d, max_size: 20GiB}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from netpersona.app.span import duration
from netpersona.errors import ConfigError
from netpersona.flow.window import DAY

if TYPE_CHECKING:
    from netpersona.adapters.history.parquet import ParquetHistory

_UNITS = {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}


class HistorySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the file."""

    path: str
    keep: str = "30d"
    max_size: str = "20GiB"


@dataclass(frozen=True, slots=True)
class HistoryPlace:
    """Where flows are kept, and how much of them."""

    path: Path
    keep: int = 30 * DAY  # µs
    most: int = 20 << 30  # bytes

    def opened(self) -> ParquetHistory:
        """The history that is there, or will be with the first flow."""
        from netpersona.adapters.history.parquet import ParquetHistory

        return ParquetHistory(self.path, self.keep, self.most)


def history_place(spec: HistorySpec, here: Path, where: str) -> HistoryPlace:
    """What was configured; a path is relative to `here`.  Raises ConfigError, which names the place `where`."""
    return HistoryPlace(
        here / spec.path,
        duration(spec.keep, f"{where}: history: keep"),
        _size(spec.max_size, f"{where}: history: max_size"),
    )


def _size(text: str, what: str) -> int:
    """A size such as 500MiB or 20GiB, in bytes.  Raises ConfigError."""
    match = re.fullmatch(r"([0-9]{1,9})\s*(B|KiB|MiB|GiB|TiB)", text.strip())
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"{what}: {text!r} is no size; write 500MiB, 20GiB or 1TiB")
    return int(match[1]) << _UNITS[match[2]]
