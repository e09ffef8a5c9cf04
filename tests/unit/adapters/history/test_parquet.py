"""What a kill, a second writer, a reader beside the writer and a full disk do to the files of a history."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import polars as pl
import pytest

from netpersona.adapters.history import segment
from netpersona.adapters.history.compaction import MANY
from netpersona.adapters.history.parquet import ParquetHistory
from netpersona.errors import StoreError
from netpersona.flow.window import DAY, MINUTE
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.hunt import Hunt, quarry
from past_traffic import AT, a_day, as_seen, flow, traffic

NEWS = quarry(parse(b"203.0.113.0/24", FeedSettings("news")).indicators)
FOLDER = "2025-10-09"


def hunted(history):
    hunt = Hunt(NEWS)
    for day in history.days():
        hunt.day(day)
    return hunt.traces()


def windows(history, count):
    """So many windows, one flow in each, each closed like a live one."""
    for number in range(count):
        at = AT + number * 5 * MINUTE
        history.add(traffic(flow(at, "10.0.0.1", "203.0.113.7", 1000 + number)), as_seen)
        history.close(at)
    return history


def test_many_small_segments_become_one_and_a_day_that_is_over_too(tmp_path):
    history = windows(ParquetHistory(tmp_path), MANY + 3)
    found = segment.segments(tmp_path / FOLDER)
    assert [(each.low, each.high, each.total("flows")) for each in found] == [
        (1, MANY, MANY),
        *((n, n, 1) for n in range(MANY + 1, MANY + 4)),
    ]
    assert hunted(history)["flows"].sum() == MANY + 3
    history.close(AT + DAY)
    (whole,) = segment.segments(tmp_path / FOLDER)
    assert whole.about.rows == {"flows": [MANY + 3], "said": [0], "talks": [MANY + 3], "uses": [0]}
    assert hunted(history)["flows"].sum() == MANY + 3
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [whole.path.name]


def test_large_flow_files_are_linked_and_not_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr("netpersona.adapters.history.compaction.AT_ONCE", 2)
    history = windows(ParquetHistory(tmp_path), MANY - 1)
    before = {path.stat().st_ino for each in segment.segments(tmp_path / FOLDER) for path in each.files("flows")}
    history.close(AT + DAY)
    (whole,) = segment.segments(tmp_path / FOLDER)
    assert whole.about.rows["flows"] == [2] * 7 + [1]
    assert whole.files("flows")[-1].stat().st_ino in before
    assert history.flows(AT, AT + DAY).collect().height == MANY - 1


KILLED = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from netpersona.adapters.history.parquet import ParquetHistory
    sys.path.insert(0, sys.argv[3])
    from past_traffic import AT, as_seen, flow, traffic
    from netpersona.flow.window import DAY, MINUTE

    lines = 0
    def killed(frame, what, _):
        global lines
        if "adapters/history" not in frame.f_code.co_filename:
            return None
        if what == "line":
            lines += 1
            if lines == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
        return killed

    history = ParquetHistory(Path(sys.argv[1]))
    for number in range(17):
        at = AT + number * 5 * MINUTE
        if number == 15:
            sys.settrace(killed)
        history.add(traffic(flow(at, "10.0.0.1", "203.0.113.7", 1000 + number)), as_seen)
        history.close(at)
        print(number, flush=True)
    history.close(AT + DAY)
    sys.settrace(None)
    print(lines)
""")


def run_and_kill(folder, line):
    tests = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(line), str(tests)], capture_output=True, text=True
    )
    return done.returncode, [int(text) for text in done.stdout.split()]


