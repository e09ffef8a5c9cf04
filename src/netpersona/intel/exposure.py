"""What a VM is exposed to: the software it shows, held against the vulnerabilities that are being exploited.

How sure it is, is part of the answer, since a policy will act on it:

    stated     a bill of material names the vulnerability itself
    version    the version that the software states lies in the range that the vulnerability affects
    product    only the name fits: no version is stated, no range is known, or a distribution built it and may have
               carried the fix back

The first two make `known_exploited`, or `likely_exploited` where nobody has seen it exploited but EPSS gives it LIKELY
or more; the last makes `possibly_exploited`, which is to be looked at rather than acted on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from netpersona.intel.software import Software
from netpersona.intel.vulnerability import Catalogue, Vulnerability, affects

KNOWN, PROBABLE, POSSIBLE = "known_exploited", "likely_exploited", "possibly_exploited"
LIKELY = 0.5  # EPSS: the probability of exploitation within 30 days
MOST = 64  # exposures of one VM that are kept, the surest first

Certainty = Literal["stated", "version", "product"]
_SUREST: tuple[Certainty, ...] = ("stated", "version", "product")


@dataclass(frozen=True, slots=True)
class Exposure:
    """One vulnerability of one service of a VM."""

    kind: str  # known_exploited, likely_exploited, possibly_exploited
    vulnerability: Vulnerability
    software: Software
    certainty: Certainty
    ports: tuple[int, ...]  # where it may be reached; empty: it answers nowhere

    @property
    def sentence(self) -> str:
        """What it is and what it rests on, in words."""
        found, what = self.vulnerability, self.software
        version = f" {what.version}" if what.version else ""
        name = f" ({found.name})" if found.name else ""
        odds = f", EPSS {found.likelihood:.0%}" if found.likelihood is not None else ""
        known = "known to be exploited" if found.exploited else "not known to be exploited"
        return f"{what.product}{version}: {found.cve}{name}, {known}{odds}; {self._evidence} [{what.source}]"

    @property
    def _evidence(self) -> str:
        if self.certainty == "stated":
            return "its bill of material states the vulnerability"
        if self.certainty == "version":
            return f"the version it states ({self.software.said!r}) is affected"
        if self.software.packaged:
            return f"a distribution built it ({self.software.said!r}) and may have mended it"
        if self.software.version is None:
            return "it states no version"
        return "which versions are affected is not known here"


def exposures(software: Iterable[Software], answers: Collection[int], catalogue: Catalogue) -> tuple[Exposure, ...]:
    """What this software exposes a VM to that answers at these ports; the surest first, at most MOST.

    Software of which no port is known may be behind any port at which the VM answers.
    """
    found: dict[tuple[str, str, tuple[int, ...]], Exposure] = {}
    for each in software:
        ports = (each.port,) if each.port is not None else tuple(sorted(answers))
        for vulnerability, certainty in _of(each, catalogue):
            kind = _kind(vulnerability, certainty)
            exposure = Exposure(kind, vulnerability, each, certainty, ports) if kind else None
            key = (vulnerability.cve, each.product, ports)
            if exposure is not None and (key not in found or _rank(exposure) < _rank(found[key])):
                found[key] = exposure
    return tuple(sorted(found.values(), key=_rank)[:MOST])


def kinds(found: Sequence[Exposure]) -> tuple[str, ...]:
    """What a persona's `exposure` lists."""
    return tuple(sorted({exposure.kind for exposure in found}))


def ports(found: Sequence[Exposure]) -> tuple[int, ...]:
    """The ports of what is surely exposed: what only may be is no reason to close one."""
    return tuple(sorted({port for exposure in found if exposure.kind != POSSIBLE for port in exposure.ports}))


def _of(software: Software, catalogue: Catalogue) -> list[tuple[Vulnerability, Certainty]]:
    stated: list[tuple[Vulnerability, Certainty]] = [
        (catalogue.by_cve[cve], "stated") for cve in software.vulnerabilities if cve in catalogue.by_cve
    ]
    named = [found for found in catalogue.named(software) if found.cve not in software.vulnerabilities]
    for found in named:
        affected = affects(found.cve, software)
        if affected is False and not software.packaged:
            continue
        if affected and not software.packaged:
            stated.append((found, "version"))
        elif affected is not False:
            stated.append((found, "product"))
    return stated


def _kind(vulnerability: Vulnerability, certainty: Certainty) -> str | None:
    if certainty == "product":
        return POSSIBLE
    if vulnerability.exploited:
        return KNOWN
    return PROBABLE if (vulnerability.likelihood or 0.0) >= LIKELY else None


def _rank(exposure: Exposure) -> tuple[int, int, float, str, str]:
    """The surest first, then the likeliest."""
    found = exposure.vulnerability
    return (
        _SUREST.index(exposure.certainty),
        not found.exploited,
        -(found.likelihood or 0.0),
        found.cve,
        exposure.software.source,
    )
