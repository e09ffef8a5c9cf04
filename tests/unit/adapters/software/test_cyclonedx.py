"""Bills of material."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netpersona.adapters.software.cyclonedx import read_bill
from netpersona.errors import SourceError

BILL: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "metadata": {"component": {"type": "operating-system", "name": "debian", "version": "12"}},
    "components": [
        {
            "type": "library",
            "bom-ref": "pkg:maven/log4j",
            "group": "org.apache.logging.log4j",
            "name": "log4j-core",
            "version": "2.14.1",
            "cpe": "cpe:2.3:a:apache:log4j:2.14.1:*:*:*:*:*:*:*",
            "properties": [{"name": "netpersona:port", "value": "8080"}],
            "components": [{"type": "library", "bom-ref": "inner", "name": "Shaded", "version": None}],
        }
    ],
    "vulnerabilities": [
        {"id": "CVE-2021-44228", "affects": [{"ref": "urn:cdx:1/1#pkg:maven/log4j"}]},
        {
            "id": "CVE-2021-45046",
            "analysis": {"state": "not_affected"},
            "affects": [{"ref": "pkg:maven/log4j"}],
        },
        {"id": "GHSA-xxxx", "affects": [{"ref": "pkg:maven/log4j"}]},
    ],
}


def test_components_and_what_is_stated_of_them(tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_text(json.dumps(BILL))
    debian, log4j, inner = read_bill(path)
    assert (debian.product, debian.version) == ("debian", "12")
    assert (log4j.vendor, log4j.product, log4j.port) == ("apache", "log4j", 8080)
    assert log4j.vulnerabilities == ("CVE-2021-44228",)
    assert inner.product == "shaded"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"bomFormat": "SPDX"}',
        '{"components": []}',
        '{"bomFormat": "CycloneDX", "components": [{"version": 1}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_bill_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bom.json"
    path.write_text(content)
    with pytest.raises(SourceError, match=r"bom\.json.*expected"):
        read_bill(path)


def test_a_missing_bill_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected a CycloneDX"):
        read_bill(tmp_path / "none.json")
