"""What an address and a service port say of themselves: inside or outside, one or many, usual or not."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network

# Services that ordinary clients and servers use across the Internet; a port outside says little, one inside says less.
USUAL_PORTS = frozenset(
    {
        20, 21, 22, 25, 37, 43, 53, 67, 68, 80, 88, 110, 119, 123, 137, 138, 139, 143, 161, 179, 389, 443, 445, 465,
        500, 514, 546, 547, 563, 587, 636, 853, 873, 902, 989, 990, 993, 995, 1194, 1701, 1723, 1812, 1883, 1900,
        2049, 3128, 3306, 3389, 3478, 3479, 3480, 4244, 4500, 5060, 5061, 5222, 5223, 5228, 5229, 5230, 5242, 5269,
        5349, 5353, 5355, 5432, 5671, 5672, 5900, 5938, 6379, 6568, 7070, 8008, 8009, 8883, 9418, 11371,
        19302, 27017, 51820,
    }
)  # fmt: skip

WEB_PORTS = frozenset({80, 443})
ALTERNATIVE_PORTS = frozenset({8000, 8080, 8081, 8443, 8888})  # second choices for the web

ORDINARY_PORTS = frozenset({53, 80, 123, 443, 993, 8080})  # what nearly all calls to the outside go to

# Asked regularly because that is what they are for.
PERIODIC_PORTS = frozenset({53, 67, 68, 123, 137, 138, 161, 179, 514, 546, 547, 853, 1812, 1900, 3702, 5353, 5355})


_PRIVATE = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        "::/127", "fc00::/7", "fe80::/10",
    )
)  # fmt: skip
_MAYBE_PRIVATE = frozenset({"0", "10", "100", "127", "169", "172", "192"})  # first bytes


@lru_cache(maxsize=1 << 12)  # of those that are asked for in a row; a day brings ever new ones
def scope(address: str) -> str:
    """Where an address lies: "public", "private" (link-local and unspecified too) or "many" (multicast, broadcast).

    Ranges reserved for documentation and tests count as public: that is what they stand for.
    """
    head = address.partition(".")[0]
    if head.isdecimal() and head not in _MAYBE_PRIVATE and len(head) <= 3 and int(head) < 224:
        return "many" if address.endswith(".255") else "public"
    try:
        parsed = ip_address(address)
    except ValueError:
        return "private"
    if parsed.is_multicast or address.endswith(".255"):
        return "many"
    return "private" if any(parsed in network for network in _PRIVATE) else "public"


def usual(port: int) -> bool:
    """Whether a service on this port is nothing special: well known, or one of the game and call ranges."""
    return port in USUAL_PORTS or 27000 <= port <= 27050 or 3074 <= port <= 3076


@lru_cache(maxsize=1 << 12)
def near(one: str, other: str) -> bool:
    """Whether two addresses share a site: the same /16 of IPv4 or /48 of IPv6."""
    try:
        a, b = ip_address(one), ip_address(other)
    except ValueError:
        return False
    if a.version != b.version:
        return False
    shift = 16 if a.version == 4 else 80
    return int(a) >> shift == int(b) >> shift
