"""Packets metered live, cut into reports at any times: the closed windows are those of the capture reader."""

import struct
from collections import Counter

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.sensors.packets.meter import Meter
from netpersona.adapters.sensors.packets.window_meter import WindowMeter
from netpersona.adapters.sensors.tap.open_windows import OpenWindows
from netpersona.flow.table import FlowBatch, batch
from netpersona.flow.window import WINDOW
from packet_samples import ACK, FIN, LINUX, PSH, RST, SYN, T0, client_hello, dns, packets_of, tcp, udp
from tap_samples import ring_of

SECOND = 1_000_000
HOSTS = [("10.0.0.1", "203.0.113.9"), ("2001:db8::1", "2001:db8:ffff::9"), ("10.0.0.1", "10.0.0.2")]
HELLO = client_hello("www.example.com", padding=700)
FLAGS = [SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK, PSH | ACK]


@st.composite
def frames(draw):
    """One packet of a few flows: TCP of any kind, DNS, a hello in pieces, HTTP."""
    one, two = draw(st.sampled_from(HOSTS))
    forward = draw(st.booleans())
    kind = draw(st.integers(0, 5))
    ports = {0: (4000, 80), 1: (5000, 53), 2: (4001, 443), 3: (4002, 80), 4: (6000, 6001), 5: (4003, 22)}[kind]
    ends = (one, ports[0], two, ports[1]) if forward else (two, ports[1], one, ports[0])
    if kind == 1:
        question = (draw(st.integers(1, 3)), "a.example")
        return udp(*ends, dns(*question) if forward else dns(*question, answers=[(1, bytes([192, 0, 2, 1]))]))
    if kind == 2:
        at = draw(st.sampled_from([0, 100, 300, 600]))
        size = draw(st.sampled_from([100, 200, 300, 900]))
        return tcp(*ends, ACK, HELLO[at : at + size], seq=at + 1)
    if kind == 3:
        said = b"GET /x HTTP/1.1\r\nHost: h.example\r\n\r\n" if forward else b"HTTP/1.1 200 OK\r\n\r\n"
        return tcp(*ends, ACK, said, seq=draw(st.integers(1, 3)))
    if kind == 4:
        return udp(*ends, bytes(draw(st.integers(0, 9))))
    flags = draw(st.sampled_from(FLAGS))
    return tcp(*ends, flags, bytes(draw(st.integers(0, 3))), options=LINUX if flags & SYN else b"")


GAPS = st.sampled_from(
    [0, 0, 1, 1000, 40_000, SECOND, 7 * SECOND, 30 * SECOND, 61 * SECOND, 200 * SECOND, 301 * SECOND]
)
TRAFFIC = st.lists(st.tuples(frames(), GAPS), min_size=1, max_size=40)


def timed(traffic):
    at, found = T0, []
    for frame, gap in traffic:
        at += gap
        found.append((at, frame))
    return found


def folded(packets, cuts):
    """Closed windows after reports at these times; the last one is an hour later."""
    meter, windows, closed = WindowMeter("tap", {0: "tap-a"}), OpenWindows(), {}
    begin = 0
    for until in [*sorted(cuts), packets[-1][0] + 3600 * SECOND]:
        end = begin + sum(at < until for at, _ in packets[begin:])
        some = packets[begin:end]
        given_now = [ring_of(some)] if some else []
        report = meter.report(given_now, until, Counter())
        assert report.batch.flows.select("uid", "part").is_unique().all()
        assert not set(closed) & {start - start % WINDOW for start in report.batch.flows["start"]}
        for start, rows in windows.add(report):
            assert start not in closed
            closed[start] = rows
        begin = end
    assert windows.starts() == []
    assert not windows.skipped
    flows = pl.concat([rows.flows for rows in closed.values()] or [batch().flows])
    said = pl.concat([rows.transactions for rows in closed.values()] or [batch().transactions])
    return batch(flows, said)


def in_order(rows: FlowBatch):
    said = rows.transactions.with_columns(pl.col("answers").list.join(","))
    return rows.flows.sort("uid", "part"), said.sort(said.columns, nulls_last=True)


@settings(max_examples=80, deadline=None)
@given(TRAFFIC, st.data())
def test_when_it_was_asked_changes_nothing(traffic, data):
    packets = timed(traffic)
    times = st.integers(T0 - SECOND, packets[-1][0] + 400 * SECOND)
    some = data.draw(
        st.lists(st.sampled_from([at + late for at, _ in packets for late in (0, 1)]) | times, max_size=12)
    )
    flows, said = in_order(folded(packets, some))
    expected_flows, expected_said = in_order(folded(packets, []))
    assert flows.rows(named=True) == expected_flows.rows(named=True)
    assert said.rows(named=True) == expected_said.rows(named=True)


