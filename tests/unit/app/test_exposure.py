"""From a banner and a list of exploited vulnerabilities to a closed port: `exposure`, `policy plan`, `why`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from log_samples import header, row
from netpersona.app.cli import main

SOFTWARE = ["ts", "host", "host_p", "software_type", "name", "version.major", "unparsed_version"]
BEGIN = 1_767_571_620  # 2026-01-05T00:07:00Z
KEV = """\
"cveID","vendorProject","product","vulnerabilityName","dateAdded","shortDescription","requiredAction","dueDate"
"CVE-2021-41773","Apache","HTTP Server","Apache HTTP Server Path Traversal Vulnerability","2021-11-03","a","b","2021-11-17"
"CVE-2021-44228","Apache","Log4j2","Apache Log4j2 Remote Code Execution Vulnerability","2021-12-10","a","b","2021-12-24"
"""
EPSS = """\
#model_version:v2025.03.14,score_date:2026-01-05T00:00:00+0000
cve,epss,percentile
CVE-2021-41773,0.94391,0.99963
CVE-2021-44228,0.94358,0.99955
"""
BILL = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "components": [{"type": "library", "bom-ref": "l4j", "name": "log4j-core", "version": "2.14.1"}],
    "vulnerabilities": [{"id": "CVE-2021-44228", "affects": [{"ref": "l4j"}]}],
}
INVENTORY = """\
vms:
  - {name: web, addresses: [10.77.0.11/24], gateways: [10.77.0.1]}
  - {name: app, addresses: [10.77.0.12/24], gateways: [10.77.0.1], sbom: app.cdx.json}
  - {name: desk, addresses: [10.77.0.21/24], gateways: [10.77.0.1]}
"""
SHIELD = """\
apiVersion: netpersona/v1
kind: Policy
metadata: {name: shield-known-exploited}
spec:
  mode: enforce
  order: 50
  rules:
    - {name: shield, when: "'known_exploited' in persona.exposure", direction: inbound, peers: {not: {vms: "true"}},
       ports: persona.exposed_ports, action: deny, existing: cut}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("exposure")
    flows = [
        row(ts=f"{BEGIN + n}.0", uid=f"C{vm}{n}", **_ends(n, f"10.77.0.{vm}", port), proto="tcp", conn_state="SF")
        for n in range(20)
        for vm, port in ((11, 80), (12, 8443))
    ]
    flows.append(row(ts=f"{BEGIN}.5", uid="CD", id_orig_h="10.77.0.21", proto="tcp", conn_state="SF"))
    logs = place / "logs"
    logs.mkdir()
    (logs / "conn.log").write_text(header() + "".join(flows))
    banner = [f"{BEGIN}.5", "10.77.0.11", "80", "HTTP::SERVER", "Apache", "2", "Apache/2.4.49 (Unix)"]
    (logs / "software.log").write_text(header(SOFTWARE, "software") + "\t".join(banner) + "\n")
    for name, text in (("kev.csv", KEV), ("epss.csv", EPSS), ("vms.yaml", INVENTORY), ("shield.yaml", SHIELD)):
        (place / name).write_text(text)
    (place / "app.cdx.json").write_text(json.dumps(BILL))
    options = ["--inventory", f"{place}/vms.yaml", "--feed", f"{place}/kev.csv", "--feed", f"{place}/epss.csv"]
    main(["replay", str(logs), *options, "--store", f"{place}/np.db", "-o", "none"])
    return place


def _ends(n: int, vm: str, port: int) -> dict[str, str]:
    return {"id_orig_h": f"8.8.4.{n}", "id_orig_p": str(20_000 + n), "id_resp_h": vm, "id_resp_p": str(port)}


@pytest.fixture
def told(folder, capsys):
    def tell(*words: str) -> object:
        main([*words, "--store", f"{folder}/np.db", "-o", "json"])
        return json.loads(capsys.readouterr().out)

    return tell


def test_a_banner_and_a_bill_of_material_expose_their_vms(told) -> None:
    app, web = told("exposure")
    assert (app["vm"], app["cve"], app["kind"], app["certainty"]) == (
        "app", "CVE-2021-44228", "known_exploited", "stated",
    )  # fmt: skip
    assert [each["port"] for each in app["reachable"]] == [8443]
    assert (web["vm"], web["cve"], web["certainty"]) == ("web", "CVE-2021-41773", "version")
    assert web["epss"] == pytest.approx(0.94391)
    assert web["reachable"][0]["outside"]
    assert web["reachable"][0]["vms"] == ["app", "desk"]
    assert {each["feed"] for each in web["listed"]} == {"kev", "epss"}


def test_the_persona_says_so_and_its_history_too(told) -> None:
    shown = told("persona", "show", "web")
    assert shown["status"]["exposure"] == {"kinds": ["known_exploited"], "ports": [80]}
    assert any("exposed: known_exploited" in version["why"] for version in told("persona", "history", "web"))


def test_a_plan_shows_who_reaches_it_before_and_after(told, folder) -> None:
    plan = told("policy", "plan", f"{folder}/shield.yaml")
    assert [(each["vm"], each["port"], each["before"], each["after"]) for each in plan["exposure"]] == [
        ("app", 8443, "anyone outside, 2 of 2 VMs", "2 of 2 VMs"),
        ("web", 80, "anyone outside, 2 of 2 VMs", "2 of 2 VMs"),
    ]


def test_the_shield_holds_once_it_is_a_policy(told, folder, capsys) -> None:
    words = ["replay", f"{folder}/logs", "--policy", f"{folder}/shield.yaml", "--store", f"{folder}/np.db"]
    main([*words, "-o", "none"])
    capsys.readouterr()
    denied = told("why", "web", "8.8.4.77:80", "--direction", "inbound")
    assert denied["verdict"] == "deny"
    assert told("why", "web", "10.77.0.21:80", "--direction", "inbound")["verdict"] == "allow"
    assert told("why", "web", "8.8.4.77:22", "--direction", "inbound")["verdict"] == "allow"
