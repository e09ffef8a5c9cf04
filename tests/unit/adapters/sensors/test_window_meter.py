"""Live flows: what each report says, what a wrong clock and late packets do, what is bounded."""

from collections import Counter

import pytest

from netpersona.adapters.sensors.packets.dialogue import LATENESS
from netpersona.adapters.sensors.packets.window_meter import STEP, WindowMeter
from netpersona.adapters.sensors.tap.open_windows import OpenWindows
from netpersona.flow.window import WINDOW
from packet_samples import ACK, FIN, LINUX, PSH, SYN, A, B, client_hello, dns, packets_of, tcp, udp

SECOND = 1_000_000
T = 1_700_000_100 * SECOND  # a window begins here
ONE, TWO = (A, 4000, B, 443), (B, 443, A, 4000)
ASK, TELL = (A, 5000, B, 53), (B, 53, A, 5000)
HELLO = client_hello("www.example.com", padding=700)


class Meter:
    """A WindowMeter that is given (time, frame) pairs."""

    def __init__(self, **limits):
        self.meter, self.skipped = WindowMeter("tap", {0: "tap-a"}, **limits), Counter()

    def report(self, until, *timed):
        packets = [packets_of([frame for _, frame in timed], [at for at, _ in timed])] if timed else []
        return self.meter.report(packets, until, self.skipped)


def rows(report, *columns):
    return report.batch.flows.sort("uid", "part").select(columns).rows()


def test_only_flows_with_new_packets_are_told_and_each_whole():
    meter = Meter()
    first = meter.report(T + 10, (T + 1, tcp(*ONE, SYN, options=LINUX)), (T + 2, udp(A, 1, B, 2)))
    assert sorted(rows(first, "packets_orig", "state")) == [(1, "S0"), (1, "S0")]
    assert rows(meter.report(T + 20)) == []
    again = meter.report(T + 30, (T + 21, tcp(*TWO, SYN | ACK)), (T + 22, tcp(*ONE, ACK)))
    assert rows(again, "packets_orig", "packets_resp", "state", "part") == [(2, 1, "S1", 0)]


def test_a_flow_that_goes_on_in_the_next_window_is_told_in_parts():
    meter = Meter()
    begin, later = T + WINDOW - 9 * SECOND, T + WINDOW + SECOND
    meter.report(begin + 10, (begin, tcp(*ONE, SYN, options=LINUX)), (begin + 1, tcp(*TWO, SYN | ACK)))
    (part,) = meter.report(later + 10, (later, tcp(*ONE, ACK | PSH, bytes(7)))).batch.flows.to_dicts()
    assert (part["part"], part["start"], part["duration"]) == (1, later, 0)
    assert (part["packets_orig"], part["packets_resp"], part["payload_orig"]) == (1, 0, 7)
    assert (part["state"], part["originator"]) == ("S1", A)
    assert part["tcp_fingerprint"] is not None
    (end,) = meter.report(
        later + 30, (later + 20, tcp(*ONE, FIN | ACK)), (later + 21, tcp(*TWO, FIN | ACK))
    ).batch.flows.to_dicts()
    assert (end["uid"], end["part"], end["state"], end["packets_orig"]) == (part["uid"], 1, "SF", 2)


def test_a_window_is_not_complete_while_a_question_waits():
    meter = Meter()
    report = meter.report(T + 9 * SECOND, (T + SECOND, udp(*ASK, dns(1, "a.example"))))
    assert report.until == T + SECOND
    assert report.asked["name"].to_list() == ["a.example"]
    assert report.batch.transactions.is_empty()
    assert meter.report(T + 10 * SECOND).asked.is_empty()
    report = meter.report(T + 61 * SECOND)
    assert (report.until, report.batch.transactions.height) == (T + SECOND, 0)
    report = meter.report(T + 62 * SECOND)
    assert report.until == T + 62 * SECOND
    assert report.batch.transactions.select("name", "status").rows() == [("a.example", None)]
    assert report.asked.is_empty()


