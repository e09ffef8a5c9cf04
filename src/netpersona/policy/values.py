"""The small values of the policy language: durations, rates, ports, networks, domains, dates.

Every function reads text as an operator writes it and returns the one canonical value, or raises UnreadableError with
what is wrong and what was perhaps meant.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network

from netpersona.flow.vm import VmId, vm_id
from netpersona.policy.model import Existing, Rate
from netpersona.policy.problems import meant

SECOND = 1_000_000  # µs
LONGEST = 366 * 86_400  # seconds: nothing temporary lasts longer
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}  # in seconds
BITS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
PORTS = (1, 65_535)

_DURATION = re.compile(r"(?:\d{1,9}\s*[smhdw]\s*)+")
_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([a-z]+)(?:\s*/\s*(?:s|sec|second))?")
_PORT = re.compile(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d)?)\s*([Zz]|[+-]\d\d:\d\d)?)?")


class UnreadableError(ValueError):
    """The text is no such value: `args[0]` says why, `hint` what was perhaps meant."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def name(text: str) -> str:
    """A name of ours: lower-case letters, digits and inner hyphens, at most 63; it ends in rule comments."""
    if not _NAME.fullmatch(text):
        better = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
        hint = f"did you mean {better!r}?" if better and better != text else None
        raise UnreadableError("a name has 1 to 63 of a-z, 0-9 and '-', and neither begins nor ends with '-'", hint)
    return text


def seconds(text: str) -> int:
    """`60s`, `5m`, `1h`, `30d`, `1w`, `1h 30m` in seconds."""
    if not _DURATION.fullmatch(text):
        hint = f"did you mean '{text}s'?" if text.isdecimal() else "write for example 60s, 5m, 1h, 30d"
        raise UnreadableError("not a duration: a number and its unit (s, m, h, d, w) are expected", hint)
    total = sum(int(count) * UNITS[unit] for count, unit in re.findall(r"(\d+)\s*([smhdw])", text))
    if not 0 < total <= LONGEST:
        raise UnreadableError(f"a duration lies between 1s and {LONGEST // 86_400}d")
    return total


def existing(text: str) -> Existing:
    """`keep`, `cut`, or `drain 60s`."""
    kind, _, rest = text.partition(" ")
    if kind in ("keep", "cut") and not rest:
        return Existing(kind)
    if kind == "drain" and rest:
        return Existing("drain", seconds(rest.strip()))
    if kind == "drain":
        raise UnreadableError("drain needs a duration", "write for example 'drain 60s'")
    raise UnreadableError("not one of: keep, cut, drain 60s", meant(kind, ("keep", "cut", "drain 60s")))


def rate(text: str) -> Rate:
    """`1 mbit`, `500 kbit` (thousands, a second) or `100 packets`; a `/s` after it is allowed."""
    found = _RATE.fullmatch(text.lower())
    unit = found[2] if found else ""
    if found is None or (unit not in BITS and unit not in ("packet", "packets")):
        raise UnreadableError("not a rate: bit, kbit, mbit, gbit or packets is expected", "as in '1 mbit'")
    value = float(found[1]) * BITS.get(unit, 1)
    if not 1 <= value <= 10**12 or (unit.startswith("packet") and not value.is_integer()):
        raise UnreadableError("a rate lies between 1 bit and 1000 gbit, and packets are whole", None)
    return Rate(int(value), "bit" if unit in BITS else "packet")


def port(text: str) -> int:
    """One port, 1 to 65535."""
    if not text.isascii() or not text.isdecimal() or not PORTS[0] <= int(text[:9]) <= PORTS[1]:
        raise UnreadableError("not a port: a number from 1 to 65535 is expected")
    return int(text)


def port_range(text: str) -> tuple[int, int]:
    """`80` or `8000-8100`, inclusive."""
    found = _PORT.fullmatch(text)
    if found is None:
        raise UnreadableError("not a port: a number from 1 to 65535, or a range such as 8000-8100, is expected")
    low, high = port(found[1]), port(found[2] or found[1])
    if low > high:
        raise UnreadableError("the range ends before it begins", f"did you mean {high}-{low}?")
    return low, high


def network(text: str) -> str:
    """An address or a prefix in canonical text; one address has no prefix, IPv4-mapped IPv6 is IPv4.

    Host bits are refused, not cleared: whether 10.0.0.5/24 means the host or its network only its author knows.
    """
    try:
        found = _unmapped(ip_network(text, strict=False))
    except ValueError as error:
        raise UnreadableError("not an address or prefix", "write for example 203.0.113.7, 198.51.100.0/24") from error
    if ":" not in text and "/" in text and not text.rpartition("/")[2].isdecimal():
        raise UnreadableError("a prefix length is a number", f"did you mean {found}?")
    address = text.partition("/")[0]
    if ip_interface(address).ip != ip_network(text, strict=False).network_address:
        raise UnreadableError("the prefix has host bits set", f"did you mean {found} or {address}?")
    return str(found.network_address) if found.prefixlen == found.max_prefixlen else str(found)


