"""A bill of material in CycloneDX (JSON, 1.2 to 1.6; ECMA-424): components, and the vulnerabilities it states of them.

A vulnerability whose analysis says that the component is not affected, or that it was resolved, counts for nothing.
A component's property `netpersona:port` says where it answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from netpersona.errors import SourceError
from netpersona.intel.software import Software, printable

LARGEST = 64 << 20  # bytes
_DEEPEST = 8  # components within components
_SETTLED = frozenset({"not_affected", "resolved", "resolved_with_pedigree", "false_positive"})
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_PORT = "netpersona:port"


class _Property(msgspec.Struct):
    name: str = ""
    value: str = ""


class _Component(msgspec.Struct):
    name: str
    version: str | None = None
    group: str | None = None
    publisher: str | None = None
    cpe: str | None = None
    ref: str | None = msgspec.field(default=None, name="bom-ref")
    properties: list[_Property] = []
    components: list[_Component] = []


class _Affects(msgspec.Struct):
    ref: str


class _Analysis(msgspec.Struct):
    state: str | None = None


class _Vulnerability(msgspec.Struct):
    id: str | None = None
    analysis: _Analysis | None = None
    affects: list[_Affects] = []


class _Metadata(msgspec.Struct):
    component: _Component | None = None


class _Bill(msgspec.Struct):
    format: str = msgspec.field(name="bomFormat")
    metadata: _Metadata | None = None
    components: list[_Component] = []
    vulnerabilities: list[_Vulnerability] = []


def read_bill(path: Path) -> tuple[Software, ...]:
    """The software that a bill of material lists.  Raises SourceError."""
    try:
        with path.open("rb") as source:
            content = source.read(LARGEST + 1)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}; expected a CycloneDX bill of material in JSON") from error
    if len(content) > LARGEST:
        raise SourceError(f"{path}: more than {LARGEST} bytes; expected a bill of material of one VM")
    try:
        bill = msgspec.json.decode(content, type=_Bill)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"{path}: {error}; expected a CycloneDX bill of material in JSON") from error
    if bill.format != "CycloneDX":
        raise SourceError(f"{path}: bomFormat is {printable(bill.format)!r}; expected CycloneDX")
    stated = _stated(bill)
    return tuple(_software(component, stated, path) for component in _all(bill))


def _stated(bill: _Bill) -> dict[str, set[str]]:
    """The CVEs that the bill states, by the component's reference."""
    found: dict[str, set[str]] = {}
    for each in bill.vulnerabilities:
        settled = each.analysis is not None and each.analysis.state in _SETTLED
        if each.id is not None and _CVE.fullmatch(each.id) and not settled:
            for affected in each.affects:
                found.setdefault(affected.ref.rpartition("#")[2], set()).add(each.id)
    return found


def _all(bill: _Bill) -> Iterator[_Component]:
    own = [bill.metadata.component] if bill.metadata is not None and bill.metadata.component is not None else []
    level = [*own, *bill.components]
    for _ in range(_DEEPEST):
        yield from level
        level = [inner for component in level for inner in component.components]


def _software(component: _Component, stated: dict[str, set[str]], path: Path) -> Software:
    vendor, product = _named(component)
    version = None if component.version is None else printable(component.version)
    return Software(
        product=product,
        version=version,
        port=_port(component),
        vendor=vendor,
        said=printable(f"{component.name} {component.version or ''}"),
        source=str(path),
        vulnerabilities=tuple(sorted(stated.get(component.ref or "", ()))),
    )


def _named(component: _Component) -> tuple[str | None, str]:
    """Vendor and product: by its CPE where it has one (NISTIR 7695), else as it is called."""
    parts: list[Any] = re.split(r"(?<!\\):", component.cpe) if component.cpe else []
    at = 3 if parts[:2] == ["cpe", "2.3"] else 2 if parts[:1] == ["cpe"] else None
    if at is not None and len(parts) > at + 1:
        return printable(parts[at]).lower(), printable(parts[at + 1]).lower().replace("_", " ")
    vendor = component.publisher or component.group
    return (None if vendor is None else printable(vendor).lower()), printable(component.name).lower()


def _port(component: _Component) -> int | None:
    stated = next((p.value for p in component.properties if p.name == _PORT), "")
    return int(stated) if stated.isdigit() and 0 < int(stated) < 65536 else None
