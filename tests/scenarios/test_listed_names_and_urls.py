"""Zeek logs of two VMs, feeds of names and URLs: what was met, what is blocked for it, and what is spared."""

from __future__ import annotations

import json

import pytest

from log_samples import header, row
from netpersona.app.cli import main

BEGIN = 1_767_571_620  # 2026-01-05T00:07:00Z
ENDS = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"]
DNS = [*ENDS, "proto", "query", "qtype_name", "rcode_name", "answers", "TTLs"]
HTTP = [*ENDS, "method", "host", "uri", "user_agent", "status_code"]
TLS = [*ENDS, "version", "server_name"]
WEB, OTHER, RESOLVER = "10.77.0.11", "10.77.0.12", "10.77.0.53"
ALONE, SHARED, EDGE, FILES, QUIET, FORGE = "20.0.0.7", "20.0.0.9", "104.16.1.2", "20.0.0.30", "20.0.0.31", "20.0.0.32"
QUESTIONS = [
    (WEB, "control.evil.example", ALONE),
    (WEB, "bad.example", SHARED),
    (WEB, "edge.bad.example", EDGE),
    *((OTHER, f"www.site{n}.com", SHARED) for n in range(4)),
]
FEEDS = {
    "names.txt": "evil.example # c2\nbad.example\n",
    "urls.txt": "http://files.example/gate.php\nhttps://quiet.example/x\nhttps://github.com/somebody/bad.sh\n",
}
POLICY = """\
apiVersion: netpersona/v1
kind: Policy
metadata: {name: listed}
spec:
  order: 10
  mode: enforce
  rules:
    - {name: bad, direction: outbound, action: deny, peers: {reputation_below: 0.3}}
"""
ALLOWED = """\
---
apiVersion: netpersona/v1
kind: AllowList
metadata: {name: ours}
spec: {entries: [{value: evil.example, comment: our own sinkhole}]}
"""


def written(folder, name, fields, rows):
    text = "".join("\t".join(map(str, each)) + "\n" for each in rows)
    (folder / f"{name}.log").write_text(header(fields, name) + text)


def replayed(folder, policy=POLICY):
    logs = folder / "logs"
    logs.mkdir(parents=True)
    ends = {
        uid: (BEGIN + n, uid, vm, 20_000 + n, peer, port)
        for n, (uid, vm, peer, port) in enumerate(
            [
                *((f"D{n}", vm, RESOLVER, 53) for n, (vm, _, _) in enumerate(QUESTIONS)),
                ("A", WEB, ALONE, 443),
                ("S", WEB, SHARED, 443),
                ("F", WEB, FILES, 80),
                ("Q", WEB, QUIET, 443),
                ("G", WEB, FORGE, 443),
            ]
        )
    }
    conn = [
        row(**dict(zip(ENDS, each, strict=True)), proto="udp" if each[-1] == 53 else "tcp", conn_state="SF")
        for each in ends.values()
    ]
    (logs / "conn.log").write_text(header() + "".join(conn))
    written(
        logs,
        "dns",
        DNS,
        [(*ends[f"D{n}"], "udp", name, "A", "NOERROR", address, 60) for n, (_, name, address) in enumerate(QUESTIONS)],
    )
    asked = [("GET", "files.example", "/", "curl", 200), ("POST", "files.example", "/gate.php?id=7", "curl", 200)]
    written(logs, "http", HTTP, [(*ends["F"], *each) for each in asked])
    hello = {"A": "control.evil.example", "S": "www.site1.com", "Q": "quiet.example", "G": "github.com"}
    written(logs, "ssl", TLS, [(*ends[uid], "TLSv12", name) for uid, name in hello.items()])
    options = ["--vm", f"web={WEB}", "--vm", f"other={OTHER}", "-o", "none"]
    for name, text in FEEDS.items():
        (folder / name).write_text(text)
        options += ["--feed", str(folder / name)]
    (folder / "policy.yaml").write_text(policy)
    options += ["--policy", str(folder / "policy.yaml"), "--report", str(folder / "report.json")]
    main(["replay", str(logs), "--store", str(folder / "np.db"), *options])
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return replayed(tmp_path_factory.mktemp("listed"))


@pytest.fixture
def why(capsys):
    def asked(place, peer, vm="web"):
        main(["why", vm, peer, "--store", str(place / "np.db"), "-o", "json"])
        return json.loads(capsys.readouterr().out)

    return asked


def test_what_was_met_is_found_and_a_host_alone_is_a_note(place):
    report = json.loads((place / "report.json").read_text())
    met = {
        (f["evidence"]["via"], f["evidence"]["indicator"]): f for f in report["findings"] if f["kind"] == "intel_match"
    }
    assert set(met) == {
        ("dns", "evil.example"),
        ("tls", "evil.example"),
        ("dns", "bad.example"),
        ("url", "http://files.example/gate.php"),
        ("tls-host", "quiet.example"),
    }
    assert met["url", "http://files.example/gate.php"]["alert"]
    assert met["url", "http://files.example/gate.php"]["evidence"]["uses"] == 1
    note = met["tls-host", "quiet.example"]
    assert not note["alert"]
    assert "which page was meant was not seen" in note["why"]


def test_the_listed_names_own_address_is_blocked_and_no_shared_one(place):
    nft = json.loads((place / "report.json").read_text())["plan"]["nft"]
    assert ALONE in nft
    assert SHARED not in nft
    assert EDGE not in nft


def test_why_tells_the_name_the_feed_the_line_and_the_answer_with_its_age(place, why):
    told = why(place, f"{ALONE}:443")
    assert told["verdict"] == "deny"
    assert "control.evil.example, whose evil.example names:1 lists as c2 (0.80)" in told["why"]
    assert (
        "DNS answered web 20.0.0.7 for control.evil.example, last at 2026-01-05 00:07:00, "
        in told["indicators"]["words"]
    )
    assert told["indicators"]["listings"][0]["line"] == 1
    assert why(place, "control.evil.example")["verdict"] == "deny"
    assert why(place, f"{ALONE}:443", "other")["verdict"] == "allow"


def test_why_tells_that_an_address_is_spared_and_for_whom(place, why):
    assert "but 4 other sites were answered with it, site0.com, site1.com" in why(place, f"{SHARED}:443")["why"]
    assert "the edge of a content network" in why(place, f"{EDGE}:443")["why"]
    assert why(place, f"{SHARED}:443")["verdict"] == why(place, f"{EDGE}:443")["verdict"] == "allow"


def test_after_an_allow_entry_it_passes_and_nothing_is_found(tmp_path, why):
    place = replayed(tmp_path / "allowed", POLICY + ALLOWED)
    assert why(place, f"{ALONE}:443")["verdict"] == "allow"
    report = json.loads((place / "report.json").read_text())
    assert "evil.example" not in {f["evidence"].get("indicator") for f in report["findings"]}
