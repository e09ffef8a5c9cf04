"""Tables at 80 columns: nothing is folded into a narrow column, nothing is lost, one is singular."""

from __future__ import annotations

import io

import pytest
import yaml
from rich.console import Console

from netpersona.app.finding_table import findings_table
from netpersona.app.persona_tables import personas_table
from netpersona.app.policy_commands import _listed, _shown, _stopped, _tested
from netpersona.app.risk_explanation import table

NOON = 1_767_268_800.0  # s: 2026-01-01T12:00:00Z
WHY = "The VM called 203.0.113.7 at tcp port 443 120 times, every 60 s with a regularity of 1.00 of 1: " * 2


def drawn(what, width=80):
    out = io.StringIO()
    Console(width=width, file=out, markup=False, highlight=False).print(what)
    return out.getvalue().splitlines()


def finding(**changes):
    return {
        "id": "96a7292b3e4b6a98",
        "vm": "web-1",
        "kind": "c2_beacon",
        "severity": "high",
        "confidence": 0.95,
        "first_seen": NOON,
        "last_seen": NOON + 600,
        "why": WHY,
        **changes,
    }


@pytest.mark.parametrize("severity", ["informational", "high"])
@pytest.mark.parametrize("vm", ["a", "instance-0000a3f1-frontend-blue"])
def test_a_finding_is_a_head_and_its_sentence_over_the_width(severity, vm):
    lines = drawn(findings_table([finding(severity=severity, vm=vm, kind="lateral_movement")]))
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith(f"{severity:8} lateral_movement  {vm}  ")
    said = " ".join(" ".join(lines).split())
    assert WHY.strip() in said
    assert "96a7292b3e4b6a98" in said
    assert len(lines) <= 6


def test_no_findings_are_said():
    assert drawn(findings_table([])) == ["No findings."]


@pytest.mark.parametrize(
    ("vm", "address"),
    [("web-1", "10.77.0.11/24"), ("instance-0000a3", "2001:db8:12:34::11/64"), ("x" * 22, "198.51.100.123/32")],
)
def test_a_persona_is_one_row(vm, address):
    told = {
        "vm": vm,
        "addresses": [address, "10.77.0.12/24"],
        "risk_score": 0.4,
        "learning": "learning",
        "completeness": {"seen": 0.5, "flows": 1},
        "signatures": ["c2_beacon", "exfiltration", "scan_vertical", "scan_horizontal"],
        "last_seen": "2026-01-05T17:55:05Z",
    }
    lines = drawn(personas_table([told, {**told, "signatures": []}]))
    rows = [line for line in lines if "2026-01-05" in line]
    assert len(rows) == 2
    assert all(row.split()[:5] == [vm, address.partition("/")[0], "+1", "0.40", "elevated"] for row in rows)
    assert sum("c2_beacon, exfiltration, scan_vertical, scan_horizontal" in line for line in lines) == 1


def test_what_is_too_long_for_a_row_is_folded_and_not_lost():
    told = {
        "vm": "q" * 64,
        "addresses": ["2001:db8:1111:2222:3333:4444:5555:6666/64"],
        "risk_score": 1.0,
        "learning": "frozen",
        "completeness": {"seen": 1.0, "flows": 1},
        "signatures": [],
    }
    lines = drawn(personas_table([told]))
    assert all(len(line) <= 80 for line in lines)
    assert "".join(lines).count("q") == 64


def test_a_part_of_the_risk_is_a_head_and_its_sentence():
    term = {"at": NOON, "half_life_s": 86_400.0, "why": WHY}
    part = {"log_odds": 2.5, "capped": True, "detector": "c2_beacon", "peer": "2001:db8:1:2:3:4:5:6", "terms": [term]}
    told = {"vm": "web-1", "risk": 0.9, "at": NOON, "prior": 0.02, "contributions": [part]}
    lines = drawn(table(told))
    assert WHY.strip() in " ".join(" ".join(lines).split())
    assert len(lines) <= 8
    assert any(line.startswith("+2.50  c2_beacon 2001:db8:1:2:3:4:5:6") for line in lines)


def test_one_is_singular():
    flows = {"vm": "a", "peer": "b", "service": "tcp/1", "flows": 1.0, "verdict": "deny", "why": "so"}
    assert "(1 flow)" in _stopped(flows)
    assert "(2 flows)" in _stopped({**flows, "flows": 2.0})
    passed = {"passed": True, "place": "p", "case": "c", "expected": "e"}
    assert drawn(_tested([passed]))[-1] == "1 holds, 0 do not"


def test_a_policys_name_is_whole_and_its_document_is_not_wrapped():
    name = "block-outbound-low-reputation"
    listed = {
        "order": 10,
        "name": name,
        "version": 1,
        "mode": "enforce",
        "rules": ["a" * 40] * 3,
        "vms": ["v" * 30] * 4,
    }
    assert any(name in line for line in drawn(_listed([listed])))
    rule = {"name": "nothing-out", "when": "persona.risk_score > 0.7", "direction": "outbound", "action": "deny"}
    told = {"version": 1, "file": "a.yaml", "line": 1, "vms": [], "resource": {"spec": {"rules": [rule]}}}
    assert yaml.safe_load(_shown(told)) == told["resource"]
    assert any(len(line) > 80 for line in _shown(told).splitlines())
