"""`netpersona why` and `risk explain` on a store of our own making: what concerns the peer, and peers given by a name."""

from __future__ import annotations

import json
import shutil

import pytest

from log_samples import header, row
from netpersona.app.cli import main

NAMES = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "version", "server_name"]
BEGIN = 1_767_571_620  # 2026-01-05T00:07:00Z
LATER = BEGIN + 7200  # within the hour that stays open
LONG = ".".join(["x" * 60, "y" * 60, "z" * 60, "example.com"])
POLICY = """\
apiVersion: netpersona/v1
kind: Policy
metadata: {name: no-evil}
spec:
  order: 10
  mode: enforce
  rules:
    - {name: evil, direction: outbound, action: deny, existing: keep, peers: {domains: [evil.example]}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a store: names that were only in TLS hellos, a beacon, a scan; no DNS at all."""
    folder = tmp_path_factory.mktemp("why")
    calls = [
        (BEGIN, "8.8.4.9", "evil.example"),
        (BEGIN + 60, "8.8.4.10", "cdn.evil.example"),
        (BEGIN + 70, "8.8.4.11", "past.example.org"),
        *((LATER + 10 * k, "8.8.4.20", "quiet.example.net") for k in range(30)),
        (LATER + 100, "8.8.4.12", "new.example.com"),
        (LATER + 101, "8.8.4.13", LONG),
    ]
    flows = [
        row(ts=f"{at}.0", uid=f"C{n}", **ends(n, peer), proto="tcp", conn_state="SF")
        for n, (at, peer, _) in enumerate(calls)
    ]
    scan = [
        row(ts=f"{LATER + port / 10}", uid=f"S{port}", **ends(port, "8.8.4.30", port), proto="tcp", conn_state="S0")
        for port in range(1, 120)
    ]
    hellos = [
        "\t".join([f"{at}.1", f"C{n}", "10.77.0.11", str(20_000 + n), peer, "443", "TLSv12", name])
        for n, (at, peer, name) in enumerate(calls)
    ]
    logs = folder / "logs"
    logs.mkdir()
    (logs / "conn.log").write_text(header() + "\n".join([*flows, *scan]) + "\n")
    (logs / "ssl.log").write_text(header(NAMES, "ssl") + "\n".join(hellos) + "\n")
    (folder / "feed.txt").write_text("evil.example # known bad\nunseen.example\n")
    (folder / "policy.yaml").write_text(POLICY)
    options = [
        "--vm",
        "web=10.77.0.11",
        "--feed",
        folder / "feed.txt",
        "--policy",
        folder / "policy.yaml",
        "-o",
        "none",
    ]
    main(["replay", str(logs), "--store", str(folder / "np.db"), *map(str, options)])
    return folder


def ends(number, peer, port=443):
    return {
        "id.orig_h": "10.77.0.11",
        "id.orig_p": str(20_000 + number),
        "id.resp_h": peer,
        "id.resp_p": str(port),
    }


@pytest.fixture
def ask(place, capsys):
    """What a command says of the store: parsed JSON, or with `plain` the text for a terminal."""

    def run(*argv, plain=False):
        main([*argv, "--store", str(place / "np.db"), "-o", "table" if plain else "json"])
        said = capsys.readouterr().out
        return said if plain else json.loads(said)

    return run


def refusal(capsys, *argv):
    with pytest.raises(SystemExit) as ended:
        main([*argv, "--store", "absent.db"])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_of_a_vm_that_never_was_calm_it_says_that_nothing_is_learned(ask):
    assert ask("why", "web", "8.8.4.20")["persona"]["completeness"] == 0
    assert ", nothing learned yet)" in ask("why", "web", "8.8.4.20", plain=True)


def test_what_was_acquitted_counts_no_more_in_any_answer(place, tmp_path, capsys):
    store = str(shutil.copy(place / "np.db", tmp_path))

    def asked(*argv):
        main([*argv, "--store", store, "-o", "json"])
        return json.loads(capsys.readouterr().out)

    before = asked("risk", "explain", "web")
    asked("persona", "acquit", "web")
    after = asked("risk", "explain", "web")
    assert (before["risk"] > 0.9, after["risk"], after["contributions"]) == (True, after["prior"], [])
    assert all(part["exempt_because"].startswith("the VM was acquitted") for part in after["exempt"])
    told = asked("why", "web", "8.8.4.20")["persona"]
    assert (told["risk"], told["risk_terms"]) == (after["prior"], [])
    assert asked("risk", "explain", "web", "--at", str(LATER + 200))["risk"] > 0.9


def test_only_the_risk_that_concerns_the_peer_is_told_in_full(ask):
    told = ask("why", "web", "8.8.4.20")["persona"]
    assert {t["detector"] for t in told["risk_terms"]} == {"c2_beacon"}
    assert told["risk_elsewhere"]["terms"] >= 2
    assert told["risk_elsewhere"]["log_odds"] > 0
    stranger = ask("why", "web", "8.8.8.8")["persona"]
    assert stranger["risk_terms"] == []
    assert stranger["risk_elsewhere"]["terms"] == told["risk_elsewhere"]["terms"] + 1
    said = " ".join(ask("why", "web", "8.8.8.8", plain=True).split())
    assert said.count("(netpersona risk explain web)") == 1
    assert "regularity" not in said


