"""Names that are too long for a host's (RFC 1035: 253 characters), and yet were sent.

A name's end says whose it is.  So it loses its middle and not its end: else whoever pads a name would hide it from what
lists its domain.  The mark stands out and is made of a name's own letters, so that the rest can be read as a name.
"""

from __future__ import annotations

import re

LONGEST = 253  # characters
TOO_LONG = r"(?s)^(.{60}).{8,}(.{186})$"  # for polars and for `re` alike
MARK = "--cut--"

_TOO_LONG = re.compile(TOO_LONG)


def shortened(name: str) -> str:
    """The name, or, where it is too long, its two ends."""
    return _TOO_LONG.sub(rf"\1{MARK}\2", name) if len(name) > LONGEST else name
