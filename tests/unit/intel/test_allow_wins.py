"""Allow-lists win wherever a feed could harm somebody, until they end, and say whose word they are."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address, ip_network

import polars as pl
import pytest

from log_samples import header, row
from netpersona.app.cli import main
from netpersona.flow.vm import vm_id
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import AllowEntry, AllowList, IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.policy.model import Direction
from netpersona.policy.parse import parse as parse_policies
from netpersona.ruleset.resolve import resolve
from netpersona.ruleset.verdict import Packet, verdict

AT = 1_800_000_000_000_000
WEB = vm_id("web-1")
FEED = parse(
    b"20.0.0.7\n20.1.0.0/16\n2a0b:1::/32\nevil.example\nhttp://evil.example/x\n", FeedSettings("f", confidence=0.95)
)
ALLOW = AllowList(
    (
        AllowEntry("20.0.0.7", AT, "our partner", "ada"),
        AllowEntry("20.1.2.0/24", AT, "their office", "ada"),
        AllowEntry("2a0b:1:2::/48", AT, "their office", "ada"),
        AllowEntry("good.evil.example", AT, "their site", "ada"),
    )
)
INTEL = IndicatorSet.merge([FEED], ALLOW)
POLICY = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: p, version: 1}
spec:
  mode: enforce
  order: 1
  rules: [{name: bad, direction: outbound, action: deny, existing: cut, peers: {reputation_below: 0.3}}]
"""


@pytest.mark.parametrize("allowed", ["20.0.0.7", "20.1.2.3", "2a0b:1:2::5"])
def test_an_allowed_address_matches_nothing_and_has_no_bad_name_until_the_entry_ends(allowed):
    asked = pl.Series([allowed])
    assert INTEL.match_addresses(asked, AT - 1).is_empty()
    assert INTEL.reputation(allowed, AT - 1) == 1.0
    assert INTEL.explain(allowed, AT - 1).allowed.author == "ada"
    assert INTEL.match_addresses(asked, AT).height == 1
    assert INTEL.reputation(allowed, AT) < 0.1


def test_an_allowed_name_matches_nothing_and_what_is_beside_it_does():
    asked = pl.Series(["good.evil.example", "www.good.evil.example", "bad.evil.example"])
    assert INTEL.match_names(asked, AT - 1)["name"].to_list() == ["bad.evil.example"]
    assert INTEL.reputation("www.good.evil.example", AT - 1) == 1.0
    assert INTEL.match_names(asked, AT).height == 3


def test_no_allowed_address_is_in_a_set_whatever_lists_it():
    for found in (INTEL.below(0.3, AT - 1), INTEL.in_feeds(["f"], AT - 1)):
        networks = [ip_network(text) for text in (*found.addresses, *found.networks)]
        for allowed in ("20.0.0.7", "20.1.2.0", "20.1.2.255", "2a0b:1:2::1"):
            assert not any(ip_address(allowed) in network for network in networks)
        for listed in ("20.1.1.255", "20.1.3.0", "2a0b:1:3::1"):
            assert any(ip_address(listed) in network for network in networks)


@pytest.mark.parametrize(
    ("peer", "before", "after"),
    [
        ("20.0.0.7", "allow", "deny"),
        ("20.1.2.3", "allow", "deny"),
        ("2a0b:1:2::5", "allow", "deny"),
        ("20.1.3.3", "deny", "deny"),
        ("9.9.9.9", "allow", "allow"),
    ],
)
def test_a_packet_to_an_allowed_peer_passes_until_the_entry_ends(peer, before, after):
    who = Persona(vm=WEB, base=BaseNetworkConfig(("10.77.0.11/24", "fd00:77::11/64"), inferred=False))
    for at, expected in ((AT - 1, before), (AT, after)):
        rules = resolve([who], parse_policies(POLICY, "p.yaml"), INTEL, at)
        said = verdict(rules, Packet(WEB, Direction.OUTBOUND, peer, "tcp", 443))
        assert said.verdict == expected


def test_the_rules_are_resolved_again_when_an_entry_ends():
    who = Persona(vm=WEB, base=BaseNetworkConfig(("10.77.0.11/24",), inferred=False))
    assert resolve([who], parse_policies(POLICY, "p.yaml"), INTEL, AT - 10).until == AT


def test_entries_keep_their_author_and_end_in_the_store():
    assert IndicatorSet.from_bytes(INTEL.to_bytes()).allow == replace(
        ALLOW, entries=tuple(sorted(ALLOW.entries, key=lambda e: e.value))
    )


BEGIN = 1_767_571_200  # 2026-01-05T00:00:00Z
ALLOWED = """
apiVersion: netpersona/v1
kind: AllowList
metadata: {name: partners}
spec: {entries: [{value: 20.0.0.0/24, until: "2026-01-05T06:00:00Z", comment: payment provider}]}
"""


def test_a_call_to_an_allowed_peer_is_no_finding_and_no_risk_and_after_its_end_it_is(tmp_path, capsys):
    hours = [0, 3, 5, 7]
    flows = [
        row(ts=f"{BEGIN + hour * 3600}.0", uid=f"C{hour}", proto="tcp", conn_state="SF",
            **{"id.orig_h": "10.77.0.11", "id.orig_p": str(20_000 + hour), "id.resp_h": "20.0.0.7", "id.resp_p": "443"})
        for hour in hours
    ]  # fmt: skip
    (tmp_path / "conn.log").write_text(header() + "".join(flows))
    (tmp_path / "feed.txt").write_text("20.0.0.7\n")
    (tmp_path / "allow.yaml").write_text(ALLOWED)
    store = str(tmp_path / "np.db")
    given = ["--vm", "web=10.77.0.11", "--feed", str(tmp_path / "feed.txt"), "--policy", str(tmp_path / "allow.yaml")]
    main(["replay", str(tmp_path / "conn.log"), "--store", store, *given, "-o", "none"])
    capsys.readouterr()
    main(["findings", "web", "--all", "--store", store, "-o", "json"])
    findings = [f for f in json.loads(capsys.readouterr().out) if f["kind"] == "intel_match"]
    assert len(findings) == 1
    assert findings[0]["first_seen"] == BEGIN + 7 * 3600
    main(["risk", "explain", "web", "--at", "2026-01-05T05:30:00Z", "--store", store, "-o", "json"])
    assert "intel_match" not in capsys.readouterr().out