def test_killed_at_any_line_nothing_is_lost_but_what_was_open(tmp_path):
    code, said = run_and_kill(tmp_path / "whole", 0)
    assert (code, said[:-1]) == (0, list(range(17)))
    for line in range(1, said[-1], said[-1] // 10):
        folder = tmp_path / str(line)
        code, written = run_and_kill(folder, line)
        assert code == -signal.SIGKILL
        ports = sorted(port - 1000 for port in hunted(ParquetHistory(folder))["port"])
        assert ports in (written, [*written, len(written)]), line  # what was open may be there, or not
        with ParquetHistory(folder) as again:  # a later run finds no trace of it, and everything once
            windows(again, 17)
            again.close(AT + DAY)
            assert sorted(hunted(again)["port"]) == list(range(1000, 1017))
            assert hunted(again)["flows"].to_list() == [1] * 17
        assert len(list((folder / FOLDER).iterdir())) == 1


def test_who_reads_beside_a_writer_always_sees_what_was_written(tmp_path):
    history = windows(ParquetHistory(tmp_path), 1)
    seen, over = [], threading.Event()

    def read():
        while not over.is_set():
            seen.append(int(hunted(ParquetHistory(tmp_path))["flows"].sum()))

    reader = threading.Thread(target=read)
    reader.start()
    windows(history, 3 * MANY)
    history.close(AT + DAY)
    over.set()
    reader.join(300)
    assert seen == sorted(seen)
    assert hunted(history)["flows"].sum() == 3 * MANY


def test_what_is_put_together_while_it_is_listed_is_not_missed(tmp_path, monkeypatch):
    history = windows(ParquetHistory(tmp_path), 3)
    about, put = segment._about, []

    def meanwhile(path):
        if not put:
            put.append(path)
            history.close(AT + DAY)
        return about(path)

    monkeypatch.setattr(segment, "_about", meanwhile)
    assert sum(each.total("flows") for each in segment.segments(tmp_path / FOLDER)) == 3


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path):
    with windows(ParquetHistory(tmp_path), 1), ParquetHistory(tmp_path) as other:
        with pytest.raises(StoreError, match="another process writes it"):
            other.close(AT)
        assert hunted(other).height == 1


def test_leaving_it_writes_what_was_added(tmp_path):
    with ParquetHistory(tmp_path) as history:
        history.add(traffic(*a_day()), as_seen)
    assert ParquetHistory(tmp_path).extent().flows == 9


FULL = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from netpersona.adapters.history.parquet import ParquetHistory
    from netpersona.errors import StoreError
    from past_traffic import AT, as_seen, flow, traffic

    history, written = ParquetHistory(Path(sys.argv[1])), 0
    try:
        for number in range(1000):
            at = AT + number
            history.add(traffic(flow(at, "10.0.0.1", "203.0.113.7")), as_seen)
            history.close(at)
            written += 1
    except StoreError as error:
        print(written, ParquetHistory(Path(sys.argv[1])).extent().flows, error)
""")


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of one's own takes root")
def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path):
    mounted = 'mount -t tmpfs -o size=192k tmpfs "$0" && exec "$@"'
    tests = str(Path(__file__).resolve().parents[3])
    run = [sys.executable, "-c", FULL, str(tmp_path / "flows"), tests]
    done = subprocess.run(["unshare", "-m", "sh", "-c", mounted, str(tmp_path), *run], capture_output=True, text=True)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(done.stderr)
    written, held, error = done.stdout.split(maxsplit=2)
    assert written == held
    assert int(held) > 3
    assert "No space left" in error
    assert error.strip().endswith("what was written before is still good")


def test_a_damaged_file_is_named(tmp_path):
    history = windows(ParquetHistory(tmp_path), 1)
    (found,) = segment.segments(tmp_path / FOLDER)
    found.files("talks")[0].write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(StoreError, match=rf"{found.path}: cannot be read"):
        hunted(history)


def test_another_formats_segment_is_not_taken_for_ours(tmp_path):
    history = windows(ParquetHistory(tmp_path), 1)
    (found,) = segment.segments(tmp_path / FOLDER)
    about = found.path / "about.json"
    about.write_bytes(about.read_bytes().replace(b'"format":1', b'"format":2'))
    with pytest.raises(StoreError, match="written by another version"):
        hunted(history)


def test_others_cannot_read_it(tmp_path):
    windows(ParquetHistory(tmp_path / "flows"), 1)
    assert (tmp_path / "flows").stat().st_mode & 0o077 == 0


def test_what_was_written_before_a_column_was_there_is_read_and_put_together(tmp_path):
    history = windows(ParquetHistory(tmp_path), 2)
    for each, kind in zip(segment.segments(tmp_path / FOLDER), ("flows", "talks"), strict=True):
        (file,) = each.files(kind)
        pl.read_parquet(file).drop("payload_orig" if kind == "flows" else "answered").write_parquet(file)
    history.close(AT + DAY)
    assert history.flows(AT, AT + DAY).collect()["payload_orig"].to_list() == [None, None]
    assert hunted(history)["answered"].to_list() == [1, 0]
