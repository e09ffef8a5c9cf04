"""Bad input never loses good data: a wrong clock, a source of which nothing can be read, a capture cut short."""

import gzip
import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from netpersona.app.account import tell
from netpersona.app.replay import ASTRAY
from netpersona.app.run import Request, run
from netpersona.app.sample import write_sample
from netpersona.app.stopwatch import Stopwatch
from netpersona.errors import SourceError

TIMELESS = "\n".join(
    json.dumps({"ts": "never", "uid": "C1", "id.orig_h": "10.77.0.11", "id.resp_h": "192.0.2.1", "conn_state": "SF"})
    for _ in range(5)
)
CUT_CAPTURE = bytes.fromhex("d4c3b2a1020004000000")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture
def future(sample, tmp_path):
    """One flow of desk-1 in the year 3000."""
    lines = (sample.logs / "conn.log").read_text().splitlines()
    row = next(line for line in lines if line.split("\t")[2:3] == ["10.77.0.21"]).split("\t")
    path = tmp_path / "future.log"
    path.write_text(
        "\n".join([*(line for line in lines if line.startswith("#")), "\t".join(["32503680000.0", *row[1:]])]) + "\n"
    )
    return path


def replayed(sample, sources, store=None):
    return run(Request(sources, inventory=sample.inventory, store=store), Stopwatch.started()).report


def test_a_wrong_clock_does_not_close_the_store(sample, future, tmp_path):
    store = str(tmp_path / "np.db")
    before = replayed(sample, [sample.logs], store)
    report = replayed(sample, [future], store)
    assert report["input"]["skipped"] == {ASTRAY: 1}
    assert report["personas"] == before["personas"]


def test_a_wrong_clock_among_good_flows_is_left_out(sample, future):
    good, both = replayed(sample, [sample.logs]), replayed(sample, [sample.logs, future])
    assert both["input"]["skipped"] == {ASTRAY: 1}
    assert both["personas"] == good["personas"]
    assert both["findings"] == good["findings"]


def test_a_source_of_which_nothing_can_be_read_is_refused(sample, tmp_path):
    (tmp_path / "conn.json").write_text(TIMELESS)
    with pytest.raises(SourceError, match=r"conn\.json:1: .*not one of its records.*\(5\).*expected"):
        replayed(sample, [tmp_path / "conn.json"])


def test_a_folder_of_which_nothing_can_be_read_is_refused(sample, tmp_path):
    (tmp_path / "conn.json").write_text(TIMELESS)
    (tmp_path / "cut.pcap").write_bytes(CUT_CAPTURE)
    with pytest.raises(SourceError, match=r"no file in this directory can be read; .*conn\.json:1: .*expected"):
        replayed(sample, [tmp_path, sample.logs])


def test_of_a_folder_all_that_can_be_read_is_judged_and_the_rest_is_told(sample, tmp_path):
    good = replayed(sample, [sample.logs])
    logs = tmp_path / "logs"
    shutil.copytree(sample.logs, logs)
    (logs / "older.json").write_text(TIMELESS)
    (logs / "cut.pcap").write_bytes(CUT_CAPTURE)
    done = run(Request([logs], inventory=sample.inventory), Stopwatch.started())
    unread = {Path(file["path"]).name: file["reason"] for file in done.report["input"]["unread"]}
    assert set(unread) == {"older.json", "cut.pcap"}
    assert unread["older.json"].startswith("1: recognised as zeek, but not one of its records could be read")
    assert unread["cut.pcap"] == "ends after 10 bytes; expected a pcap header of 24"
    assert done.report["personas"] == good["personas"]
    assert done.report["findings"] == good["findings"]
    with pytest.raises(SourceError, match=r"cut\.pcap: ends after 10 bytes"):
        replayed(sample, [logs, logs / "cut.pcap"])
    out = io.StringIO()
    tell(done, Console(file=out, width=400))
    told = out.getvalue()
    assert f"not read: {logs / 'cut.pcap'}: ends after 10 bytes" in told
    assert f"from {len(good['input']['sources'])} files" in told


def test_a_cut_gzip_gives_all_that_it_still_holds(sample, tmp_path):
    packed = gzip.compress((sample.logs / "conn.log").read_bytes())
    (tmp_path / "conn.log.gz").write_bytes(packed[: len(packed) // 2])
    report = replayed(sample, [tmp_path / "conn.log.gz"])
    assert report["input"]["flows"] > 4_000
    assert report["input"]["skipped"]
