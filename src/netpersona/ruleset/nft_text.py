"""The only place where values become nft syntax.

Outside text never becomes nft text: names are rebuilt from an allow-list alphabet and bounded, numbers are printed
from integers, addresses are parsed and printed again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2s
from ipaddress import ip_address, ip_network

PROTOCOL_NUMBERS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51, "icmp6": 58,
    "ospf": 89, "sctp": 132, "udplite": 136,
}  # fmt: skip
"""IANA's assigned internet protocol numbers, by the keywords that rules and flows use."""

MAX_COMMENT = 120  # bytes; nft's own limit is 128
_FOREIGN = re.compile(r"[^A-Za-z0-9_./@:+ -]")


def plain(text: str) -> str:
    """Free text reduced to letters, digits and `_ . / @ : + -`, other signs as `_`, at most 120 bytes."""
    return _FOREIGN.sub("_", text)[:MAX_COMMENT]


def comment(text: str) -> str:
    """`comment "..."` with free text made harmless."""
    return f'comment "{plain(text)}"'


@lru_cache(maxsize=1 << 10)  # 1,000 VMs with 20 policies have 130
def identifier(*parts: str) -> str:
    """A name for a chain or a limit that no other parts give: the last part is told by a hash where it is free text."""
    *stem, last = parts
    digest = blake2s(last.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()
    slug = re.sub(r"[^A-Za-z0-9]+", "_", last)[:40].strip("_")
    return ".".join([*stem, f"{slug}_{digest}" if slug else digest])


def protocols(names: Iterable[str]) -> str:
    """`meta l4proto ...` for transports by keyword or number; empty where IANA knows none of them."""
    numbers = sorted({number for name in names if (number := protocol_number(name)) is not None})
    return f"meta l4proto {one_of(map(str, numbers))}" if numbers else ""


def protocol_number(name: str) -> int | None:
    """The protocol's number; None where the name means nothing."""
    if name.isascii() and name.isdigit() and int(name) < 256:
        return int(name)
    return PROTOCOL_NUMBERS.get(name)


def port_ranges(ranges: Iterable[tuple[int, int]]) -> str:
    """Inclusive port ranges as a set of nft."""
    return one_of(f"{int(low)}" if low == high else f"{int(low)}-{int(high)}" for low, high in ranges)


def one_of(members: Iterable[str]) -> str:
    """A single value as itself, more as an anonymous set.  For members that are nft text already."""
    found = list(members)
    return found[0] if len(found) == 1 else "{ " + ", ".join(found) + " }"


@lru_cache(maxsize=1 << 12)  # 1,000 VMs have 3,000 of their own
def address(text: str) -> str:
    """An address, printed again from its parsed value.  Raises ValueError."""
    return str(ip_address(text))


def peers(values: Iterable[str]) -> str:
    """Addresses and prefixes (disjoint) as one value or an anonymous set.  Raises ValueError."""
    return one_of(str(ip_network(value)) if "/" in value else address(value) for value in values)