@pytest.mark.parametrize(
    ("name", "address", "how"),
    [
        ("new.example.com", "8.8.4.12", "TLS or HTTP"),
        ("NEW.example.com.", "8.8.4.12", "TLS or HTTP"),
        ("quiet.example.net", "8.8.4.20", "c2_beacon"),
        ("evil.example", "8.8.4.10", "intel_match"),
        ("cdn.evil.example", "8.8.4.10", "intel_match"),
    ],
)
def test_a_name_seen_only_in_tls_is_found(ask, name, address, how):
    told = ask("why", "web", name)
    assert told["peer"] == address
    first = told["known_by_name"]["addresses"][0]
    assert first["address"] == address
    assert how in first["how"] or name == "quiet.example.net"


def test_every_address_of_a_name_has_its_verdict_and_the_name_its_own(ask):
    told = ask("why", "web", "evil.example:443")
    assert [a["address"] for a in told["known_by_name"]["addresses"]] == ["8.8.4.10", "8.8.4.9"]
    assert {a["verdict"] for a in told["known_by_name"]["addresses"]} == {"allow"}  # DNS never answered them
    assert told["known_by_name"]["if_answered"]["verdict"] == "deny"
    assert "240.0.0" not in json.dumps(told)
    assert told["indicators"]["listings"][0]["feed"] == "feed"
    assert {f["kind"] for f in told["persona"]["findings"]} == {"intel_match"}


def test_of_a_name_without_an_address_all_that_is_known_is_told(ask):
    told = ask("why", "web", "sub.unseen.example.")
    assert told["peer"] is None
    assert told["indicators"]["listings"][0]["value"] == "unseen.example"
    assert "sub.unseen.example" in told["why"] or told["verdict"] == "allow"


def test_a_name_below_a_listed_one_leads_to_where_the_listed_one_was_met(ask):
    told = ask("why", "web", "more.evil.example")
    assert told["known_by_name"]["addresses"][0]["name"] == "evil.example"
    assert told["known_by_name"]["if_answered"]["verdict"] == "deny"


def test_a_name_that_nobody_knows_is_no_error(ask):
    told = ask("why", "web", "past.example.org:443")
    assert told["peer"] is None
    assert told["known_by_name"]["addresses"] == []
    assert told["indicators"]["reputation"] == 1
    assert "240.0.0" not in json.dumps(told)
    said = ask("why", "web", "past.example.org", plain=True)
    assert "no address of past.example.org is stored for web" in said


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--protocol", "bogus"], "known are tcp, udp"),
        (["--protocol", "upd"], "did you mean 'udp'?"),
        (["--protocol", "256"], "no such protocol"),
        (["--protocol", "icmp"], "has no ports"),
        (["--at", "inf"], "no time"),
        (["--at", "1e300"], "1970 to 2255"),
        (["--at", "-5"], "1970 to 2255"),
    ],
)
def test_a_value_that_means_nothing_is_refused(place, capsys, argv, word):
    with pytest.raises(SystemExit) as ended:
        main(["why", "web", "8.8.8.8:443", "--store", str(place / "np.db"), *argv])
    assert ended.value.code == 2
    assert word in capsys.readouterr().err


@pytest.mark.parametrize(
    "peer", ["10.0.0.300", ":443", "8.8.8.8:", "fe80::1%eth0", "https://evil.example/", "8.8.8.8:99999", "8.8.8.8:0"]
)
def test_what_is_neither_an_address_nor_a_name_is_refused(capsys, peer):
    assert peer in refusal(capsys, "why", "web", peer)


@pytest.mark.parametrize("number", ["17", "udp", "UDP"])
def test_a_protocol_may_be_given_by_its_number(ask, number):
    assert ask("why", "web", "8.8.8.8:53", "--protocol", number)["protocol"] == "udp"


def test_icmp_to_an_ipv6_peer_is_that_of_its_family(ask):
    assert ask("why", "web", "2001:4860::8", "--protocol", "icmp")["protocol"] == "icmp6"


def test_the_ledger_tells_a_finding_as_it_is_now(ask):
    present = {f["id"]: f["why"] for f in ask("findings", "--all")}
    parts = ask("risk", "explain", "web")["contributions"]
    terms = [term for part in parts for term in part["terms"]]
    assert any(term["why"] != term["why_then"] for term in terms)
    assert all(term["why"] == present[term["finding"]] for term in terms)


def test_at_a_past_instant_the_ledger_tells_what_was_true_then(ask):
    part = next(p for p in ask("risk", "explain", "web")["contributions"] if p["detector"] == "c2_beacon")
    early = part["terms"][0]
    told = ask("risk", "explain", "web", "--at", str(early["at"]))
    then = next(p for p in told["contributions"] if p["detector"] == "c2_beacon")["terms"][0]
    assert then["why"] == then["why_then"] == early["why_then"]
