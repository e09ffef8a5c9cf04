"""Reports put together into windows."""

import polars as pl

from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.adapters.sensors.tap.open_windows import OpenWindows
from netpersona.flow.table import TRANSACTION_SCHEMA, batch, conform
from netpersona.flow.window import WINDOW

T = 1_700_000_100_000_000


def flow(uid, packets, *, start=T + 1, part=0, source="tap-a"):
    return {"uid": uid, "part": part, "start": start, "packets_orig": packets, "source": source}


def said(name, status=None, start=T + 1, uid="P1"):
    return {"uid": uid, "start": start, "kind": "dns", "name": name, "detail": "A", "status": status, "source": "tap-a"}


def report(flows=(), transactions=(), asked=(), until=T):
    return Report(
        batch=batch(pl.DataFrame(list(flows)), pl.DataFrame(list(transactions))),
        asked=conform(pl.DataFrame(list(asked)), TRANSACTION_SCHEMA),
        until=until,
    )


def packets(rows):
    return dict(rows.flows.select("uid", "packets_orig").rows())


def test_a_row_takes_the_place_of_the_one_before_it():
    windows = OpenWindows()
    windows.add(report([flow("P1", 1), flow("P2", 5)]))
    windows.add(report([flow("P1", 3)]))
    assert packets(windows.table(T)) == {"P1": 3, "P2": 5}
    windows.add(report([flow("P1", 4)]))
    assert packets(windows.table(T)) == {"P1": 4, "P2": 5}


def test_parts_stand_in_their_own_windows_which_close_in_order():
    windows = OpenWindows()
    windows.add(report([flow("P1", 1)]))
    windows.add(report([flow("P1", 2, start=T + WINDOW, part=1)], until=T + WINDOW - 1))
    assert windows.starts() == [T, T + WINDOW]
    closed = windows.add(report(until=T + 3 * WINDOW))
    assert [(start, packets(rows)) for start, rows in closed] == [(T, {"P1": 1}), (T + WINDOW, {"P1": 2})]
    assert windows.starts() == []


def test_what_was_asked_stands_in_until_its_answer_comes():
    windows = OpenWindows()
    windows.add(report(asked=[said("a.example"), said("b.example")]))
    assert windows.table(T).transactions["name"].to_list() == ["a.example", "b.example"]
    windows.add(report(transactions=[said("a.example", "NOERROR")]))
    rows = windows.table(T).transactions.select("name", "status").sort("name").rows()
    assert rows == [("a.example", "NOERROR"), ("b.example", None)]
    windows.add(report(transactions=[said("b.example")]))
    ((_, closed),) = windows.add(report(until=T + WINDOW))
    assert closed.transactions["name"].to_list() == ["a.example", "b.example"]


def test_the_rows_of_some_interfaces():
    windows = OpenWindows()
    windows.add(report([flow("P1", 1), flow("P2", 2, source="tap-b")], [said("a.example")]))
    assert packets(windows.table(T, ["tap-b"])) == {"P2": 2}
    assert windows.table(T, ["tap-b"]).transactions.is_empty()
    assert windows.table(T, ["tap-a"]).transactions.height == 1
    assert windows.table(T + WINDOW).flows.is_empty()


def test_rows_of_closed_windows_are_counted():
    windows = OpenWindows()
    windows.add(report([flow("P1", 1)], until=T + WINDOW))
    windows.add(report([flow("P2", 1)], until=T + WINDOW))
    assert windows.skipped == {"row of a window that was closed": 1}
    assert windows.starts() == []


def test_of_too_many_rows_the_latest_are_left_out_and_the_others_stay_up_to_date():
    windows = OpenWindows(most=6_000)
    for first in range(0, 5_000, 1_000):
        windows.add(report([flow(f"P{n}", 1, start=T + n) for n in range(first, first + 1_000)]))
    table = windows.table(T).flows
    assert set(table["uid"]) == {f"P{n}" for n in range(3_000)}
    assert windows.skipped == {"row left out: too many of one interface in one window": 2_000}
    windows.add(report([flow("P7", 9, start=T + 7), flow("P4000", 9, start=T + 4000)]))
    assert packets(windows.table(T))["P7"] == 9
    assert windows.table(T).flows.height == 3_000


def test_reading_in_between_changes_no_bound():
    windows = OpenWindows(most=6_000)
    for first in range(0, 9_000, 1_000):
        windows.add(report([flow(f"P{n}", 1, start=T + n) for n in range(first, first + 1_000)]))
        assert windows.table(T).flows.height <= 3_000
    assert windows.skipped == {"row left out: too many of one interface in one window": 6_000}


def test_an_interface_that_floods_hides_no_others_flows():
    windows = OpenWindows(most=10_000)
    for first in range(0, 20_000, 1_000):
        many = [flow(f"P{n}", 1, start=T + n) for n in range(first, first + 1_000)]
        windows.add(report([*many, flow(f"Q{first}", 1, start=T + first, source="tap-b")]))
    assert windows.table(T, ["tap-b"]).flows.height == 20
    assert windows.table(T, ["tap-a"]).flows.height <= 5_000
    assert windows.skipped["row left out: too many of one interface in one window"] >= 15_000


def test_many_small_reports_are_put_together_now_and_then():
    windows = OpenWindows()
    for count in range(300):
        windows.add(report([flow(f"P{n}", count) for n in range(100)]))
    assert windows._windows[T].flows.by_source["tap-a"].waiting <= 2_000
    assert packets(windows.table(T)) == {f"P{n}": 299 for n in range(100)}


def test_rows_of_no_interface_are_among_all():
    windows = OpenWindows()
    windows.add(report([flow("P1", 1, source=None), flow("P2", 1)]))
    assert set(packets(windows.table(T))) == {"P1", "P2"}
    assert set(packets(windows.table(T, ["tap-a"]))) == {"P2"}


def test_a_clock_that_is_set_back_opens_windows_again():
    windows = OpenWindows()
    ahead = T + 12 * WINDOW
    windows.add(report([flow("P1", 1)], until=T + 10))
    assert [start for start, _ in windows.add(report([flow("P2", 1, start=ahead)], until=ahead + 10))] == [T]
    windows.add(report([flow("P3", 1, start=T + 20)], until=T + 30))
    assert packets(windows.table(T)) == {"P3": 1}
    assert not windows.skipped
    closed = windows.add(report(until=ahead + WINDOW))
    assert [(start, packets(rows)) for start, rows in closed] == [(T, {"P3": 1}), (ahead, {"P2": 1})]


def test_a_question_that_waits_is_no_clock_set_back():
    windows = OpenWindows()
    windows.add(report(until=T + WINDOW))
    windows.add(report([flow("P1", 1)], until=T + WINDOW - 1))
    assert windows.skipped == {"row of a window that was closed": 1}
