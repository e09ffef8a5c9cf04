"""What software is exposed to, and how sure that is."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from netpersona.intel.exposure import KNOWN, POSSIBLE, PROBABLE, exposures, kinds, ports
from netpersona.intel.indicator import INDICATOR_SCHEMA
from netpersona.intel.software import Software
from netpersona.intel.vulnerability import Catalogue

_ROWS = [
    ("CVE-2021-41773", "Apache: HTTP Server: Path Traversal", "known-exploited", 1.0, "kev", 10),
    ("CVE-2021-41773", None, "epss", 0.94, "epss", 4),
    ("CVE-2017-0144", "Microsoft: SMBv1: Remote Code Execution", "known-exploited", 1.0, "kev", 11),
    ("CVE-2012-1823", "PHP: PHP: Query String Parameter", "known-exploited", 1.0, "kev", 12),
    ("CVE-2024-0001", None, "epss", 0.7, "epss", 5),
    ("CVE-2024-0002", None, "epss", 0.01, "epss", 6),
]


def _catalogue() -> Catalogue:
    table = pl.DataFrame(
        [
            {
                "value": cve,
                "type": "cve",
                "label": label,
                "category": category,
                "confidence": c,
                "feed": feed,
                "line": n,
            }
            for cve, label, category, c, feed, n in _ROWS
        ]
    )
    absent = {name: pl.lit(None) for name in INDICATOR_SCHEMA if name not in table.columns}
    return Catalogue.of(table.with_columns(**absent).select(pl.col(n).cast(t) for n, t in INDICATOR_SCHEMA.items()))


CATALOGUE = _catalogue()
APACHE = Software("apache", "2.4.49", 80, said="Apache/2.4.49 (Unix)", source="software.log, row 3")


def test_an_affected_version_is_known_to_be_exploited() -> None:
    (found,) = exposures([APACHE], [80, 443], CATALOGUE)
    assert (found.kind, found.certainty, found.ports) == (KNOWN, "version", (80,))
    assert found.vulnerability.listed == (("epss", 4), ("kev", 10))
    assert "CVE-2021-41773" in found.sentence
    assert "EPSS 94%" in found.sentence
    assert "software.log, row 3" in found.sentence


def test_a_mended_version_is_exposed_to_nothing() -> None:
    assert exposures([replace(APACHE, version="2.4.58", said="Apache/2.4.58 (Unix)")], [80], CATALOGUE) == ()


def test_what_a_distribution_may_have_mended_only_may_be_exposed() -> None:
    found = exposures([replace(APACHE, said="Apache/2.4.49 (Debian)")], [80], CATALOGUE)
    assert kinds(found) == (POSSIBLE,)
    assert ports(found) == ()
    assert "may have mended it" in found[0].sentence


def test_a_name_without_a_version_only_may_be_exposed() -> None:
    assert kinds(exposures([Software("apache", None, 80, said="Apache")], [80], CATALOGUE)) == (POSSIBLE,)


def test_a_bill_of_material_that_states_it_is_believed() -> None:
    stated = Software("log4j-core", "2.14.1", vulnerabilities=("CVE-2017-0144", "CVE-2024-0001", "CVE-2024-0002"))
    found = exposures([stated], [8080, 443], CATALOGUE)
    assert [(each.kind, each.vulnerability.cve, each.ports) for each in found] == [
        (KNOWN, "CVE-2017-0144", (443, 8080)),
        (PROBABLE, "CVE-2024-0001", (443, 8080)),
    ]
    assert kinds(found) == (KNOWN, PROBABLE)
    assert ports(found) == (443, 8080)


def test_the_order_of_the_evidence_means_nothing() -> None:
    php = Software("php", "5.3.1", 80, said="PHP/5.3.1")
    assert exposures([APACHE, php], [80], CATALOGUE) == exposures([php, APACHE], [80], CATALOGUE)


def test_no_feed_no_exposure() -> None:
    assert exposures([APACHE], [80], Catalogue()) == ()
