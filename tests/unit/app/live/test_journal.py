"""The log of the controller: what is new is told once, what repeats itself is bounded, and nobody forges a line."""

import logging
import re

import pytest

from netpersona.app import log
from netpersona.app.live.journal import _KEPT, Journal
from netpersona.app.live.supervisor import Supervisor
from netpersona.errors import InventoryError
from netpersona.flow.window import SECOND
from told_findings import finding

AT = 1_760_000_000 * SECOND


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "netpersona")
    return caplog


def failing(error):
    def call():
        raise error

    return call


def test_a_part_is_told_when_it_falls_ill_differently_ill_and_well(lines):
    supervisor = Supervisor(AT)
    supervisor.part("store", lambda: 1)
    assert not lines.messages
    for why in ("locked", "locked", "full"):
        supervisor.tried("store", failing(InventoryError(why)))
    supervisor.tried("store", lambda: 1)
    supervisor.tried("store", lambda: 1)
    assert lines.messages == ["store: locked", "store: full", "store: well again"]
    assert [record.levelname for record in lines.records] == ["WARNING", "WARNING", "INFO"]


def test_a_fault_of_ours_is_told_once_with_its_trace(lines):
    supervisor = Supervisor(AT)
    for _ in range(3):
        supervisor.tried("sensor", failing(ZeroDivisionError("by zero")))
    traced = [record for record in lines.records if record.exc_info]
    assert [record.getMessage() for record in traced] == ["sensor: a fault of netpersona; please report it"]
    assert "in failing" not in lines.text
    assert "in call" in lines.text


def test_a_part_that_changes_all_the_time_has_twenty_lines_a_minute(lines):
    supervisor = Supervisor(AT)
    for number in range(100):
        supervisor.ill("kernel", f"healed: rule {number}")
    assert len(lines.messages) == 20
    supervisor.now += 60 * SECOND
    supervisor.ill("kernel", "healed: rule 100")
    assert lines.messages[20:] == ["kernel: healed: rule 100; it changed again and again before"]


def test_alerts_are_told_once_and_not_those_of_an_earlier_run(lines):
    journal = Journal(AT)
    new, old = finding(id="f1", judged_at=AT), finding(id="f0", judged_at=AT - 1)
    for _ in range(3):
        journal.alerts([new, old, finding(id="f2", judged_at=AT, alert=False)], AT)
    assert lines.messages == [f"{new.vm}: {new.kind} ({new.severity}): {new.why} (finding f1)"]


def test_many_alerts_are_counted(lines):
    journal = Journal(AT)
    many = [finding(id=f"f{number}", judged_at=AT) for number in range(50)]
    journal.alerts(many, AT)
    journal.alerts(many, AT + 60 * SECOND)
    assert len(lines.messages) == 21
    assert lines.messages[-1] == "30 more findings within a minute: see 'netpersona findings'"


@pytest.mark.parametrize(("stream", "begins"), [("", r"20\d\d-[-0-9]+T[:0-9]+Z warning "), ("own", "<4>")])
def test_a_line_is_one_line_whoever_wrote_it(stream, begins, monkeypatch, tmp_path):
    own = logging.getLogger("netpersona")
    before = own.handlers[:], own.level, own.propagate
    with (tmp_path / "log").open("w+") as written:
        monkeypatch.setattr("sys.stderr", written)
        monkeypatch.setattr(log, "_is_journal", lambda _: stream == "own")
        try:
            log.to_standard_error("info")
            Journal(AT).alerts([finding(judged_at=AT, why="asked evil\n<2>all is well\x1b[2J")], AT)
        finally:
            own.handlers[:], own.level, own.propagate = before
        written.seek(0)
        (line,) = written.read().splitlines()
    assert re.match(begins, line)
    assert r"asked evil; <2>all is well\x1b[2J" in line


def test_the_stream_of_the_journal_is_told_by_device_and_inode(monkeypatch, tmp_path):
    with (tmp_path / "log").open("w") as written:
        monkeypatch.setattr("sys.stderr", written)
        there = (tmp_path / "log").stat()
        assert log._is_journal(f"{there.st_dev}:{there.st_ino}")
        assert not log._is_journal(f"{there.st_dev}:{there.st_ino + 1}")
        assert not log._is_journal("")


def test_of_parts_that_come_and_go_nothing_is_remembered_unless_they_were_ill():
    supervisor = Supervisor(AT)
    journal = supervisor.journal
    for number in range(100):
        supervisor.well(f"tap vnet{number}")
    assert not journal._parts
    for number in range(_KEPT + 100):
        supervisor.ill(f"tap vnet{number}", "no such device")
    assert len(journal._parts) == _KEPT
