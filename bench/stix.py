"""The import of STIX, as a ratio to parsing the same bytes with msgspec into plain objects in the same run.

The bundle is made here: nine of ten patterns are one comparison, one of twenty joins three by OR, one of twenty needs
the grammar (AND, IN, qualifiers); every object is as long as those that public bundles hold.

Run: .venv/bin/python bench/stix.py [indicators]
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"  # before polars is imported

import resource
import sys
import time

import msgspec

from netpersona.intel.formats import read


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    count = int((*sys.argv[1:], "1000000")[0])
    content = bundle(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    started = time.process_time()
    found = read(content)
    took = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    assert found.records == count
    print(
        f"STIX: {count:,} indicators, {len(content) >> 20} MiB, {found.table.height:,} values, "
        f"{found.refused.height:,} refusals"
    )
    print(f"      {took:.1f} CPU s, {count / took:,.0f}/s; peak {peak} MiB, of which {before} MiB before the import")
    started = time.process_time()
    part = msgspec.json.decode(bundle(count // 10))
    plain = (time.process_time() - started) * 10
    assert len(part["objects"]) == count // 10
    print(f"      {took / plain:.1f} × msgspec into dicts ({plain:.1f} CPU s, measured by a tenth)")


def bundle(count: int) -> bytes:
    """A STIX 2.1 bundle of that many indicators."""
    head = b'{"type": "bundle", "id": "bundle--5e57c739-391a-4eb3-b6be-000000000000", "objects": [\n'
    return head + b",\n".join(_indicator(number) for number in range(count)) + b"\n]}\n"


def _indicator(number: int) -> bytes:
    identity = f"indicator--{number:08x}-391a-4eb3-b6be-{number:012x}"
    return (
        f'{{"type": "indicator", "spec_version": "2.1", "id": "{identity}", '
        '"created_by_ref": "identity--f431f809-377b-45e0-aa1c-6a4751cae5ff", '
        '"created": "2026-03-01T10:00:00.000Z", "modified": "2026-03-01T10:00:00.000Z", '
        f'"name": "Listing {number}", "indicator_types": ["malicious-activity"], "confidence": {number % 101}, '
        f'"pattern": "{_pattern(number)}", "pattern_type": "stix", "pattern_version": "2.1", '
        f'"valid_from": "2026-03-01T10:00:{number % 60:02}.{number % 1000:03}Z", '
        '"object_marking_refs": ["marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"]}'
    ).encode()


def _pattern(number: int) -> str:
    address = f"{11 + (number >> 24)}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    kind = number % 20
    if kind == 0:
        return (
            f"[domain-name:value = 'a{number}.example' OR domain-name:value = 'b{number}.example' "
            f"OR ipv4-addr:value = '{address}']"
        )
    if kind == 1:
        return (
            f"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '{address}']",
            f"[ipv4-addr:value IN ('{address}', '{address}') AND network-traffic:dst_port = 443] WITHIN 300 SECONDS",
        )[number % 40 == 1]
    if kind < 10:
        return f"[ipv4-addr:value = '{address}']"
    if kind < 16:
        return f"[domain-name:value = 'host-{number}.example']"
    if kind < 18:
        return f"[url:value = 'https://host-{number}.example/gate/{number}.php']"
    return f"[file:hashes.'SHA-256' = '{number:064x}']"


if __name__ == "__main__":
    main()
