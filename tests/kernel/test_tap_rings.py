"""What finds no room at the live sensor is counted or told next time, and nothing is final too early."""

import socket
import time

import numpy as np
import polars as pl
import pytest

from kernel.private_net import inside, needs_kernel
from kernel.tap_net import HOST, vm_of
from kernel.tap_watched import GATEWAYS, V4, Watched, packets, sockets, two_taps, watching_both
from netpersona.adapters.sensors.tap.sensor import TapSensor
from netpersona.flow.vm import vm_id
from netpersona.flow.window import DAY
from waiting import until

pytestmark = needs_kernel


@pytest.fixture
def host():
    with two_taps():
        yield


@pytest.fixture
def sensor(host):
    with watching_both() as made:
        yield made


def test_packets_that_find_no_room_are_counted(host):
    with inside(HOST):
        made = TapSensor(blocks=2, window=DAY)
    with made:
        made.add("tap1", vm_id("one"))
        client = sockets(socket.SOCK_DGRAM, V4, vm_of(1))
        for _ in range(6000):
            client.sendto(bytes(1400), (GATEWAYS[V4], 9))
        report = made.poll(0.3)
        seen = report.batch.flows.filter(pl.col("responder_port") == 9)["packets_orig"].sum()
        lost = report.batch.skipped["packet lost: the ring was full"]
        assert lost == made.health.lost
        assert seen + lost == pytest.approx(6000, abs=5)  # neighbour discovery may be among the lost
        assert 0 < seen < 6000


def test_what_finds_no_room_in_one_report_is_in_the_next_and_nothing_is_final_before(host):
    with inside(HOST):
        made = TapSensor(blocks=512, window=DAY)
    with made:
        made._buffer = np.empty(1 << 20, np.uint8)
        made.add("tap1", vm_id("one"))
        client = sockets(socket.SOCK_DGRAM, V4, vm_of(1))
        for place in range(3000):
            client.sendto(bytes(1400), (GATEWAYS[V4], 1000 + place))
        mine = pl.col("originator_port") == client.getsockname()[1]
        time.sleep(0.3)
        seen, final = 0, 0

        def all_seen() -> bool:
            nonlocal seen, final
            report = made.poll(0)
            flows = report.batch.flows.filter(mine)
            assert flows.filter(pl.col("start") < final).is_empty()
            assert flows.filter(pl.col("start") > report.now).is_empty()  # what follows from it begins after it
            final = report.until
            seen += flows.height
            return seen >= 3000

        until(all_seen, "every datagram is seen")
        assert (seen, made.health.lost) == (3000, 0)


def test_little_traffic_fills_no_ring_while_nobody_looks(host):
    with inside(HOST):
        made = TapSensor(blocks=128, window=DAY)
    with made:
        made.add("tap1", vm_id("one"))
        client = sockets(socket.SOCK_DGRAM, V4, vm_of(1))
        sent, end = 0, time.monotonic() + 2.0  # the kernel begins another block each few ms, of some hundred
        while time.monotonic() < end:
            sent += client.sendto(b"tick", (GATEWAYS[V4], 9)) > 0
            time.sleep(0.01)
        mine = pl.col("responder_port") == 9
        (flow,) = Watched(made).until(packets(mine, sent)).filter(mine).to_dicts()
        assert (flow["packets_orig"], made.health.lost) == (sent, 0)


def test_the_window_closes_when_nothing_waits(sensor):
    watched = Watched(sensor)
    sockets(socket.SOCK_DGRAM, V4, vm_of(1)).sendto(b"x", (GATEWAYS[V4], 9))
    watched.until(packets(pl.col("responder_port") == 9, 1))
    before = time.time_ns() // 1000
    watched.poll(0)
    assert before - 2_000_000 < watched.last.until <= time.time_ns() // 1000 + 2_000_000