def domain(text: str) -> str:
    """A domain name in lower case, as A-labels (RFC 5890), without the final dot; it stands for all below it too."""
    if text.startswith(("*.", ".")):
        raise UnreadableError("a domain stands for all names below it already", f"did you mean {text.lstrip('*.')!r}?")
    try:
        found = text.removesuffix(".").encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise UnreadableError("not a domain name") from error
    labels = found.split(".")
    if not found or len(found) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdecimal():
        hint = "write the name only, without scheme, port or path" if re.search(r"[:/]", text) else None
        raise UnreadableError("not a domain name", hint)
    return found


def peer(text: str) -> str:
    """An address, a prefix or a domain, canonical."""
    return network(text) if looks_numeric(text) or "/" in text else domain(text)


def looks_numeric(text: str) -> bool:
    """Whether the text can only be meant as an address or a prefix, not as a domain."""
    return re.fullmatch(r"[0-9./]+|[0-9a-fA-F:./]*:[0-9a-fA-F:./]*", text) is not None


def address(text: str) -> str:
    """One address in canonical text."""
    found = network(text)
    if "/" in found:
        raise UnreadableError("not one address but a prefix")
    return found


def interface_address(text: str) -> str:
    """An address with or without its network's prefix length, as an interface has it: `10.77.0.11/24`."""
    try:
        return str(ip_interface(text)) if "/" in text else str(ip_address(text))
    except ValueError as error:
        raise UnreadableError("not an interface's address", "write for example 10.77.0.11/24") from error


def vm(text: str) -> VmId:
    """The name of a VM."""
    try:
        return vm_id(text)
    except ValueError as error:
        raise UnreadableError("no name of a VM: 1 to 64 letters, digits, '_' or '-' are allowed") from error


def target(text: str) -> str:
    """Where a redirect leads: a name, an address, or an address with a port (`10.0.0.9:3128`, `[2001:db8::9]:3128`)."""
    found = re.fullmatch(
        r"\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?|([0-9.]+)(?::(\d{1,5}))?|([0-9a-fA-F:.]*:[0-9a-fA-F:.]*)", text
    )
    if found is None:
        return name(text)
    try:
        address = ip_address(found[1] or found[3] or found[5])
    except ValueError as error:
        raise UnreadableError("not an address", "write a name, an address or address:port") from error
    number = found[2] or found[4]
    if number is None:
        return str(address)
    return f"[{address}]:{port(number)}" if isinstance(address, IPv6Address) else f"{address}:{port(number)}"


def instant(text: str) -> int:
    """A date or a time with its zone in µs.  A date is the instant at which that day begins, UTC.

    So `until: 2027-06-30` holds to the end of 29 June: what ends is exclusive, as everywhere in this product.
    """
    found = _DATE.fullmatch(text)
    if found is None:
        raise UnreadableError("not a date", "write for example 2027-06-30 or 2027-06-30T12:00:00Z")
    day, clock, zone = found.groups()
    if clock is not None and zone is None:
        raise UnreadableError("a time of day needs its zone", f"did you mean '{day}T{clock}Z'?")
    zone = "+00:00" if zone in (None, "Z", "z") else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00:00'}{zone}")
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise UnreadableError("no such date", None) from error
    return (since.days * 86_400 + since.seconds) * SECOND


def share(text: str) -> float:
    """A number above 0 and at most 1."""
    if not re.fullmatch(r"\d{0,3}\.?\d{1,17}", text):
        raise UnreadableError("not a number")
    value = float(text)
    if not 0.0 < value <= 1.0:
        raise UnreadableError("must lie between 0 and 1", f"did you mean {value / 100:g}?" if value > 1 else None)
    return value


def part(text: str) -> float:
    """A number from 0 to 1."""
    return 0.0 if re.fullmatch(r"0{1,3}(\.0{0,17})?", text) else share(text)


def whole(text: str, low: int, high: int) -> int:
    """A whole number within bounds."""
    if not re.fullmatch(r"-?\d{1,12}", text) or not low <= int(text) <= high:
        raise UnreadableError(f"not a whole number from {low} to {high}")
    return int(text)


def _unmapped(found: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(found, IPv6Network) and found.prefixlen >= 96 and found.network_address.ipv4_mapped is not None:
        return IPv4Network((int(found.network_address.ipv4_mapped), found.prefixlen - 96))
    return found
