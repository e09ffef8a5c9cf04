"""`netpersona hunt`, over a history that a replay kept."""

import json

import pytest
import yaml

from log_samples import header, row
from netpersona.adapters.history.parquet import ParquetHistory
from netpersona.app.cli import main

BEGIN = 1_767_571_620  # 2026-01-05T00:07:00Z
DAY = 86_400
NAMES = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "version", "server_name"]
ALLOWED = """\
apiVersion: netpersona/v1
kind: AllowList
metadata: {name: ours}
spec:
  entries:
    - {value: 8.8.5.11, comment: our own scanner}
"""


def ends(number, peer):
    return {"id_orig_h": "10.77.0.11", "id_orig_p": 20_000 + number, "id_resp_h": peer, "id_resp_p": 443}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with three days of traffic, kept by a replay."""
    folder = tmp_path_factory.mktemp("hunt")
    calls = [
        (BEGIN, "8.8.5.9", "a.evil.example"),
        (BEGIN + DAY, "8.8.5.10", "good.example"),
        (BEGIN + 2 * DAY, "8.8.5.9", "a.evil.example"),
        (BEGIN + 2 * DAY + 7, "8.8.5.11", "ours.example"),
    ]
    flows = [row(ts=f"{at}.5", uid=f"C{n}", **ends(n, peer), proto="tcp") for n, (at, peer, _) in enumerate(calls)]
    hellos = [
        "\t".join([f"{at}.6", f"C{n}", "10.77.0.11", str(20_000 + n), peer, "443", "TLSv12", name])
        for n, (at, peer, name) in enumerate(calls)
    ]
    (folder / "logs").mkdir()
    (folder / "logs" / "conn.log").write_text(header() + "".join(flows))
    (folder / "logs" / "ssl.log").write_text(header(NAMES, "ssl") + "\n".join(hellos) + "\n")
    (folder / "feed.txt").write_text("8.8.5.0/28 # a bad net\nevil.example\n")
    (folder / "allow.yaml").write_text(ALLOWED)
    (folder / "netpersona.yaml").write_text(
        "history: {path: flows, keep: 365d}\nstore: s.db\nfeeds: [{name: bad, file: feed.txt}]\npolicies: [allow.yaml]\n"
    )
    replayed(folder)
    return folder


def replayed(folder, *options):
    logs, config = str(folder / "logs"), str(folder / "netpersona.yaml")
    main(["replay", logs, "--vm", "web=10.77.0.11", "--config", config, "-o", "none", *options])


def hunted(capsys, place, *words, output="json"):
    main(["hunt", *words, "--config", str(place / "netpersona.yaml"), "-o", output])
    said = capsys.readouterr().out
    return said if output == "table" else (json.loads if output == "json" else yaml.safe_load)(said)


def test_who_met_it_when_and_how_much(capsys, place):
    (met,) = hunted(capsys, place, "8.8.5.9")["met"]
    assert (met["vm"], met["first"], met["last"]) == ("web", "2026-01-05T00:07:00.5Z", "2026-01-07T00:07:01.635424Z")
    assert (met["flows"], met["bytes_out"], met["bytes_in"]) == (2, 2 * 1016, 2 * 1226)
    assert (met["ports"], met["names"], met["feeds"]) == (["tcp/443"], ["a.evil.example"], ["asked"])
    assert met["source"].endswith("conn.log")


def test_the_last_days_are_days_of_the_calendar(capsys, place):
    told = hunted(capsys, place, "8.8.5.9", "--days", "2")
    assert (told["since"][:10], told["met"][0]["flows"]) == ("2026-01-06", 1)


def test_a_configured_feed_a_file_and_values_are_hunted_alike_and_allow_lists_win(capsys, place):
    whole = hunted(capsys, place, "--feed", "bad")
    assert whole["indicators"] == {"domain": 1, "network": 1}
    assert [(met["indicator"], met["flows"], met["peers"]) for met in whole["met"]] == [
        ("evil.example", 2, ["8.8.5.9"]),
        ("8.8.5.0/28", 3, ["8.8.5.10", "8.8.5.9"]),
    ]
    assert [(each["value"], each["comment"]) for each in whole["allowed"]] == [("8.8.5.11", "our own scanner")]
    for words in (["--from", str(place / "feed.txt")], ["8.8.5.0/28", "evil.example"]):
        assert hunted(capsys, place, *words)["met_total"] == 2


def test_a_stored_feed_is_hunted_where_none_is_configured(capsys, place):
    options = ["--history", str(place / "flows"), "--store", str(place / "s.db"), "-o", "json"]
    main(["hunt", "--feed", "bad", *options])
    assert json.loads(capsys.readouterr().out)["met_total"] == 2


def test_yaml_says_the_same_and_the_table_what_matters(capsys, place):
    words = ["evil.example", "1.2.3.4", "CVE-2024-1234"]
    assert hunted(capsys, place, *words, output="yaml") == hunted(capsys, place, *words)
    table = " ".join(hunted(capsys, place, *words, output="table").split())  # lines fold where a terminal is narrow
    assert "3 indicators, 1 met by 1 VM, in the flows of 2026-01-05 to 2026-01-07 (4 are kept)." in table
    assert "a.evil.example" in table
    assert "1 indicator could not be hunted, as flows say nothing of such: CVE-2024-1234." in table
    assert "none was met" in hunted(capsys, place, "1.2.3.4", output="table")


def test_a_replay_that_is_given_again_keeps_nothing_twice(capsys, place):
    before = hunted(capsys, place, "8.8.5.9", "evil.example", "good.example")
    replayed(place, "--store", "memory:")
    after = hunted(capsys, place, "8.8.5.9", "evil.example", "good.example")
    assert (before["met"], before["history"]["flows"]) == (after["met"], after["history"]["flows"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["not an indicator!"], 2, "expected an address"),
        (["8.8.5.9", "nonsense"], 2, "'nonsense': "),
        ([], 2, "nothing was named to hunt"),
        (["--feed", "worse"], 2, "there is no feed 'worse'; there are bad"),
        (["--from", "/nowhere.txt"], 3, "No such file"),
        (["8.8.5.9", "--history", "/nowhere"], 2, "no flows were kept here"),
    ],
)
def test_what_cannot_be_hunted_is_told(capsys, place, words, code, said):
    with pytest.raises(SystemExit) as ended:
        hunted(capsys, place, *words)
    assert ended.value.code == code
    assert said in capsys.readouterr().err


def test_without_a_history_it_says_how_to_have_one(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["hunt", "8.8.5.9"])
    assert ended.value.code == 2
    assert "no history was named: give --history DIR" in capsys.readouterr().err


def test_an_empty_history_is_told(capsys, tmp_path):
    with ParquetHistory(tmp_path) as history:
        history.close(0)
    main(["hunt", "8.8.5.9", "--history", str(tmp_path)])
    assert "1 indicator; the history is empty." in capsys.readouterr().out
