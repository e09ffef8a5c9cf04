"""`feed check` as an operator meets it: what is told, in which form, and when it is no feed."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import pytest
import yaml

NETPERSONA = [sys.executable, "-m", "netpersona"]
FEED = (
    "# a list\n8.8.4.1\n8.8.4.1/32\n8.8.4.1\n10.0.0.0/8\nEvil.example.\nhxxp://evil[.]example/x\n/bare/path\nAS64496\n"
)


def check(*argv):
    return subprocess.run([*NETPERSONA, "feed", "check", *map(str, argv)], capture_output=True, text=True, timeout=600)


@pytest.fixture
def feed(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(FEED)
    return path


def test_it_says_what_would_be_imported_and_what_refused_with_line_and_reason(feed):
    done = check(feed, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "file": str(feed),
        "format": "plain",
        "records": 8,
        "unique": 7,
        "duplicates": 1,
        "indicators": {"address": 1, "network": 1, "domain": 1, "url": 1, "hash": 0, "ja3": 0, "asn": 1, "cve": 0},
        "refused": [
            {
                "line": 5,
                "value": "10.0.0.0/8",
                "reason": "private addresses are nobody's to list (allow: [private] admits them)",
            },
            {"line": 8, "value": "/bare/path", "reason": "a path without a host"},
        ],
    }


def test_table_and_yaml_say_the_same(feed):
    told = json.loads(check(feed, "-o", "json").stdout)
    assert yaml.safe_load(check(feed, "-o", "yaml").stdout) == told
    table = check(feed).stdout
    for word in ("plain", "8 records", "7 unique", "1 duplicate", "10.0.0.0/8", "a path without a host"):
        assert word in table


def test_a_packed_feed_is_the_same_feed(feed, tmp_path):
    packed = tmp_path / "list.txt.gz"
    packed.write_bytes(gzip.compress(FEED.encode()))
    plain, same = (json.loads(check(path, "-o", "json").stdout) for path in (feed, packed))
    assert {**plain, "file": None} == {**same, "file": None}


def test_a_column_may_be_named(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("ip,other\n8.8.4.1,evil.example\n")
    told = json.loads(check(path, "--column", "other", "-o", "json").stdout)
    assert told["indicators"]["domain"] == 1
    wrong = check(path, "--column", "none")
    assert (wrong.returncode, wrong.stdout) == (3, "")
    assert "there is no column 'none'; expected one of ip, other" in wrong.stderr


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"<html><title>Sign in</title></html>", "HTML"),
        (b"\0\1\2\3" * 100, "binary data"),
        (b"no values\nin these lines\n", "'no': a single label is no domain"),
        (b"\x1f\x8b broken", "damaged"),
        (gzip.compress(bytes(100 << 20)), "more than 100 times its size"),
    ],
)
def test_what_is_no_feed_is_one_clear_line_and_exit_code_3(tmp_path, content, wrong):
    path = tmp_path / "thing"
    path.write_bytes(content)
    done = check(path, "-o", "json")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"netpersona: {path}")
    assert wrong in done.stderr
    assert "expected" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_feed_of_which_nothing_is_admitted_is_a_feed(tmp_path):
    path = tmp_path / "bogons.txt"
    path.write_text("10.0.0.0/8\n127.0.0.0/8\n")
    done = check(path, "-o", "json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["refused"]) == 2


def test_a_list_of_refusals_that_was_cut_says_how_many_there_are(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text("".join(f"8.8.4.1\n/path/{n}\n" for n in range(10_500)))
    told = json.loads(check(path, "-o", "json").stdout)
    assert (len(told["refused"]), told["refused_total"]) == (10_000, 10_500)


def test_what_expired_is_told_with_when(tmp_path):
    path = tmp_path / "shared.json"
    lasting = {"type": "indicator", "pattern_type": "stix", "valid_from": "2020-01-01T00:00:00Z"}
    over = lasting | {"pattern": "[ipv4-addr:value = '45.66.77.1']", "valid_until": "2024-01-01T00:00:00Z"}
    always = lasting | {"pattern": "[ipv4-addr:value = '45.66.77.2']"}
    path.write_text(json.dumps({"type": "bundle", "id": "bundle--1", "objects": [over, always]}))
    told = json.loads(check(path, "-o", "json").stdout)
    assert told["indicators"]["address"] == 2
    assert told["refused"] == []
    assert told["expired"] == [{"line": 1, "value": "45.66.77.1", "reason": "expired at 2024-01-01 00:00:00 UTC"}]
    assert "1 indicator of these expired: nothing rests on it now" in check(path).stdout


def test_what_would_steer_a_terminal_is_shown_as_its_escape(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"8.8.4.1\n\x1b[2Jbad\x07 thing\n")
    assert "\x1b" not in check(path).stdout