def test_a_window_is_complete_soon_after_its_end_and_a_later_answer_has_its_own():
    meter, windows, end = Meter(), OpenWindows(), T + WINDOW
    assert windows.add(meter.report(end - 9, (end - 10, udp(*ASK, dns(1, "a.example"))))) == []
    waiting = meter.report(end + LATENESS)
    assert (waiting.until, waiting.now) == (end - 10, end + LATENESS)
    assert windows.add(waiting) == []
    ((start, part),) = windows.add(meter.report(end + LATENESS + 1))
    assert start == T
    assert part.transactions.select("name", "status", "start").rows() == [("a.example", None, end - 10)]
    late = end + 5 * SECOND
    windows.add(meter.report(late + 1, (late, udp(*TELL, dns(1, "a.example", answers=[(1, bytes([192, 0, 2, 1]))])))))
    told = windows.table(end).transactions.select("name", "start", "answers", "originator", "responder").rows()
    assert told == [("a.example", late, ["192.0.2.1"], A, B)]


def test_the_end_of_windows_of_another_length_counts():
    meter = Meter(window=60 * SECOND)
    begin = T // (60 * SECOND) * 60 * SECOND
    meter.report(begin + 9, (begin, udp(*ASK, dns(1, "a.example"))))
    assert meter.report(begin + 60 * SECOND).until == begin
    meter.report(begin + 90 * SECOND, (begin + 89 * SECOND, udp(*ASK, dns(2, "b.example"))))
    assert meter.report(begin + 121 * SECOND).until == begin + 89 * SECOND
    assert meter.report(begin + 123 * SECOND).until == begin + 123 * SECOND


def test_a_hello_that_says_nothing_yet_when_its_window_is_complete_is_read_in_the_next():
    meter, windows, end = Meter(), OpenWindows(), T + WINDOW
    windows.add(meter.report(end - 9, (end - 10, tcp(*ONE, ACK, HELLO[:20], seq=2))))
    assert [start for start, _ in windows.add(meter.report(end + 3 * SECOND))] == [T]
    late = end + 4 * SECOND
    report = meter.report(late + 1, (late, tcp(*ONE, ACK, HELLO[20:], seq=22)))
    assert report.batch.transactions.select("kind", "name", "start").rows() == [("tls", "www.example.com", late)]
    assert rows(report, "part", "server_name") == [(1, "www.example.com")]
    assert (report.until, report.asked.height) == (late + 1, 0)
    assert windows.add(report) == []
    assert not windows.skipped


def test_what_is_answered_at_once_was_never_asked():
    meter = Meter()
    answer = udp(*TELL, dns(1, "a.example", answers=[(1, bytes(4))]))
    report = meter.report(T + 9, (T + 1, udp(*ASK, dns(1, "a.example"))), (T + 2, answer))
    assert (report.asked.height, report.batch.transactions["ttl"].to_list(), report.until) == (0, [60], T + 9)


def test_a_request_that_is_given_up_still_takes_its_late_response():
    meter = Meter()
    ask = tcp(*ONE, PSH | ACK, b"GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n", seq=1)
    again = tcp(*ONE, PSH | ACK, b"GET /b HTTP/1.1\r\nHost: b.example\r\n\r\n", seq=99)
    meter.report(T + 10, (T + 1, ask))
    late = T + 61 * SECOND
    report = meter.report(late, (late - 9, again))
    assert report.batch.transactions.select("name", "status").rows() == [("a.example", None)]
    answers = [tcp(*TWO, PSH | ACK, f"HTTP/1.1 {code} X\r\n\r\n".encode()) for code in (200, 404)]
    report = meter.report(late + 10, (late + 1, answers[0]), (late + 2, answers[1]))
    assert report.batch.transactions.select("name", "status").rows() == [("b.example", "404")]


@pytest.mark.parametrize("closed", [False, True])
def test_the_name_in_a_hello_that_was_never_finished_is_told_in_the_end(closed):
    meter = Meter()
    meter.report(T + 10, (T + 1, tcp(*ONE, SYN)), (T + 2, tcp(*ONE, ACK, HELLO[:300], seq=2)))
    if closed:
        meter.report(T + 30, (T + 20, tcp(*ONE, FIN | ACK)))
        report = meter.report(T + 40, (T + 31, tcp(*ONE, SYN)))
        assert sorted(rows(report, "start", "server_name"), key=str) == [(T + 1, "www.example.com"), (T + 31, None)]
    else:
        assert rows(meter.report(T + 20)) == []
        report = meter.report(T + 61 * SECOND)
        assert rows(report, "start", "server_name") == [(T + 1, "www.example.com")]
    assert report.batch.transactions.select("kind", "name", "agent").rows() == [("tls", "www.example.com", None)]
    assert report.until > T + 2


