"""One row of a feed in JSON: which of its members are its values, what kind they are, and what else it says.

Services that are known are told by the members of their rows (`SERVICES`).  In other rows the value is what a
general name holds (`indicator`, `value`), with the type beside it; else what a telling name holds (`url`, `ip`): a URL
before an address, an address before a name, since rows about a URL say its address too, and rows about an address the
name of its provider.  The order of the members never matters.

Sources: the interfaces that abuse.ch, Spamhaus, CISA, FIRST, CrowdSec, GreyNoise, AbuseIPDB and PhishTank document.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from netpersona.intel.formats.stix_values import NO_MATCH
from netpersona.intel.formats.words import (
    CATEGORIES,
    CONFIDENCES,
    ENDS,
    EXPLOITED,
    KEV,
    LABELS,
    TYPES,
    name_of,
    stated_type,
    unusable,
)

GENERIC = "json"
"""The service of rows of which no service is known."""

_GENERAL = ("indicator", "indicator_value", "ioc_value", "ioc", "observable", "value")
_TELLING: tuple[tuple[str | None, tuple[str, ...]], ...] = (
    ("url", ("url", "uri", "phish_url", "malicious_url")),
    ("ja3", ("ja3", "ja3_md5", "ja3_hash", "ja3_fingerprint", "ja3_digest")),
    (None, (
        "ip", "ip_address", "ipaddress", "ip_addr", "ipv4", "ipv6", "ipv4_address", "ipv6_address", "address", "addr",
        "ipaddr", "ip_str", "remote_ip", "remote_host",
        "dst_ip", "dstip", "dest_ip", "src_ip", "srcip", "source_ip", "c2_ip", "attacker_ip", "host_ip", "query_ip",
        "cidr", "network", "subnet", "netblock", "range", "ip_range", "prefix", "ip_prefix", "ipv6_prefix",
        "ipv4prefix", "ipv6prefix",
    )),
    ("domain", (
        "domain", "domain_name", "domainname", "hostname", "host", "host_name", "fqdn", "c2_domain", "domainaddress",
    )),
    ("hash", (
        "sha256", "sha256_hash", "sha_256", "sha1", "sha1_hash", "sha_1", "md5", "md5_hash", "hash", "file_hash",
    )),
    ("cve", ("cve", "cveid", "cve_id")),
    ("asn", ("asn", "as_number")),
    ("url", ("urls",)),
    (None, (
        "ips", "ip_addresses", "addresses", "networks", "cidrs", "prefixes", "subnets", "exit_addresses",
        "or_addresses",
    )),
    ("domain", ("domains", "hostnames")),
    ("hash", ("hashes",)),
    ("cve", ("cves", "cveids", "cve_ids")),
)  # fmt: skip
_ALL = "hash"  # every name of this kind is a value of its own
_STATED = (*TYPES, "datatype")
_FIRST = (
    "first_seen_utc", "first_seen", "firstseen", "first_ts", "dateadded", "date_added", "ts", "submission_time", "date",
    "created", "created_at", "timestamp", "seen", "last_seen", "lastseen", "last_reported_at", "lastreportedat",
)  # fmt: skip
_LAST = (*ENDS, "until")
_OBJECTIONS: dict[str, tuple[tuple[object, ...], str]] = {
    "classification": (("benign",), "the feed calls it benign"),
    "riot": ((True,), "the feed calls it a common service"),
    "iswhitelisted": ((True,), "the feed calls it allowed"),
    "is_whitelisted": ((True,), "the feed calls it allowed"),
    "false_positive": ((True,), "the feed calls it a false positive"),
    "revoked": ((True,), "revoked by its author"),
    "is_active": ((False, 0, "0"), "no longer active, says the feed"),
    "simulated": ((True,), "a simulated decision"),
    "verified": (("no", False), "the feed has not verified it"),
}
"""Members that say that a row is not meant: with which values, and what that means."""
_LONGEST = 4096  # characters of all names of a shape that is remembered
_LONGEST_NAME = 80
_SCOPES = {"ip": "address", "range": "network", "as": "asn"}


@dataclass(frozen=True, slots=True)
class Service:
    """How one service writes its rows."""

    name: str
    members: frozenset[str]  # all of these are there
    values: tuple[tuple[str, str | None], ...]  # (member, type); each that is there is a value


def _service(name: str, members: str, *values: tuple[str, str | None]) -> Service:
    return Service(name, frozenset(members.split()), values)


SERVICES = (
    _service("threatfox", "ioc_value ioc_type threat_type", ("ioc_value", None)),
    _service("threatfox", "ioc ioc_type threat_type", ("ioc", None)),
    _service("urlhaus", "url url_status", ("url", "url")),
    _service("urlhaus", "sha256_hash urlhaus_download", ("sha256_hash", "hash"), ("md5_hash", "hash")),
    _service(
        "malwarebazaar", "sha256_hash sha1_hash", ("sha256_hash", "hash"), ("sha1_hash", "hash"), ("md5_hash", "hash"),
    ),
    _service("feodo", "ip_address malware", ("ip_address", "address")),
    _service("sslbl", "sha1 reason", ("sha1", "hash")),
    _service("ja3", "ja3 reason", ("ja3", "ja3")),
    _service("ja3", "ja3_hash desc", ("ja3_hash", "ja3")),
    _service("ja3", "ja3_hash ja3_str", ("ja3_hash", "ja3")),
    _service("ja3", "md5 user_agent", ("md5", "ja3")),
    _service("spamhaus-drop", "cidr sblid", ("cidr", "network")),
    _service("spamhaus-asndrop", "asn asname", ("asn", "asn")),
    _service(KEV, "cveid vendorproject", ("cveid", "cve")),
    _service("epss", "cve epss", ("cve", "cve")),
    _service("crowdsec", "scope value scenario", ("value", None)),
    _service("crowdsec", "scope value origin duration", ("value", None)),
    _service("greynoise", "ip classification", ("ip", "address")),
    _service("abuseipdb", "ipaddress abuseconfidencescore", ("ipaddress", "address")),
    _service("ctip", "indicatorthreattype networksourceipv4", ("networksourceipv4", "address")),
    _service("thehive", "datatype data", ("data", None)),
    _service("phishtank", "phish_id url", ("url", "url")),
)  # fmt: skip


class Row(NamedTuple):
    """What one row says."""

    service: str
    values: tuple[tuple[str, str | None], ...]  # (as it stands, type)
    objection: str | None = None  # why it is refused
    label: str | None = None
    category: str | None = None
    confidence: float | None = None
    start: object = None
    stop: object = None


class _Shape(NamedTuple):
    """What the names of a row's members say, whatever the members are: rows of one feed share a few shapes."""

    names: tuple[str, ...]  # as they are compared here
    service: Service | None
    general: tuple[str, ...]  # of each of these lists, the names that are there, in its order
    telling: tuple[tuple[str | None, tuple[str, ...]], ...]
    stated: tuple[str, ...]
    labels: tuple[str, ...]
    categories: tuple[str, ...]
    confidences: tuple[str, ...]
    starts: tuple[str, ...]
    stops: tuple[str, ...]


