"""Spans of time as people write them."""

from __future__ import annotations

import re

from netpersona.errors import ConfigError
from netpersona.flow.window import DAY, HOUR, MINUTE, SECOND

_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


def duration(text: str, what: str) -> int:
    """A span such as 90s, 5m, 1h or 7d, in µs.  Raises ConfigError."""
    match = re.fullmatch(r"([0-9]{1,9})\s*([smhd])", text.strip())
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"{what}: {text[:32]!r} is no span of time; write 90s, 5m, 1h or 7d")
    return int(match[1]) * _UNITS[match[2]]
