"""The same flows give the same personas and findings: in one file, in ten, shuffled, or in two runs into one store."""

import gzip
import json
import random

import pytest

from netpersona.app.run import Request, run
from netpersona.app.sample import write_sample
from netpersona.app.stopwatch import Stopwatch


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def whole(sample):
    return result(sample, [sample.logs])


def result(sample, sources, store=None):
    request = Request(sources, inventory=sample.inventory, feeds=[sample.feed], policies=[sample.policy], store=store)
    report = run(request, Stopwatch.started()).report
    return {name: report[name] for name in ("personas", "findings", "plan")} | {"flows": report["input"]["flows"]}


def split(path, folder, parts, choose):
    """The log in several files, each with the header; `choose` gives the part of a row's number."""
    lines = path.read_text().splitlines(keepends=True)
    head, rows = [x for x in lines if x.startswith("#")], [x for x in lines if not x.startswith("#")]
    for part in range(parts):
        own = [row for i, row in enumerate(rows) if choose(i, len(rows)) == part]
        (folder / f"part{part}").mkdir(parents=True, exist_ok=True)
        (folder / f"part{part}" / path.name).write_text("".join(head + own))


def test_ten_files(sample, whole, tmp_path):
    for log in sample.logs.iterdir():
        split(log, tmp_path / "one", 1, lambda i, n: 0)
    conn = sample.logs / "conn.log"
    ten = tmp_path / "ten"
    ten.mkdir()
    lines = conn.read_text().splitlines(keepends=True)
    head, rows = [x for x in lines if x.startswith("#")], [x for x in lines if not x.startswith("#")]
    for part in range(10):
        (ten / f"conn.{part}.log").write_text("".join(head + rows[part::10]))
    for name in ("dns.log", "ssl.log"):
        (ten / name).write_bytes((sample.logs / name).read_bytes())
    assert result(sample, [ten]) == whole
    assert result(sample, sorted(ten.iterdir(), reverse=True)) == whole


def test_shuffled_within_a_minute(sample, whole, tmp_path):
    shuffler = random.Random(3)
    for log in sample.logs.iterdir():
        lines = log.read_text().splitlines(keepends=True)
        head, rows = [x for x in lines if x.startswith("#")], [x for x in lines if not x.startswith("#")]
        rows.sort(key=lambda row: float(row.split("\t")[0]) + shuffler.uniform(0, 60))
        with gzip.open(tmp_path / f"{log.name}.gz", "wt") as out:
            out.write("".join(head + rows))
    assert result(sample, [tmp_path]) == whole


@pytest.mark.parametrize("share", [0.31, 0.6, 0.62])
def test_two_runs_into_one_store(sample, whole, tmp_path, share):
    """The cuts fall into a calm morning, into the beacon, and between two windows of the scan."""
    for log in sample.logs.iterdir():
        begin, end = 1767571200.0, 1767571200.0 + 86400
        cut = begin + share * (end - begin)
        lines = log.read_text().splitlines(keepends=True)
        head, rows = [x for x in lines if x.startswith("#")], [x for x in lines if not x.startswith("#")]
        for name, own in (
            ("first", [r for r in rows if float(r.split("\t")[0]) < cut]),
            ("second", [r for r in rows if float(r.split("\t")[0]) >= cut]),
        ):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / log.name).write_text("".join(head + own))
    store = str(tmp_path / "np.db")
    result(sample, [tmp_path / "first"], store)
    after = result(sample, [tmp_path / "second"], store)
    for name in ("personas", "findings", "plan"):
        assert after[name] == whole[name]


def test_replaying_the_same_again_changes_nothing(sample, whole, tmp_path):
    store = str(tmp_path / "np.db")
    assert result(sample, [sample.logs], store) == whole
    again = result(sample, [sample.logs], store)
    for name in ("personas", "findings", "plan"):
        assert again[name] == whole[name]


def test_two_sensors_count_a_flow_once(sample, whole, tmp_path):
    """A second sensor a few milliseconds down the path, with uids of its own."""
    lines = (sample.logs / "conn.log").read_text().splitlines(keepends=True)
    other = []
    for line in lines:
        if not line.startswith("#"):
            at, uid, *rest = line.split("\t")
            line = "\t".join([f"{float(at) + 0.012:.6f}", "D" + uid[1:], *rest])
        other.append(line)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "conn.log").write_text("".join(other))
    both = result(sample, [sample.logs, tmp_path / "other"])
    assert both["flows"] == whole["flows"]
    assert [f["id"] for f in both["findings"]] == [f["id"] for f in whole["findings"]]


def test_hash_seed_and_process_do_not_matter(sample, tmp_path):
    """The same report from processes with other hash seeds, but for how long they took."""
    import os
    import subprocess
    import sys

    seen = set()
    for seed in ("0", "1", "12345"):
        out = tmp_path / f"{seed}.json"
        argv = [sys.executable, "-m", "netpersona", "replay", str(sample.logs), "--inventory", str(sample.inventory)]
        argv += ["--feed", str(sample.feed), "--policy", str(sample.policy), "--report", str(out), "-o", "none"]
        subprocess.run(argv, check=True, env={**os.environ, "PYTHONHASHSEED": seed}, timeout=600)
        report = json.loads(out.read_text())
        del report["timing"]
        seen.add(json.dumps(report, sort_keys=True))
    assert len(seen) == 1
