"""What each VM is exposed to: its software and the ports it answers at, held against a catalogue.

It is derived, like a reputation: the same software, answers and catalogue give the same exposure, and a patched machine
loses it as soon as its evidence says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
from msgspec.structs import replace

from netpersona.flow.vm import VmId
from netpersona.intel.exposure import Exposure, exposures, kinds, ports
from netpersona.intel.software import Software
from netpersona.intel.vulnerability import Catalogue
from netpersona.persona.model import Persona


@dataclass(frozen=True)
class Exposures:
    """The evidence of a fleet's software, and what the feeds list of vulnerabilities."""

    software: Mapping[VmId, tuple[Software, ...]] = field(default_factory=dict)
    catalogue: Catalogue = field(default_factory=Catalogue)

    @classmethod
    def of_indicators(cls, software: Mapping[VmId, tuple[Software, ...]], table: pl.DataFrame) -> Exposures:
        """The exposures by the vulnerabilities among a table of indicators."""
        return cls(software, Catalogue.of(table) if software else Catalogue())

    def of(self, persona: Persona) -> tuple[Exposure, ...]:
        """What this VM is exposed to now, the surest first."""
        software = self.software.get(persona.vm, ())
        return exposures(software, answered(persona), self.catalogue) if software else ()

    def on(self, persona: Persona) -> Persona:
        """The persona with its exposure of now; the same object where nothing changed."""
        found = self.of(persona)
        if not (found or persona.exposure or persona.exposed_ports):
            return persona
        if (persona.exposure, persona.exposed_ports) == (kinds(found), ports(found)):
            return persona
        return replace(persona, exposure=kinds(found), exposed_ports=ports(found))


def answered(persona: Persona) -> frozenset[int]:
    """The TCP and UDP ports at which a VM was seen to answer."""
    return frozenset(
        kind.port for kind in persona.profile.kinds if kind.direction == "inbound" and kind.transport in {"tcp", "udp"}
    )
