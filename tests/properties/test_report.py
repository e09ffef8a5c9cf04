"""The report is what its format says, whatever the personas and findings are."""

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.app.report import Intake, report
from netpersona.flow.account import SourceAccount
from netpersona.risk.finding import KINDS, Finding, Severity
from properties.personas import addresses, instants, names, personas, shares

INPUT = {"sources", "flows", "duplicates", "first", "last", "vms", "vms_inferred", "skipped", "unread"}
PERSONA = {
    *("vm", "addresses", "base_network_config", "traffic_profile", "behavioral_signatures", "risk_score"),
    *("risk_ledger", "mitigation_rules", "mitigations", "completeness", "version"),
}
FINDING = {
    *("id", "vm", "vm_address", "detector", "kind", "peer", "peers", "peers_total", "protocol", "port", "direction"),
    *("first_seen", "last_seen", "judged_at", "confidence", "severity", "alert", "why", "evidence", "techniques"),
}
said = st.text(min_size=1, max_size=20).filter(lambda text: text != "-")
findings = st.builds(
    Finding,
    id=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    vm=names,
    vm_address=addresses,
    detector=st.sampled_from(["c2_beacon", "scan_inbound"]),
    kind=st.sampled_from(sorted(KINDS)),
    peer=st.none() | addresses,
    peers=st.lists(addresses, max_size=5).map(tuple),
    peers_total=st.integers(0, 10_000),
    protocol=st.none() | st.sampled_from(["tcp", "udp", "icmp"]),
    port=st.none() | st.integers(0, 65535),
    direction=st.sampled_from(["inbound", "outbound"]),
    first_seen=instants,
    last_seen=instants,
    judged_at=instants,
    confidence=shares,
    severity=st.sampled_from(Severity),
    alert=st.booleans(),
    why=said,
    evidence=st.dictionaries(said, shares | st.integers(0, 2**60) | said, max_size=4),
    techniques=st.just(("T1071",)),
)
accounts = st.builds(
    SourceAccount,
    path=said,
    format=st.sampled_from(["zeek", "pcap"]),
    flows=st.integers(0, 2**40),
    skipped=st.dictionaries(said, st.integers(1, 2**40), max_size=3),
    first=st.none() | instants,
    last=st.none() | instants,
)


def written(people, found, sources):
    intake = Intake(sources, 1, 0, {}, None, None, inferred=True)
    return json.loads(
        json.dumps(report(intake, people, found, {"vms": [], "nft": "x"}, 0, {"wall_s": 1.0}), allow_nan=False)
    )


@settings(max_examples=60)
@given(st.dictionaries(names, personas, max_size=3), st.lists(findings, max_size=4), st.lists(accounts, max_size=3))
def test_every_object_has_the_keys_of_the_format(people, found, sources):
    told = written(people, found, sources)
    assert (told["apiVersion"], told["kind"]) == ("netpersona/v1", "ReplayReport")
    assert set(told) == {"apiVersion", "kind", "input", "timing", "personas", "findings", "plan"}
    assert set(told["input"]) == INPUT
    assert [set(f) for f in told["findings"]] == [FINDING] * len(found)
    assert all(set(p) >= PERSONA - {"mitigation_rules"} for p in told["personas"])
    assert len(told["personas"]) == len(people)


@settings(max_examples=60)
@given(st.dictionaries(names, personas, max_size=3), st.lists(findings, max_size=4))
def test_times_are_seconds_and_shares_are_shares(people, found):
    told = written(people, found, [])
    for finding, source in zip(told["findings"], found, strict=True):
        for name in ("first_seen", "last_seen", "judged_at"):
            assert math.isclose(finding[name], getattr(source, name) / 1e6)
        assert 0 <= finding["confidence"] <= 1
        assert finding["severity"] in {"informational", "low", "medium", "high", "critical"}
    for persona in told["personas"]:
        assert 0 <= persona["risk_score"] <= 1


@settings(max_examples=60)
@given(st.lists(findings, max_size=4), st.lists(accounts, max_size=3))
def test_what_is_absent_is_null_and_never_a_dash(found, sources):
    told = written({}, found, sources)
    assert not [value for value in leaves(told["findings"]) if value in {"", "-"}]
    for account, source in zip(told["input"]["sources"], sources, strict=True):
        assert (account["first"] is None) == (source.first is None)


def leaves(value):
    """Every text in a JSON value that is not a key."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves(part)]
    return [value] if isinstance(value, str) else []
