"""How a place on the Web is asked, and how much it may answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from netpersona.adapters.feeds.secrets import Credentials

LARGEST = 256 << 20  # bytes, unless a feed is told otherwise


@dataclass(frozen=True, slots=True)
class Access:
    """How a place on the Web is asked."""

    credentials: Credentials = field(default_factory=Credentials)
    ca: Path | None = None  # the only authorities that are believed, instead of the public ones
    verify: bool = True  # False: any certificate is believed


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one fetch may bring, and how long it may take."""

    largest: int = LARGEST  # bytes after decompression, of all answers together
    total: float = 300.0  # s
    stall: float = 30.0  # s without a byte
