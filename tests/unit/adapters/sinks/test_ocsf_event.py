"""What a finding is as an OCSF Detection Finding: what the schema requires is there, and says what the finding says."""

import json

import msgspec
import pytest

from netpersona.adapters.sinks.ocsf_event import event
from netpersona.adapters.sinks.techniques import NAMES
from netpersona.risk.finding import KINDS, Severity
from told_findings import AT, BAD, EVERY_KIND, finding

REQUIRED = {"activity_id", "category_uid", "class_uid", "finding_info", "metadata", "severity_id", "time", "type_uid"}


@pytest.mark.parametrize("found", EVERY_KIND, ids=lambda found: found.kind)
@pytest.mark.parametrize("again", [False, True])
def test_what_the_schema_requires_is_there(found, again):
    told = event(found, again=again)
    assert told.keys() >= REQUIRED
    assert (told["class_uid"], told["category_uid"], told["type_uid"]) == (2004, 2, 200_402 if again else 200_401)
    assert told["metadata"]["version"].startswith("1.")
    assert told["metadata"]["product"]["vendor_name"]
    assert {"uid", "title"} <= told["finding_info"].keys()
    assert told["finding_info"]["analytic"]["type_id"] in {1, 2}
    assert all({"name", "type_id"} <= each.keys() for each in told["observables"])
    assert all({"connection_info", "src_endpoint", "dst_endpoint"} & each.keys() for each in told["evidences"])
    assert all(each["technique"]["uid"] for each in told["finding_info"].get("attacks", []))
    assert json.loads(msgspec.json.encode(told)) == told


def test_it_says_what_the_finding_says():
    told = event(finding(), again=False)
    assert (told["severity_id"], told["severity"], told["is_alert"], told["confidence_score"]) == (4, "High", True, 93)
    assert (told["time"], told["start_time"]) == (AT // 1000 + 300_000, AT // 1000)
    assert told["resources"] == [{"uid": "web-1", "name": "web-1", "type": "Virtual Machine"}]
    assert told["evidences"] == [
        {
            "connection_info": {"direction_id": 2, "direction": "Outbound", "protocol_name": "tcp"},
            "src_endpoint": {"ip": "10.0.0.1"},
            "dst_endpoint": {"ip": BAD, "port": 8443},
        }
    ]
    assert told["message"] == told["finding_info"]["desc"] == finding().why
    assert told["unmapped"] == {"flows": 10, "sent_bytes": 1_000, "peers_total": 1}


def test_inbound_the_port_is_ours():
    (evidence,) = event(finding("brute_force", direction="inbound", port=22), again=False)["evidences"]
    assert evidence["src_endpoint"] == {"ip": BAD}
    assert evidence["dst_endpoint"] == {"ip": "10.0.0.1", "port": 22}


def test_every_technique_that_a_kind_has_is_named():
    assert {each for techniques in KINDS.values() for each in techniques} <= NAMES.keys()


def test_a_sub_technique_stands_below_its_technique():
    attack = event(finding(techniques=("T1071.004",)), again=False)["finding_info"]["attacks"][0]
    assert attack["technique"] == {"uid": "T1071", "name": "Application Layer Protocol"}
    assert attack["sub_technique"] == {"uid": "T1071.004", "name": "DNS"}


@pytest.mark.parametrize(("severity", "number"), [(Severity.INFORMATIONAL, 1), (Severity.CRITICAL, 5)])
def test_severities_are_those_of_the_schema(severity, number):
    assert event(finding(severity=severity), again=False)["severity_id"] == number
