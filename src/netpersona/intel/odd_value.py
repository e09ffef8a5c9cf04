"""One value that is written unusually: defanged, with a port, as a range, in another alphabet.

This is the complete reading, one value at a time; `values` reads the usual spellings in columns.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from netpersona.intel.indicator import IndicatorType

LONGEST = 2048  # characters of a value
MAIL = "an e-mail address"  # how the reason begins for which one is refused
DOMAIN = r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"

_DOMAIN = re.compile(DOMAIN)
_DEFANGED = (
    (re.compile(r"^(?:hxxp|hxtp|htxp|meow|h\*\*p)", re.IGNORECASE), "http"),
    (re.compile(r"^fxp", re.IGNORECASE), "ftp"),
    (re.compile(r"[\[({]\s*(?:\.|dot)\s*[\])}]", re.IGNORECASE), "."),
    (re.compile(r"[\[({]\s*(?:@|at)\s*[\])}]", re.IGNORECASE), "@"),
    (re.compile(r"\\\.|\[\.(?!\])|(?<!\[)\.\]"), "."),
    (re.compile(r"(?<=^http)\[s\]", re.IGNORECASE), "s"),
    (re.compile(r"\[:\]|\[:(?=//)"), ":"),
    (re.compile(r"\[?://\]?"), "://"),
    (re.compile(r"\[(?:/)\]"), "/"),
)
_MAYBE_DEFANGED = re.compile(r"[\[({*\\]|\.\]|^(?:h[tx]|fxp|meow)", re.IGNORECASE)
_NUMERIC = re.compile(r"[0-9A-Fa-f:.]+(?:/[0-9.]+)?")
_RANGE = re.compile(r"([0-9A-Fa-f:.]+)-([0-9A-Fa-f:.]+)")
_LAST_OCTETS = re.compile(r"((?:[0-9]{1,3}\.){3})([0-9]{1,3})-([0-9]{1,3})")
_STARS = re.compile(r"((?:[0-9]{1,3}\.){1,3})\*(?:\.\*)*")
_FILLED = re.compile(r"(?<![0-9.])[0-9]{3}(?:\.[0-9]{3}){3}(?![0-9.])")
_MOST = 62  # networks: what the widest IPv4 range can need
_PORT = re.compile(r"^(.*[^:]):(\d{1,5})$")
_BRACKETED = re.compile(r"^\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?$")
_LEADING_ZERO = re.compile(r"^(?:\d{1,3}\.){3}\d{1,3}(?:/\d+)?$")
_ASN = re.compile(r"as[1-9][0-9]{0,9}")
_CVE = re.compile(r"cve-[0-9]{4}-[0-9]{4,}")
_NAMED_HASH = re.compile(r"(?:md5|sha-?1|sha-?256|sha-?512)[:=]\s*([0-9a-f]+)", re.IGNORECASE)
_COLONS = re.compile(r"(?:[0-9A-Fa-f]{2}:){15,63}[0-9A-Fa-f]{2}")  # a certificate's fingerprint
_HASH = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128}")
_DOTS = re.compile("[\u3002\uff0e\uff61]")
_NOTHING = re.compile("[\u00ad\u200b\u2060\ufeff]")  # characters that names are read without (UTS 46)


class Value(NamedTuple):
    """A canonical value, its type, and what was changed, if that matters."""

    value: str
    type: IndicatorType
    note: str | None = None


def odd_value(raw: str) -> list[Value]:
    """The indicators that one value stands for (a range may be many networks).  Raises ValueError with the reason."""
    text = _refanged(raw)
    if not text:
        raise ValueError("nothing is left without quotes and punctuation")
    if len(text) > LONGEST:
        raise ValueError(f"longer than {LONGEST} characters")
    if "://" in text:
        return [_url(text)]
    if re.search(r"\s", text):
        raise ValueError("several values in one place; expected one")
    if text.startswith("/"):
        raise ValueError("a path without a host")
    bare = _FILLED.sub(_emptied, text)
    if bare != text:
        return [each._replace(note="the numbers were filled with zeros") for each in _of_text(bare)]
    return _of_text(text)


def _of_text(text: str) -> list[Value]:
    return _range(text) or _network(text) or _with_port(text) or [_name_or_path(text)]


def _refanged(raw: str) -> str:
    text = raw.strip().strip("\"'`,<>")
    if _MAYBE_DEFANGED.search(text):
        for pattern, plain in _DEFANGED:
            text = pattern.sub(plain, text)
    return text.rstrip(";,") if "://" not in text else text


def _emptied(filled: re.Match[str]) -> str:
    """An address without the zeros that fill its numbers; three digits everywhere are no octal."""
    return ".".join(str(int(part)) for part in filled.group().split("."))


def _url(text: str) -> Value:
    parts = urlsplit(text)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"no URL: {error}") from error
    if not parts.scheme.isascii() or not host:
        raise ValueError("a URL without a host")
    where = _host(host)
    where = f"[{where}]" if ":" in where else where
    rest = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    rest = "".join(char if "!" <= char <= "~" else quote(char) for char in rest)
    return Value(f"{parts.scheme.lower()}://{where}{f':{port}' if port is not None else ''}{rest}", IndicatorType.URL)


def _host(host: str) -> str:
    """A URL's host: an address or a domain."""
    try:
        return str(ip_address(host))
    except ValueError:
        return _domain(host)