def read_row(told: Mapping[str, object]) -> Row | None:
    """What the row says; None where none of its members is telling."""
    keys = tuple(name for name, member in told.items() if member is not None and member != "")
    usual = sum(map(len, keys)) < _LONGEST
    shape = _shape(keys) if usual else _shape.__wrapped__(keys)
    named = dict(zip(reversed(shape.names), [told[key] for key in reversed(keys)], strict=True))
    values = _of_service(named, shape, shape.service) if shape.service is not None else _values(named, shape)
    if not values:
        return None
    return Row(
        GENERIC if shape.service is None else shape.service.name,
        values,
        _objection(named, shape),
        _label(named, shape),
        _first_text(named, shape.categories),
        _confidence(named, shape),
        _first(named, shape.starts),
        _first(named, shape.stops),
    )


def _label(named: dict[str, object], shape: _Shape) -> str | None:
    if shape.service is not None and shape.service.name == KEV:
        parts = [_first_text(named, (name,)) for name in EXPLOITED if name in shape.names]
        return ": ".join(part for part in parts if part) or None
    return _first_text(named, shape.labels)


def _there(names: Collection[str], wanted: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in names)


@lru_cache(maxsize=256)
def _shape(keys: tuple[str, ...]) -> _Shape:
    names = tuple(name_of(key[:_LONGEST_NAME]) for key in keys)
    there = frozenset(names)
    telling = ((kind, _there(there, wanted)) for kind, wanted in _TELLING)
    return _Shape(
        names,
        next((each for each in SERVICES if there >= each.members), None),
        _there(there, _GENERAL),
        tuple((kind, found) for kind, found in telling if found),
        _there(there, _STATED),
        _there(there, ("scenario", *LABELS)),
        _there(there, CATEGORIES),
        _there(there, CONFIDENCES),
        _there(there, _FIRST),
        _there(there, _LAST),
    )


