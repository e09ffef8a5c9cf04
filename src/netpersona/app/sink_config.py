"""`sinks` in the configuration: where findings are told beside the store.

    sinks:
      - {kind: ocsf, file: /var/log/netpersona/findings.jsonl}
      - {kind: ocsf, url: "https://siem.example/ingest", headers_from: {Authorization: "env:SIEM_TOKEN"}}
      - {kind: stix, file: /srv/share/netpersona.json, producer: "ACME SOC", tlp: green}
      - {kind: stix, taxii: "https://isac.example/api1/collections/ID/", basic_from: "file:isac.login"}

Only alerts are told, unless `everything: true`; STIX names no VM and no internal address, unless `vms: true`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from netpersona.errors import ConfigError

if TYPE_CHECKING:
    from netpersona.adapters.sinks.delivery import Delivery
    from netpersona.adapters.sinks.web import Server
    from netpersona.ports import Sink

_OF_KIND = {"ocsf": ("file", "url"), "stix": ("file", "taxii")}
_PRODUCER = re.compile(r"[ -~]{1,100}")


class SinkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the file."""

    kind: Literal["ocsf", "stix"]
    file: str | None = None
    url: str | None = None
    taxii: str | None = None
    everything: bool = False
    producer: str = "netpersona"
    tlp: Literal["white", "green", "amber", "red"] = "amber"
    vms: bool = False
    headers_from: dict[str, str] = {}
    basic_from: str | None = None
    ca: str | None = None
    verify: bool = True

    def __repr__(self) -> str:
        """Its kind; its URL may hold a secret."""
        return f"SinkSpec(kind={self.kind!r})"


@dataclass(frozen=True, slots=True)
class SinkPlace:
    """A sink as configured."""

    sink: Sink
    everything: bool = False

    def delivery(self) -> Delivery:
        """What tells it beside everything else; it runs from now on."""
        from netpersona.adapters.sinks.delivery import Delivery

        return Delivery(self.sink, everything=self.everything)


def sink_place(spec: SinkSpec, here: Path, where: str) -> SinkPlace:
    """What was configured; paths are relative to `here`.  Raises ConfigError, which names the place `where`."""
    what = f"{where}: sinks"
    _check(spec, what)
    return SinkPlace(_ocsf(spec, here, what) if spec.kind == "ocsf" else _stix(spec, here, what), spec.everything)


def _check(spec: SinkSpec, what: str) -> None:
    known = _OF_KIND[spec.kind]
    given = [key for key in ("file", "url", "taxii") if getattr(spec, key) is not None]
    if len(given) != 1 or given[0] not in known:
        found = " and ".join(given) or "none"
        raise ConfigError(f"{what}: a sink of kind {spec.kind} has one of {' or '.join(known)}; here is {found}")
    if given == ["file"] and (spec.headers_from or spec.basic_from or spec.ca or not spec.verify):
        raise ConfigError(f"{what}: headers_from, basic_from, ca and verify mean nothing for a file")
    if spec.kind == "ocsf" and (spec.vms or (spec.producer, spec.tlp) != ("netpersona", "amber")):
        raise ConfigError(f"{what}: producer, tlp and vms are for stix; ocsf always names the VM")
    if not _PRODUCER.fullmatch(spec.producer):
        raise ConfigError(f"{what}: producer: 1 to 100 printable ASCII characters are expected")


def _ocsf(spec: SinkSpec, here: Path, what: str) -> Sink:
    from netpersona.adapters.sinks.ocsf import OcsfFile, OcsfHttp

    if spec.file is not None:
        return OcsfFile(here / spec.file)
    return OcsfHttp(_server(spec, str(spec.url), here, what))


def _stix(spec: SinkSpec, here: Path, what: str) -> Sink:
    from netpersona.adapters.sinks.stix import StixFile, StixTaxii
    from netpersona.adapters.sinks.stix_objects import Teller

    teller = Teller(spec.producer, spec.tlp, spec.vms)
    if spec.file is not None:
        return StixFile(here / spec.file, teller)
    return StixTaxii(_server(spec, str(spec.taxii), here, what), teller)


def _server(spec: SinkSpec, url: str, here: Path, what: str) -> Server:
    from netpersona.adapters.feeds.place import WebPlace
    from netpersona.adapters.sinks.web import Server
    from netpersona.app.web_access import access_of

    access = access_of(spec, None if spec.ca is None else here / spec.ca, here, what)
    return Server(WebPlace.of(url, what), access)