def _range(text: str) -> list[Value]:
    within = _LAST_OCTETS.fullmatch(text)
    stars = _STARS.fullmatch(text)
    if within is not None:
        text = f"{within.group(1)}{within.group(2)}-{within.group(1)}{within.group(3)}"
    elif stars is not None:
        known = stars.group(1)
        text = f"{known}{'.'.join('0' * (4 - known.count('.')))}-{known}{'.'.join(['255'] * (4 - known.count('.')))}"
    ends = _RANGE.fullmatch(text)
    if ends is None:
        return []
    try:
        low, high = ip_address(ends.group(1)), ip_address(ends.group(2))
    except ValueError:
        return []
    if low.version != high.version or int(low) > int(high):
        raise ValueError("a range that ends before it starts, or mixes IPv4 and IPv6")
    parts = _between(int(low), int(high), low.max_prefixlen)
    note = f"the range is {len(parts)} networks" if len(parts) > 1 else None
    return [_of_network(type(low)(first), length, note) for first, length in parts]


def _between(low: int, high: int, width: int) -> list[tuple[int, int]]:
    """The fewest prefixes (first address, length) from low to high; more than _MOST make the range meaningless."""
    parts = []
    while low <= high:
        host = min((low & -low).bit_length() - 1 if low else width, (high - low + 1).bit_length() - 1)
        parts.append((low, width - host))
        low += 1 << host
        if len(parts) > _MOST:
            raise ValueError(f"a range of more than {_MOST} networks; expected the networks themselves")
    return parts


def _network(text: str) -> list[Value]:
    bare = text.partition("%")[0] if text.lower().startswith("fe80") else text
    if not _NUMERIC.fullmatch(bare):
        return []
    try:
        network = ip_network(bare, strict=False)
    except ValueError:
        if _LEADING_ZERO.match(text):
            raise ValueError("no address: a part over 255, a leading zero, or a bad prefix length") from None
        return []
    host_bits = "/" in bare and ip_address(bare.partition("/")[0]) != network.network_address
    note = "host bits were cleared" if host_bits else None
    return [_of_network(network.network_address, network.prefixlen, note)]


def _of_network(first: IPv4Address | IPv6Address, length: int, note: str | None = None) -> Value:
    mapped = first.ipv4_mapped if isinstance(first, IPv6Address) else None
    if mapped is not None and length >= 96:
        first, length = mapped, length - 96
    if length == first.max_prefixlen:
        return Value(str(first), IndicatorType.ADDRESS, note)
    return Value(f"{first}/{length}", IndicatorType.NETWORK, note)


def _with_port(text: str) -> list[Value]:
    """An address with a port, or with a comment glued to it, as the address."""
    for candidate in (
        _BRACKETED.match(text),
        _PORT.match(text),
        re.match(r"^([0-9.]+|[0-9A-Fa-f:]+:[0-9A-Fa-f:]*)[#;|]", text),
    ):
        if candidate is not None:
            try:
                address = ip_address(candidate.group(1))
                return [_of_network(address, address.max_prefixlen)]
            except ValueError:
                continue
    return []


def _name_or_path(text: str) -> Value:
    if "@" in text:
        raise ValueError(f"{MAIL} or a URL with a user name is no indicator here")
    if "/" in text or "?" in text:
        return _url(f"http://{text}")._replace(note="a URL without a scheme; http was assumed")
    port = _PORT.match(text)
    host = port.group(1) if port is not None else text
    named = _NAMED_HASH.fullmatch(text)
    hexadecimal = (named.group(1) if named else text.replace(":", "") if _COLONS.fullmatch(text) else text).lower()
    if _HASH.fullmatch(hexadecimal):
        return Value(hexadecimal, IndicatorType.HASH)
    if _ASN.fullmatch(text.lower()):
        return Value(text.upper(), IndicatorType.ASN)
    if _CVE.fullmatch(text.lower()):
        return Value(text.upper(), IndicatorType.CVE)
    return Value(_domain(host), IndicatorType.DOMAIN)


def _domain(text: str) -> str:
    """The canonical domain.  Raises ValueError with the reason."""
    name = text if text.isascii() else _a_labels(text)
    name = name.lower().removeprefix("*.").strip(".")
    if name.isdecimal():
        raise ValueError("a bare number: an address would have dots or colons, an AS its letters")
    if "." not in name:
        raise ValueError("a single label is no domain" if re.fullmatch(r"[\w-]+", name) else "no known kind of value")
    if len(name) > 253 or not _DOMAIN.fullmatch(name):
        raise ValueError("no address, network, domain, URL or hash")
    return name


def _a_labels(text: str) -> str:
    """A name in A-labels, as resolvers are asked for it (UTS 46, non-transitional).  Raises ValueError."""
    name = unicodedata.normalize("NFKC", _NOTHING.sub("", _DOTS.sub(".", text))).lower()
    if any(char == "\ufffd" or unicodedata.category(char)[0] in "CZ" for char in name):
        raise ValueError("a name that cannot be written in A-labels (IDNA)")
    labels = unicodedata.normalize("NFC", name).split(".")
    return ".".join(each if each.isascii() else f"xn--{each.encode('punycode').decode()}" for each in labels)