def _of_service(named: dict[str, object], shape: _Shape, service: Service) -> tuple[tuple[str, str | None], ...]:
    kind = _stated(named, shape)
    return tuple((text, given or kind) for name, given in service.values for text in _texts(named.get(name)))


def _values(named: dict[str, object], shape: _Shape) -> tuple[tuple[str, str | None], ...]:
    """The values of a row of a service that is not known."""
    for name in shape.general:
        if texts := _texts(named[name]):
            kind = _stated(named, shape)
            return tuple((text, kind) for text in texts)
    for kind, names in shape.telling:
        held = [texts for name in names if (texts := _texts(named[name]))]
        if held:
            each = [text for texts in held for text in texts] if kind == _ALL else held[0]
            return tuple((text, kind) for text in dict.fromkeys(each))
    return ()


def _stated(named: dict[str, object], shape: _Shape) -> str | None:
    """The type that stands beside the value."""
    scope = named.get("scope")
    if isinstance(scope, str) and scope.lower() in _SCOPES:
        return _SCOPES[scope.lower()]
    word = next((word for name in shape.stated if isinstance(word := named[name], str)), None)
    return meaning(word[:_LONGEST_NAME])[0] if word is not None else None


def _objection(named: dict[str, object], shape: _Shape) -> str | None:
    """Why the row is refused as a whole."""
    for name in sorted(named.keys() & _OBJECTIONS.keys()):
        values, reason = _OBJECTIONS[name]
        if any(named[name] is value or (isinstance(value, str) and named[name] == value) for value in values):
            return reason
    if str(named.get("duration", ""))[:1] == "-":
        return "the decision has run out"
    scope = named.get("scope")
    if isinstance(scope, str) and "value" in named and scope.lower() not in _SCOPES and "scenario" in named:
        return f"{scope[:40]}: {NO_MATCH}"
    if shape.general or "datatype" in named:
        for name in shape.stated:
            word = named[name]
            if isinstance(word, str) and meaning(word[:_LONGEST_NAME])[1]:
                return f"{word[:40]}: {NO_MATCH}"
    return None


def _confidence(named: dict[str, object], shape: _Shape) -> float | None:
    """0 to 1, from a probability or from percent."""
    for name in shape.confidences:
        try:
            number = float(str(named[name])[:40])
        except ValueError:
            continue
        if 0 <= number <= 100:
            return number / 100 if number > 1 or name not in {"epss", "epss_score", "confidence"} else number
    return None


def _first(named: dict[str, object], names: tuple[str, ...]) -> object:
    return next((named[name] for name in names if isinstance(named[name], str | int | float)), None)


def _first_text(named: dict[str, object], names: tuple[str, ...]) -> str | None:
    for name in names:
        texts = [text[:200] for text in _texts(named[name])[:5]]
        if texts:
            return ", ".join(texts)
    return None


def _texts(member: object) -> list[str]:
    """The texts that a member holds: itself, or those of a list."""
    if isinstance(member, str):
        return [member]
    if isinstance(member, bool) or member is None:
        return []
    if isinstance(member, int | float):
        return [str(member)]
    return [each for each in member if isinstance(each, str) and each] if isinstance(member, list) else []


@lru_cache(maxsize=4096)
def meaning(word: str) -> tuple[str | None, bool]:
    """The type that a feed's word means, and whether it means something that is no indicator here."""
    text = pl.lit(word, dtype=pl.String)
    kind, silent = pl.select(stated_type(text).cast(pl.String).alias("kind"), unusable(text).alias("silent")).row(0)
    return kind, bool(silent)
