"""Interfaces that the live sensor watches come, go and change their names; it needs no right but to open its sockets."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from kernel.private_net import inside, needs_kernel, run
from kernel.tap_net import HOST, attach, detach, vm_of
from kernel.tap_watched import GATEWAYS, V4, Watched, packets, sockets, two_taps, watching_both
from netpersona.adapters.sensors.tap.sensor import TapSensor
from netpersona.errors import SourceError
from netpersona.flow.vm import vm_id
from netpersona.flow.window import DAY
from packet_samples import udp

pytestmark = needs_kernel


@pytest.fixture
def host():
    with two_taps():
        yield


@pytest.fixture
def sensor(host):
    with watching_both() as made:
        yield made


def test_an_interface_that_vanishes_is_reported_and_may_come_again(sensor):
    watched = Watched(sensor)
    client = sockets(socket.SOCK_DGRAM, V4, vm_of(2))
    detach(1)
    deadline = time.monotonic() + 60
    while watched.last is None or watched.last.vanished == ():
        assert time.monotonic() < deadline
        watched.poll()
    assert watched.last.vanished == ("tap1",)
    assert dict(sensor.taps) == {"tap2": "two"}
    client.sendto(b"still here", ("10.77.2.1", 9))
    watched.until(packets(pl.col("source") == "tap2", 1))
    attach(1)
    sensor.add("tap1", vm_id("one"))
    sockets(socket.SOCK_DGRAM, V4, vm_of(1)).sendto(b"again", (GATEWAYS[V4], 9))
    watched.until(packets(pl.col("source") == "tap1", 1))


def test_an_interface_that_is_renamed_is_watched_under_its_new_name(sensor):
    watched = Watched(sensor)
    for words in (("down",), ("name", "renamed"), ("up",)):
        run("ip", "-n", HOST, "link", "set", "tap1" if words != ("up",) else "renamed", *words)
    sensor.add("renamed", vm_id("one"))
    assert set(sensor.taps) == {"renamed", "tap2"}
    run("ip", "-n", HOST, "link", "set", "tap2", "down")
    run("ip", "-n", HOST, "link", "set", "tap2", "name", "other")
    deadline = time.monotonic() + 60
    while watched.last is None or watched.last.vanished == ():
        assert time.monotonic() < deadline
        watched.poll()
    assert watched.last.vanished == ("tap2",)
    with inside(vm_of(1)):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    mine = pl.col("responder_port") == 9
    while not watched.flows().filter(mine).height:  # until its carrier is up
        assert time.monotonic() < deadline
        raw.sendto(udp("10.77.1.2", 5, "10.77.1.1", 9), ("eth0", 0))
        watched.poll()
    assert watched.flows().filter(mine)["source"].to_list() == ["renamed"]


def test_an_interface_that_is_watched_no_longer_says_nothing(sensor):
    watched = Watched(sensor)
    sensor.remove("tap1")
    sensor.remove("tap1")
    sockets(socket.SOCK_DGRAM, V4, vm_of(1)).sendto(b"unseen", (GATEWAYS[V4], 9))
    sockets(socket.SOCK_DGRAM, V4, vm_of(2)).sendto(b"seen", ("10.77.2.1", 9))
    rows = watched.until(packets(pl.col("responder_port") == 9, 1))
    assert rows.filter(pl.col("responder_port") == 9)["source"].to_list() == ["tap2"]


def test_an_interface_that_is_not_there_is_refused_by_name(sensor):
    for name in ("tap9", "a-name-that-is-far-too-long-for-linux"):
        with pytest.raises(SourceError, match=f"{name}: no such interface"):
            sensor.add(name, vm_id("nine"))
    assert set(sensor.taps) == {"tap1", "tap2"}


def test_many_interfaces_in_one_ring(host):
    with inside(HOST):
        made = TapSensor(blocks=8, window=DAY)
    with made:
        pairs = (
            f"link add many{n} type veth peer name end{n}\nlink set many{n} up\nlink set end{n} up\n"
            for n in range(150)
        )
        run("ip", "-n", HOST, "-batch", "-", text="".join(pairs))
        for n in range(150):
            made.add(f"many{n}", vm_id(f"vm{n}"))
        watched = Watched(made)
        with inside(HOST):
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        frame = udp("10.0.0.1", 5, "10.0.0.2", 6)
        mine = pl.col("responder_port") == 6
        missing = {f"many{n}" for n in range(150)}
        deadline = time.monotonic() + 60
        while missing:  # an interface whose carrier is not up yet sends nothing
            assert time.monotonic() < deadline, sorted(missing)
            for name in missing:
                raw.sendto(frame, (name.replace("many", "end"), 0))
            watched.poll(0.3)
            missing -= set(watched.flows().filter(mine)["source"])
        assert watched.flows().filter(mine).group_by("source").len()["len"].unique().to_list() == [1]


@pytest.mark.parametrize(("kept", "words"), [("-all,+net_raw", "ok"), ("-all", "CAP_NET_RAW")])
def test_the_only_privilege_needed_is_to_open_packet_sockets(host, kept, words):
    script = (
        "from netpersona.adapters.sensors.tap.sensor import TapSensor\n"
        "from netpersona.errors import SourceError\n"
        "try:\n"
        "    with TapSensor(blocks=4) as sensor: sensor.add('tap1', 'one'); sensor.poll(0.1); print('ok')\n"
        "except SourceError as error: print(error)\n"
    )
    command = [
        "ip",
        "netns",
        "exec",
        HOST,
        "setpriv",
        f"--bounding-set={kept}",
        f"--inh-caps={kept}",
        sys.executable,
        "-c",
        script,
    ]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert words in done.stdout, done.stderr
