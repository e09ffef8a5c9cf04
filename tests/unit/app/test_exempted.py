"""Allow-lists in replays: what was known before an entry came counts up to where it came, and not from then on."""

from __future__ import annotations

import json

import pytest

from log_samples import header, row
from netpersona.app.cli import main
from netpersona.app.exempted import of_bytes, to_bytes
from netpersona.errors import StoreError
from netpersona.intel.allow import AllowEntry
from netpersona.risk.exemptions import Exemptions, of_allow_entry

BEGIN, DAY = 1_767_571_620, 86_400  # 2026-01-05T00:07:00Z
LISTED = "8.8.4.9"
ALLOW = f"""\
apiVersion: netpersona/v1
kind: AllowList
metadata: {{name: ours}}
spec: {{entries: [{{value: {LISTED}, comment: our mirror, author: lena}}]}}
"""


def write(folder, name, at, peers):
    calls = [
        row(ts=f"{at + 60 * n}.0", uid=f"{name}{n}", proto="tcp", conn_state="SF",
            **{"id.orig_h": "10.77.0.11", "id.orig_p": str(20_000 + n), "id.resp_h": peer, "id.resp_p": "443"})
        for n, peer in enumerate(peers)
    ]  # fmt: skip
    (folder / name).mkdir()
    (folder / name / "conn.log").write_text(header() + "\n".join(calls) + "\n")
    return str(folder / name)


@pytest.fixture
def told(tmp_path, capsys):
    """Asks for the risk of the VM of a store that two replays made, the second one with an allow-list."""
    (tmp_path / "feed.txt").write_text(LISTED + "\n")
    (tmp_path / "allow.yaml").write_text(ALLOW)
    store = ["--store", str(tmp_path / "np.db")]
    first = write(tmp_path, "one", BEGIN, [LISTED, "8.8.4.20", LISTED])
    replay = ["--vm", "web=10.77.0.11", "--feed", str(tmp_path / "feed.txt"), "-o", "none", *store]
    main(["replay", first, *replay])
    second = write(tmp_path, "two", BEGIN + 7_200, ["8.8.4.20"])
    main(["replay", second, *replay])  # so that the first hours are closed for good

    def ask(*more):
        capsys.readouterr()
        main(["risk", "explain", "web", *store, "-o", "json", *more])
        return json.loads(capsys.readouterr().out)

    ask.replay = lambda name, at: main(
        ["replay", write(tmp_path, name, at, ["8.8.4.20"]), *replay, "--policy", str(tmp_path / "allow.yaml")]
    )
    ask.listed = lambda: main(["persona", "list", *store, "-o", "json"])
    return ask


def test_an_entry_counts_from_where_the_store_stood_when_it_came(told, capsys):
    early = str(BEGIN + 3_000)
    before, then = told(), told("--at", early)
    assert then["risk"] > before["risk"] > 0.1
    told.replay("three", BEGIN + 14_400)
    after = told()
    assert (after["risk"], after["contributions"]) == (0.02, [])
    assert {each["peer"] for each in after["exempt"]} == {LISTED}
    assert all(word in after["exempt"][0]["exempt_because"] for word in (LISTED, "our mirror", "lena"))
    past = told("--at", early)
    assert (past["risk"], past["contributions"], past["exempt"]) == (then["risk"], then["contributions"], [])
    capsys.readouterr()
    told.listed()
    assert [each["risk_score"] for each in json.loads(capsys.readouterr().out)] == [0.02]


def test_an_entry_that_a_later_replay_does_not_name_is_over(told, tmp_path):
    told.replay("three", BEGIN + 14_400)
    assert told()["risk"] == 0.02
    (tmp_path / "allow.yaml").write_text(ALLOW.replace(LISTED, "8.8.4.77"))
    told.replay("four", BEGIN + 21_600)
    assert told()["risk"] > 0.02
    assert told("--at", str(BEGIN + 9_000))["risk"] == 0.02


def test_the_table_says_which_term_does_not_count_and_why(told, tmp_path, capsys):
    told.replay("three", BEGIN + 14_400)
    capsys.readouterr()
    main(["risk", "explain", "web", "--store", str(tmp_path / "np.db")])
    said = " ".join(capsys.readouterr().out.split())
    assert f"intel_match {LISTED} does not count since" in said
    assert "the allow-entry 8.8.4.9 covers what it is about (our mirror; lena)" in said


def test_exemptions_are_kept_as_bytes_and_damaged_ones_are_refused():
    held = Exemptions().followed([of_allow_entry(AllowEntry(LISTED, None, "ours", "lena"), 5)], 5)
    assert of_bytes(to_bytes(held)) == held
    assert of_bytes(None) == Exemptions()
    for damaged in (b"{", b"[]", to_bytes(held).replace(b'"version":1', b'"version":9')):
        with pytest.raises(StoreError, match="exemptions"):
            of_bytes(damaged)