def test_a_name_that_becomes_known_after_its_window_belongs_to_the_next_part():
    meter = Meter()
    before = T + WINDOW - SECOND
    meter.report(before + 10, (before, tcp(*ONE, ACK, HELLO[:300], seq=2)))
    report = meter.report(before + 62 * SECOND)
    assert rows(report, "part", "server_name") == [(0, "www.example.com")]
    meter, long_before = Meter(), T + WINDOW - 70 * SECOND
    meter.report(long_before + 10, (long_before, tcp(*ONE, ACK, HELLO[:300], seq=2)))
    report = meter.report(T + WINDOW + 9, (T + WINDOW + 1, udp(A, 1, B, 2)))
    assert sorted(rows(report, "part", "server_name"), key=str) == [(0, "www.example.com"), (0, None)]
    meter = Meter()
    meter.report(before + 10, (before, tcp(*ONE, ACK, HELLO[:300], seq=2)))
    meter.report(before + 2 * SECOND, (before + 2 * SECOND, udp(A, 1, B, 2)))
    assert rows(meter.report(before + 62 * SECOND)) == []


def test_packets_slightly_out_of_order_stay_in_their_window():
    meter, windows = Meter(), OpenWindows()
    end = T + WINDOW
    flow = udp(A, 1, B, 2)
    windows.add(meter.report(end - 10, (end - 20, flow)))
    closed = windows.add(meter.report(end + 10, (end + 1, flow), (end - 5, flow), (end + 2, flow)))
    assert [(start, part.flows["packets_orig"].to_list()) for start, part in closed] == [(T, [1])]
    assert windows.table(end).flows.select("part", "start", "packets_orig").rows() == [(1, end, 3)]


def test_a_packet_older_than_what_was_said_to_be_final_counts_in_the_open_window():
    meter, windows = Meter(), OpenWindows()
    end = T + WINDOW
    windows.add(meter.report(end - 10, (end - 20, udp(A, 1, B, 2))))
    assert len(windows.add(meter.report(end + 10))) == 1
    windows.add(meter.report(end + 20, (end - 5, udp(A, 1, B, 2))))
    assert windows.table(end).flows.select("part", "start", "packets_orig").rows() == [(1, end, 1)]
    assert not windows.skipped


def test_a_clock_that_is_set_back_is_followed_and_no_packet_is_lost():
    meter = Meter()
    flow = udp(A, 1, B, 2)
    ahead = T + 3 * WINDOW
    meter.report(T + 10, (T, flow))
    assert rows(meter.report(ahead + 10, (ahead, udp(A, 3, B, 4))), "start") == [(ahead,)]
    back = meter.report(T + 30, (T + 20, flow), (T + 25, udp(A, 3, B, 4)))
    assert sorted(rows(back, "start", "part", "packets_orig")) == [(T + 20, 0, 1), (T + 25, 1, 1)]
    near = meter.report(T + 40, (T + 25 - STEP // 2, flow))
    assert near.batch.flows["packets_orig"].to_list() == [2]


def test_the_table_of_open_flows_is_bounded_and_what_goes_is_counted():
    meter = Meter(most=10)
    for place in range(100):
        meter.report(T + 10 * place + 9, *[(T + 10 * place, udp(A, 1000 + place, B, 2))])
    assert meter.meter.open_flows <= 11
    assert meter.skipped["flow closed early: too many are open"] >= 89
    again = meter.report(T + 2000, (T + 1999, udp(A, 1000, B, 2)))
    assert rows(again, "start", "packets_orig") == [(T + 1999, 1)]


def test_silent_flows_are_let_go_without_any_packet():
    meter = Meter()
    meter.report(T + 10, (T, udp(A, 1, B, 2)), (T, tcp(*ONE, SYN)))
    assert meter.meter.open_flows == 2
    meter.report(T + 61 * SECOND)
    assert meter.meter.open_flows == 1
    meter.report(T + 301 * SECOND)
    assert meter.meter.open_flows == 0
