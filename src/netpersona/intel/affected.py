"""Which versions the exploited vulnerabilities of common servers affect.

The catalogues of exploited vulnerabilities name products, not versions.  These ranges are those of the CVE records
(NVD) and the projects' own advisories; they are of upstream versions, and say nothing of what a distribution mended.
"""

from __future__ import annotations

from typing import NamedTuple

from netpersona.intel.software import before


class Range(NamedTuple):
    """Versions from `first` (None: from the beginning) up to, without, `below`."""

    first: str | None
    below: str

    def holds(self, version: str) -> bool:
        """Whether the version lies in the range."""
        return before(version, self.below) and not (self.first is not None and before(version, self.first))


def _ranges(*pairs: tuple[str | None, str]) -> tuple[Range, ...]:
    return tuple(Range(*pair) for pair in pairs)


AFFECTED: dict[str, dict[str, tuple[Range, ...]]] = {
    "apache": {
        "CVE-2021-41773": _ranges(("2.4.49", "2.4.50")),
        "CVE-2021-42013": _ranges(("2.4.49", "2.4.51")),
        "CVE-2021-40438": _ranges((None, "2.4.49")),
        "CVE-2019-0211": _ranges(("2.4.17", "2.4.39")),
        "CVE-2024-38475": _ranges(("2.4.0", "2.4.60")),
    },
    "php": {
        "CVE-2012-1823": _ranges((None, "5.3.12"), ("5.4.0", "5.4.2")),
        "CVE-2019-11043": _ranges(("7.1.0", "7.1.33"), ("7.2.0", "7.2.24"), ("7.3.0", "7.3.11")),
        "CVE-2024-4577": _ranges(("5.0.0", "8.1.29"), ("8.2.0", "8.2.20"), ("8.3.0", "8.3.8")),
    },
    "openssl": {"CVE-2014-0160": _ranges(("1.0.1", "1.0.1g"))},
    "microsoft-iis": {"CVE-2017-7269": _ranges(("6.0", "6.1"))},
    "exim": {
        "CVE-2010-4344": _ranges((None, "4.70")),
        "CVE-2010-4345": _ranges((None, "4.73")),
        "CVE-2018-6789": _ranges((None, "4.90.1")),
        "CVE-2019-10149": _ranges(("4.87", "4.92")),
        "CVE-2019-16928": _ranges(("4.92", "4.92.3")),
    },
    "samba": {"CVE-2017-7494": _ranges(("3.5.0", "4.4.14"), ("4.5.0", "4.5.10"), ("4.6.0", "4.6.4"))},
    "tomcat": {
        "CVE-2017-12615": _ranges(("7.0.0", "7.0.81")),
        "CVE-2017-12617": _ranges(("7.0.0", "7.0.82"), ("8.0.0", "8.0.47"), ("8.5.0", "8.5.23"), ("9.0.0", "9.0.1")),
        "CVE-2020-1938": _ranges(("6.0.0", "7.0.100"), ("8.5.0", "8.5.51"), ("9.0.0", "9.0.31")),
        "CVE-2025-24813": _ranges(("9.0.0", "9.0.99"), ("10.1.0", "10.1.35"), ("11.0.0", "11.0.3")),
    },
    "jenkins": {
        "CVE-2018-1000861": _ranges((None, "2.138.4"), ("2.139", "2.154")),
        "CVE-2024-23897": _ranges((None, "2.426.3"), ("2.427", "2.442")),
    },
    "miniserv": {"CVE-2019-15107": _ranges(("1.890", "1.930"))},
    "elasticsearch": {
        "CVE-2014-3120": _ranges((None, "1.2.0")),
        "CVE-2015-1427": _ranges((None, "1.3.8"), ("1.4.0", "1.4.3")),
    },
    "kibana": {"CVE-2019-7609": _ranges((None, "5.6.15"), ("6.0.0", "6.6.1"))},
    "grafana": {"CVE-2021-39226": _ranges((None, "7.5.11"), ("8.0.0", "8.1.6"))},
    "nexus": {"CVE-2019-7238": _ranges((None, "3.15.0")), "CVE-2020-10199": _ranges((None, "3.21.2"))},
    "activemq": {
        "CVE-2016-3088": _ranges((None, "5.14.0")),
        "CVE-2023-46604": _ranges((None, "5.15.16"), ("5.16.0", "5.16.7"), ("5.17.0", "5.17.6"), ("5.18.0", "5.18.3")),
    },
    "couchdb": {"CVE-2022-24706": _ranges((None, "3.2.2"))},
    "gitlab": {
        "CVE-2021-22205": _ranges(("11.9", "13.8.8"), ("13.9", "13.9.6"), ("13.10", "13.10.3")),
    },
    "erlang": {  # the version of its ssh application, which is what its banner tells
        "CVE-2025-32433": _ranges((None, "4.15.3.12"), ("5.0", "5.1.4.8"), ("5.2", "5.2.10")),
    },
    "wing ftp server": {"CVE-2025-47812": _ranges((None, "7.4.4"))},
    "crushftp": {
        "CVE-2024-4040": _ranges((None, "10.7.1"), ("11.0.0", "11.1.0")),
        "CVE-2025-31161": _ranges((None, "10.8.4"), ("11.0.0", "11.3.1")),
    },
}
"""By the product as it names itself, then by CVE."""
