"""A finding as STIX 2.1 objects: what was seen of the other side, and nothing of ours unless that is asked for.

    sighting -> indicator (who is at fault outside: an address or a domain) -> indicates -> attack-pattern
             `-> observed-data -> ipv4-addr, ipv6-addr, domain-name, network-traffic

A finding that accuses nobody outside (a VM scans, a volume is odd) is a sighting of its attack-patterns.  What two
sides share for good, a cloud that data went to, is no indicator: who receives it might block it.

Ids are deterministic, so telling a finding again adds nothing: of observables by the rule of the standard (STIX 2.1,
2.9: UUIDv5 of the contributing properties), of all else in a namespace of our own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from uuid import UUID, uuid5

from netpersona.adapters.sinks.techniques import named
from netpersona.flow.vm import is_address
from netpersona.flow.window import DAY
from netpersona.risk.finding import Finding

Object = dict[str, Any]

OBSERVABLES = UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")  # STIX 2.1, 2.9
_OURS = uuid5(UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), "netpersona.stix")  # uuid.NAMESPACE_DNS, RFC 9562
_BEGAN = "2024-01-01T00:00:00.000Z"  # of what has no beginning of its own: who tells, techniques
MARKINGS = {  # STIX 2.1, 7.2.1.4: the same on every host
    "white": "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
    "green": "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
    "amber": "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
    "red": "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
}
_MARKED = "2017-01-20T00:00:00.000Z"
_AT_FAULT_OUTSIDE = {"intel_match", "c2_beacon", "c2_channel", "icmp_tunnel", "crypto_mining"}  # whom a VM calls
_AT_FAULT_INSIDE = {"intel_match", "scan_vertical", "scan_horizontal", "brute_force", "exploit_attempt"}  # who calls it
_BY_NAME = {"dns", "tls", "http", "name", "answer"}
_OF_URLS = {"url", "dns-host", "tls-host", "http-host"}
_PEERS_MOST = 100  # of one finding
_VALID = 30 * DAY  # µs after which an accusation ends, unless it is seen again
_DNS = 53  # whom a VM asks there is its resolver
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
_ADDRESS_LIKE = re.compile(r"[0-9a-fA-F:.]*[0-9a-fA-F](?:[.:])[0-9a-fA-F:.]*[0-9a-fA-F]|::[0-9a-fA-F]*")
_HIDDEN = "[internal]"


@dataclass(frozen=True, slots=True)
class Teller:
    """Who tells, and how freely."""

    name: str = "netpersona"
    tlp: str = "amber"  # one of MARKINGS
    vms: bool = False  # whether VMs are named, and addresses that are not public


def objects(finding: Finding, teller: Teller) -> list[Object]:
    """The objects of a finding, with those that they refer to, each once; none for a finding that tells nothing."""
    outside = list(_culprits(finding))
    patterns = [_attack_pattern(technique, teller) for technique in finding.techniques]
    if not outside and not patterns:
        return []
    seen = _observed(finding, outside, teller)
    indicators = [_indicator(finding, kind, value, teller) for kind, value in outside]
    links = [_indicates(finding, one, other, teller) for one in indicators for other in patterns]
    sightings = [_sighting(finding, of["id"], seen, teller) for of in (indicators or patterns)]
    found = [
        _identity(teller),
        _marking(teller),
        *_vm(finding, teller),
        *patterns,
        *indicators,
        *links,
        *seen,
        *sightings,
    ]
    return list({each["id"]: each for each in found}.values())


def bundle(those: Iterable[Object]) -> Object:
    """A bundle of these objects, in an order of its own; its id follows from theirs."""
    ordered = sorted(those, key=lambda each: (each["type"], each["id"]))
    versions = [[each["id"], each.get("modified", "")] for each in ordered]
    return {"type": "bundle", "id": f"bundle--{uuid5(_OURS, json.dumps(versions))}", "objects": ordered}


def _culprits(finding: Finding) -> Iterator[tuple[str, str]]:
    """(type, value) of what is at fault outside: domain-name, ipv4-addr, ipv6-addr."""
    domains = [str(finding.evidence.get(key, "")) for key in ("domain", "indicator")]
    via = finding.evidence.get("via", "dns")
    met = set(map(str, via if isinstance(via, list) else [via]))
    by_name = finding.kind != "intel_match" or bool(_BY_NAME & met)
    found = [each for each in domains if by_name and _DOMAIN.fullmatch(each) and len(each) <= 253]
    yield from (("domain-name", each) for each in found)
    at_fault = _AT_FAULT_OUTSIDE if finding.direction == "outbound" else _AT_FAULT_INSIDE
    others = by_name or bool(_OF_URLS & met)  # a resolver, or a server of many pages
    accused = finding.kind in at_fault and not (finding.kind == "intel_match" and others)
    if accused and finding.port != _DNS and not found:
        for peer in finding.peers[:_PEERS_MOST]:
            if _public(peer):
                yield _address_type(peer), peer


def _indicator(finding: Finding, kind: str, value: str, teller: Teller) -> Object:
    return {
        **_object("indicator", teller, finding, value),
        "name": value,
        "description": f"Seen by {teller.name}: {finding.kind}",
        "indicator_types": ["malicious-activity"],
        "pattern": f"[{kind}:value = '{value}']",
        "pattern_type": "stix",
        "valid_from": _instant(finding.first_seen),
        "valid_until": _instant(max(finding.first_seen, finding.last_seen) + _VALID),
        "confidence": round(finding.confidence * 100),
    }


def _indicates(finding: Finding, one: Object, other: Object, teller: Teller) -> Object:
    ends = {"source_ref": one["id"], "target_ref": other["id"]}
    return {**_object("relationship", teller, finding, *ends.values()), "relationship_type": "indicates", **ends}


def _sighting(finding: Finding, of: str, seen: list[Object], teller: Teller) -> Object:
    """That the thing was seen, how often, when; what VM saw it only where that is asked for."""
    observed = [each["id"] for each in seen if each["type"] == "observed-data"]
    where = [each["id"] for each in _vm(finding, teller)] or [_identity(teller)["id"]]
    return {
        **_object("sighting", teller, finding, of),
        "description": _told(finding, teller),
        "first_seen": _instant(finding.first_seen),
        "last_seen": _instant(max(finding.first_seen, finding.last_seen)),
        "count": _count(finding),
        "sighting_of_ref": of,
        **({"observed_data_refs": observed} if observed else {}),
        "where_sighted_refs": where,
        "confidence": round(finding.confidence * 100),
    }


def _observed(finding: Finding, outside: list[tuple[str, str]], teller: Teller) -> list[Object]:
    """The observables and the observed-data that holds them; none where nothing outside is told."""
    values = [_observable(kind, {"value": value}) for kind, value in outside]
    flows = [
        _observable(
            "network-traffic",
            {
                "dst_ref" if finding.direction == "outbound" else "src_ref": each["id"],
                **({"dst_port": finding.port} if finding.port else {}),
                "protocols": ["ipv4" if each["type"] == "ipv4-addr" else "ipv6", finding.protocol],
            },
        )
        for each in values
        if finding.protocol and each["type"] != "domain-name"
    ]
    if not values:
        return []
    data = {
        **_object("observed-data", teller, finding),
        "first_observed": _instant(finding.first_seen),
        "last_observed": _instant(max(finding.first_seen, finding.last_seen)),
        "number_observed": max(1, _count(finding)),
        "object_refs": [each["id"] for each in (*values, *flows)],
    }
    return [*values, *flows, data]


def _vm(finding: Finding, teller: Teller) -> list[Object]:
    """The VM as a system, where it is to be named."""
    if not teller.vms:
        return []
    vm = {**_lasting("identity", teller, "vm", finding.vm), "name": finding.vm, "identity_class": "system"}
    return [{**vm, "created_by_ref": _identity(teller)["id"]}]


def _attack_pattern(technique: str, teller: Teller) -> Object:
    reference = {"source_name": "mitre-attack", "external_id": technique}
    known = {**_lasting("attack-pattern", teller, technique), "name": named(technique)}
    return {**known, "external_references": [reference], "created_by_ref": _identity(teller)["id"]}


def _identity(teller: Teller) -> Object:
    return {**_lasting("identity", teller), "name": teller.name, "identity_class": "system"}


def _marking(teller: Teller) -> Object:
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": MARKINGS[teller.tlp],
        "created": _MARKED,
        "definition_type": "tlp",
        "name": f"TLP:{teller.tlp.upper()}",
        "definition": {"tlp": teller.tlp},
    }


def _lasting(kind: str, teller: Teller, *about: str) -> Object:
    """What all objects have that are the same in every finding."""
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": f"{kind}--{uuid5(_OURS, json.dumps([kind, teller.name, *about]))}",
        "created": _BEGAN,
        "modified": _BEGAN,
        "object_marking_refs": [MARKINGS[teller.tlp]],
    }


def _object(kind: str, teller: Teller, finding: Finding, *about: str) -> Object:
    """What all objects of a finding have; a finding that goes on is a newer version of them."""
    newest = max(finding.judged_at, finding.last_seen)
    return {
        **_lasting(kind, teller, finding.id, *about),
        "created_by_ref": _identity(teller)["id"],
        "created": _instant(finding.judged_at),
        "modified": _instant(newest),
    }


def _observable(kind: str, properties: Mapping[str, Any]) -> Object:
    """An observable; all its properties contribute to its id.  Canonical JSON as in RFC 8785: of texts and integers."""
    content = json.dumps(properties, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {"type": kind, "spec_version": "2.1", "id": f"{kind}--{uuid5(OBSERVABLES, content)}", **properties}


def _count(finding: Finding) -> int:
    """How often it was seen, as far as the finding says: at least once."""
    told = [finding.evidence.get(key, 0) for key in ("flows", "uses", "queries")]
    return min(999_999_999, max([1, *(each for each in told if isinstance(each, int))]))


def _told(finding: Finding, teller: Teller) -> str:
    """The finding's sentence; without what is ours, unless that is asked for."""
    if teller.vms:
        return finding.why
    text = finding.why.replace(finding.vm_address, _HIDDEN)
    text = re.sub(rf"(?<![\w-]){re.escape(finding.vm)}(?![\w-])", _HIDDEN, text)
    return _ADDRESS_LIKE.sub(lambda found: found[0] if _may_be_told(found[0]) else _HIDDEN, text)


def _may_be_told(text: str) -> bool:
    """Whether no part of what looks like an address, with or without a port, is one that is not public."""
    readings = {text, text.strip("."), text.rstrip(".:"), *text.split(":")}
    return not any(is_address(each) and not _public(each) for each in readings)


def _public(text: str) -> bool:
    return is_address(text) and ip_address(text).is_global


def _address_type(peer: str) -> str:
    return "ipv6-addr" if ":" in peer else "ipv4-addr"


def _instant(at: int) -> str:
    """To the millisecond, as `created` and `modified` must be (STIX 2.1, 3.2)."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at // 1000)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