@settings(max_examples=80, deadline=None)
@given(TRAFFIC, st.lists(st.integers(0, 3000), max_size=12))
def test_the_parts_of_a_flow_are_the_flow_of_the_capture_reader(traffic, cuts):
    packets = timed(traffic)
    live = folded(packets, [T0 + cut * SECOND for cut in cuts])
    meter, skipped = Meter("tap"), Counter()
    parts = [meter.add(packets_of([frame for _, frame in packets], [at for at, _ in packets]), skipped), meter.finish()]
    whole = pl.concat([part.flows for part in parts]).sort("uid")
    sums = [f"{what}_{side}" for what in ("packets", "bytes", "payload") for side in ("orig", "resp")]
    same = ["transport", "originator", "originator_port", "responder", "responder_port", "tcp_fingerprint"]
    ordered = live.flows.sort("uid", "part").with_columns(end=pl.col("start") + pl.col("duration"))
    together = ordered.group_by("uid", maintain_order=True).agg(
        pl.col("start").min(),
        (pl.col("end").max() - pl.col("start").min()).alias("duration"),
        pl.col(sums).sum(),
        pl.col(same).n_unique().name.suffix("_kinds"),
        pl.col("state", "application", *same).last(),
        (pl.col("part") == 0).sum().alias("beginnings"),
    )
    assert together.select(f"{name}_kinds" for name in same).unique().rows() in ([], [(1,) * len(same)])
    assert together["beginnings"].to_list() == [1] * together.height
    columns = ["uid", "start", "duration", *sums, "state", "application", *same]
    assert together.select(columns).rows() == whole.select(columns).rows()
    dns_columns = ["uid", "start", "name", "status", "ttl"]
    questions = pl.concat([part.transactions for part in parts]).filter(pl.col("kind") == "dns")
    found = live.transactions.filter(pl.col("kind") == "dns")
    assert found.select(dns_columns).sort(dns_columns).rows() == questions.select(dns_columns).sort(dns_columns).rows()


def test_an_answer_that_comes_after_its_window_is_told_as_by_the_capture_reader():
    ask, tell = ("10.0.0.1", 5000, "203.0.113.9", 53), ("203.0.113.9", 53, "10.0.0.1", 5000)
    end = T0 - T0 % WINDOW + WINDOW
    answer = dns(1, "a.example", answers=[(1, bytes([192, 0, 2, 1]))])
    for late, rows in (
        (2 * SECOND, [(end - 9, ["192.0.2.1"])]),
        (3 * SECOND, [(end - 9, None), (end + 3 * SECOND, ["192.0.2.1"])]),
    ):
        packets = [(end - 9, udp(*ask, dns(1, "a.example"))), (end + late, udp(*tell, answer))]
        meter, skipped = Meter("tap"), Counter()
        parts = [meter.add(packets_of([frame for _, frame in packets], [at for at, _ in packets]), skipped)]
        read = pl.concat([part.transactions for part in (*parts, meter.finish())])
        live = folded(packets, [end - 1, end + SECOND, end + 2 * SECOND + 1])
        for said in (read, live.transactions):
            assert said.sort("start").select("start", "answers").rows() == rows


def test_within_one_window_the_rows_are_those_of_the_capture_reader():
    one, two = ("10.0.0.1", 4001, "203.0.113.9", 443), ("203.0.113.9", 443, "10.0.0.1", 4001)
    packets = [
        (T0, tcp(*one, SYN, options=LINUX)),
        (T0 + 10, tcp(*two, SYN | ACK)),
        (T0 + 20, tcp(*one, ACK, HELLO[:300], seq=1)),
        (T0 + SECOND, tcp(*one, ACK, HELLO[300:], seq=301)),
        (T0 + 2 * SECOND, tcp(*two, PSH | ACK, struct.pack(">BHH", 22, 0x303, 4) + b"abcd")),
    ]
    meter = Meter("tap")
    meter.add(packets_of([frame for _, frame in packets], [at for at, _ in packets]), Counter())
    expected = meter.finish()
    live = folded(packets, [T0 + 15, T0 + SECOND // 2, T0 + SECOND + 1])
    own = ["part", "source"]
    assert live.flows.drop(own).rows(named=True) == expected.flows.drop(own).rows(named=True)
    assert live.flows["source"].to_list() == ["tap-a"]
    assert live.flows["server_name"].to_list() == ["www.example.com"]
    assert live.flows["state"].to_list() == ["S1"]
