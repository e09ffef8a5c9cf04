"""Giving flows to a recorder never waits: what does not fit, or fails, is counted."""

import threading

from netpersona.adapters.history.memory import MemoryHistory
from netpersona.adapters.history.parquet import ParquetHistory
from netpersona.adapters.history.recorder import Recorded, Recorder
from netpersona.flow.window import DAY, MINUTE
from past_traffic import AT, a_day, as_seen, flow, traffic
from waiting import until


def test_what_was_added_and_closed_is_written():
    history = MemoryHistory()
    recorder = Recorder(history)
    recorder.add(traffic(*a_day()), as_seen)
    recorder.close(AT + DAY)
    assert recorder.stop(60)
    assert recorder.state() == Recorded(written=9)
    assert history.extent().flows == 9


class Slow(MemoryHistory):
    """A disk that takes its time."""

    gate = None

    def add(self, rows, view):
        self.gate.wait(60)
        return super().add(rows, view)


def test_what_does_not_fit_is_dropped_and_counted_and_giving_does_not_wait():
    history = Slow()
    Slow.gate = threading.Event()
    recorder = Recorder(history, most=25)
    for _ in range(5):
        recorder.add(traffic(*a_day()), as_seen)
    assert recorder.state() == Recorded(waiting=20, dropped=27)
    recorder.close(AT + DAY)
    Slow.gate.set()
    assert recorder.stop(60)
    assert recorder.state() == Recorded(written=18, dropped=27)


def test_a_history_that_fails_is_told_of_and_tried_again(tmp_path):
    place = tmp_path / "flows"
    place.write_text("in the way")
    recorder = Recorder(ParquetHistory(place))
    recorder.add(traffic(flow(AT, "10.0.0.1", "203.0.113.7")), as_seen)
    until(lambda: recorder.state().error, "the failure is told", within=60)
    assert recorder.state().dropped == 1
    assert "File exists" in recorder.state().error
    place.unlink()
    recorder.add(traffic(flow(AT + MINUTE, "10.0.0.1", "203.0.113.7")), as_seen)
    recorder.close(AT + DAY)
    assert recorder.stop(60)
    assert recorder.state() == Recorded(written=1, dropped=1)


def test_a_fault_of_ours_keeps_nothing_else_from_being_written():
    history = MemoryHistory()
    recorder = Recorder(history)
    recorder.add(traffic(*a_day()), lambda _: 1 / 0)
    recorder.close(AT + DAY)
    until(lambda: recorder.state().error, "the failure is told", within=60)
    assert "a fault of netpersona: ZeroDivisionError" in recorder.state().error
    assert recorder.stop(60)


def test_what_could_not_be_written_waits_for_the_next_close(tmp_path):
    history = ParquetHistory(tmp_path / "flows")
    recorder = Recorder(history)
    recorder.add(traffic(flow(AT, "10.0.0.1", "203.0.113.7")), as_seen)
    until((tmp_path / "flows").is_dir, "its folder is there", within=60)
    day = tmp_path / "flows" / "2025-10-09"
    until(lambda: history._rows, "the flows are taken", within=60)
    day.write_text("in the way")
    recorder.close(AT + 1)
    until(lambda: recorder.state().error, "the failure is told", within=60)
    day.unlink()
    recorder.close(AT + 2)
    assert recorder.stop(60)
    assert recorder.state() == Recorded(written=1)
    assert history.extent().flows == 1
