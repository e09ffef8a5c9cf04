"""The live sensor on real interfaces: VMs are namespaces, their taps are veths of a host that is a namespace too."""

import contextlib
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kernel.private_net import inside, namespaces, needs_kernel, run
from kernel.tap_net import HOST, addresses, attach, counters, detach, vm_of
from netpersona.adapters.sensors.tap.open_windows import OpenWindows
from netpersona.adapters.sensors.tap.sensor import TapSensor
from netpersona.errors import SourceError
from netpersona.flow.vm import vm_id
from netpersona.flow.window import DAY
from packet_samples import dns, udp

pytestmark = needs_kernel
V4, V6 = 0, 1
GATEWAYS = ("10.77.1.1", "2001:db8:1::1")
FAMILIES = (socket.AF_INET, socket.AF_INET6)
both_families = pytest.mark.parametrize("family", [V4, V6], ids=["v4", "v6"])


@pytest.fixture
def host():
    with namespaces(HOST, vm_of(1), vm_of(2)):
        run("ip", "-n", HOST, "link", "set", "lo", "up")
        attach(1)
        attach(2)
        run("ip", "netns", "exec", HOST, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        yield


@pytest.fixture
def sensor(host):
    with inside(HOST):
        made = TapSensor(blocks=16, window=DAY)
    with made:
        made.add("tap1", vm_id("one"))
        made.add("tap2", vm_id("two"))
        made.poll(0)
        yield made


def sockets(kind, family, where, address=None):
    with inside(where):
        made = socket.socket(FAMILIES[family], kind)
    made.settimeout(5)
    if address is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    return made


class Watched:
    """What a sensor says, put together."""

    def __init__(self, sensor):
        self.sensor, self.windows, self.closed, self.last = sensor, OpenWindows(DAY), [], None

    def poll(self, seconds=0.1):
        self.last = self.sensor.poll(seconds)
        self.closed += self.windows.add(self.last)

    def until(self, condition):
        """Poll until the flows are as they should be."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            self.poll()
            if condition(self.flows()):
                return self.flows()
        raise AssertionError(f"not so within 10 s: {self.flows().to_dicts()}")

    def tables(self):
        open_now = [self.windows.table(start) for start in self.windows.starts()]
        return [rows for _, rows in self.closed] + open_now

    def flows(self):
        return pl.concat([rows.flows for rows in self.tables()] or [self.windows.table(0).flows])

    def said(self):
        return pl.concat([rows.transactions for rows in self.tables()] or [self.windows.table(0).transactions])


def packets(flows, count):
    return lambda rows: rows.filter(flows)["packets_orig"].sum() + rows.filter(flows)["packets_resp"].sum() >= count


@both_families
def test_datagrams_are_counted_exactly_and_told_while_the_flow_lasts(sensor, family):
    watched = Watched(sensor)
    server = sockets(socket.SOCK_DGRAM, family, HOST, (GATEWAYS[family], 7))
    client = sockets(socket.SOCK_DGRAM, family, vm_of(1), (addresses(1)[family], 5000))
    client.connect((GATEWAYS[family], 7))
    header = 42 if family == V4 else 62
    mine = pl.col("responder_port") == 7
    for place in range(3):
        client.send(bytes(10))
        server.recvfrom(99)
        (flow,) = watched.until(packets(mine, place + 1)).filter(mine).to_dicts()
        assert (flow["packets_orig"], flow["bytes_orig"]) == (place + 1, (place + 1) * (header + 10))
        assert (flow["packets_resp"], flow["state"], flow["part"]) == (0, "S0", 0)
    server.sendto(bytes(20), client.getsockname())
    (flow,) = watched.until(packets(mine, 4)).filter(mine).to_dicts()
    assert (flow["packets_resp"], flow["bytes_resp"], flow["state"]) == (1, header + 20, "SF")
    assert (flow["originator"], flow["responder"]) == (addresses(1)[family], GATEWAYS[family])
    assert (flow["source"], flow["sensor"]) == ("tap1", "tap")
    assert (flow["originator_mac"], flow["responder_mac"]) == ("52:54:00:00:01:02", "52:54:00:00:01:01")


@both_families
def test_a_tcp_conversation_is_one_flow_with_the_bytes_of_the_interface(sensor, family):
    watched = Watched(sensor)
    before, base = quiet(watched)
    server = sockets(socket.SOCK_STREAM, family, HOST, (GATEWAYS[family], 8000))
    server.listen()
    client = sockets(socket.SOCK_STREAM, family, vm_of(1))
    client.connect((GATEWAYS[family], 8000))
    end, _ = server.accept()
    end.settimeout(5)
    client.sendall(bytes(300_000))
    received = 0
    while received < 300_000:
        received += len(end.recv(65536))
    mine = pl.col("responder_port") == 8000
    half = (
        watched.until(lambda rows: rows.filter(mine)["payload_orig"].sum() == 300_000).filter(mine).row(0, named=True)
    )
    assert half["state"] == "S1"
    end.sendall(bytes(5))
    assert client.recv(9) == bytes(5)
    client.close()
    assert end.recv(1) == b""
    end.close()
    flows = watched.until(lambda rows: rows.filter(mine)["state"].to_list() == ["SF"])
    (flow,) = flows.filter(mine).to_dicts()
    assert (flow["payload_orig"], flow["payload_resp"], flow["uid"]) == (300_000, 5, half["uid"])
    assert flow["tcp_fingerprint"].startswith(("4:64:0:", "6:64:0:")[family])
    watched.until(lambda rows: both_ways(rows, base) == since(before))


def both_ways(rows, base=(0, 0, 0, 0)):
    """What the first VM sent and was sent: packets, packets, bytes, bytes."""
    rows = rows.filter(pl.col("source") == "tap1")
    by_vm = pl.col("originator").str.contains(r"^10\.77\.1\.2$|:1::2$|^::$|^fe80")
    found = [
        rows.select(pl.when(by_vm).then(f"{what}_{one}").otherwise(f"{what}_{other}").sum()).item()
        for what in ("packets", "bytes")
        for one, other in (("orig", "resp"), ("resp", "orig"))
    ]
    return [number - known for number, known in zip(found, base, strict=True)]


def since(before):
    now = counters("tap1")
    return [now[name] - before[name] for name in ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes")]


def quiet(watched):
    """Counters and rows at a moment when all that was counted was seen."""
    while True:
        before = counters("tap1")
        watched.poll(0.4)
        base = both_ways(watched.flows())
        watched.poll(0.4)
        if since(before) == [0] * 4 and base == both_ways(watched.flows()):
            return before, base


@both_families
def test_echoes_are_flows_without_ports(sensor, family):
    watched = Watched(sensor)
    subprocess.run(
        ["ip", "netns", "exec", vm_of(1), sys.executable, "-c", ECHO, GATEWAYS[family]], check=True, capture_output=True
    )
    word = ("icmp", "icmp6")[family]
    mine = (pl.col("transport") == word) & (pl.col("responder") == GATEWAYS[family])
    (flow,) = watched.until(packets(mine, 2)).filter(mine).to_dicts()
    assert (flow["packets_orig"], flow["packets_resp"], flow["state"]) == (1, 1, "SF")
    assert (flow["originator_port"], flow["responder_port"]) == (None, None)


ECHO = """
import socket, struct, sys
six = ":" in sys.argv[1]
family, kind = (socket.AF_INET6, 128) if six else (socket.AF_INET, 8)
s = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
s.settimeout(5)
body = struct.pack(">BBHHH", kind, 0, 0, 7, 1) + b"12345678"
if not six:
    total = sum(struct.unpack(">8H", body)); total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack(">H", ~total & 0xFFFF) + body[4:]
s.sendto(body, (sys.argv[1], 0))
s.recv(999)
"""


@both_families
def test_a_question_is_told_when_it_is_asked_and_again_with_its_answer(sensor, family):
    watched = Watched(sensor)
    server = sockets(socket.SOCK_DGRAM, family, HOST, (GATEWAYS[family], 53))
    client = sockets(socket.SOCK_DGRAM, family, vm_of(1))
    client.connect((GATEWAYS[family], 53))
    client.send(dns(7, "WWW.Example.com"))
    asker = server.recvfrom(999)[1]
    watched.until(packets(pl.col("responder_port") == 53, 1))
    (asked,) = watched.said().to_dicts()
    assert (asked["name"], asked["status"], asked["originator"]) == ("www.example.com", None, addresses(1)[family])
    assert watched.last.until <= asked["start"]
    server.sendto(dns(7, "www.example.com", answers=[(1, bytes([192, 0, 2, 9]))]), asker)
    watched.until(packets(pl.col("responder_port") == 53, 2))
    (said,) = watched.said().to_dicts()
    assert (said["status"], said["answers"], said["ttl"], said["source"]) == ("NOERROR", ["192.0.2.9"], 60, "tap1")
    assert (said["uid"], said["start"]) == (asked["uid"], asked["start"])
    assert watched.flows().filter(pl.col("responder_port") == 53)["application"].to_list() == ["dns"]


@both_families
def test_a_real_tls_hello_gives_name_and_fingerprint(sensor, family):
    watched = Watched(sensor)
    server = sockets(socket.SOCK_STREAM, family, HOST, (GATEWAYS[family], 443))
    server.listen()
    client = sockets(socket.SOCK_STREAM, family, vm_of(1))
    client.connect((GATEWAYS[family], 443))
    client.settimeout(0.1)
    context = ssl.create_default_context()
    with contextlib.suppress(OSError):
        context.wrap_socket(client, server_hostname="www.example.com")
    mine = pl.col("server_name") == "www.example.com"
    (flow,) = watched.until(lambda rows: rows.filter(mine).height).filter(mine).to_dicts()
    assert (flow["application"], len(flow["tls_fingerprint"])) == ("ssl", 32)
    assert watched.said()["agent"].to_list() == [flow["tls_fingerprint"]]


@both_families
def test_a_flow_between_two_vms_is_seen_by_each_on_its_own_tap_before_any_rewriting(sensor, family):
    watched = Watched(sensor)
    words = ("ip", "ip6")[family]
    chain = "type nat hook postrouting priority 100\noifname tap2 masquerade"
    rules = f"table {words} nat {{\nchain post {{\n{chain}\n}}\n}}\n"
    run("ip", "netns", "exec", HOST, "nft", "-f", "-", text=rules)
    server = sockets(socket.SOCK_DGRAM, family, vm_of(2), (addresses(2)[family], 9))
    client = sockets(socket.SOCK_DGRAM, family, vm_of(1))
    client.sendto(b"hello", (addresses(2)[family], 9))
    server.sendto(b"hi", server.recvfrom(99)[1])
    client.recv(99)
    mine = pl.col("responder_port") == 9
    rows = watched.until(packets(mine, 4)).filter(mine).sort("source")
    assert rows.select("source", "originator", "packets_orig", "packets_resp").rows() == [
        ("tap1", addresses(1)[family], 1, 1),
        ("tap2", (addresses(2)[family].removesuffix("2") + "1"), 1, 1),
    ]


def test_what_a_firewall_drops_is_seen_still(sensor):
    watched = Watched(sensor)
    rules = "table netdev t {\nchain c {\ntype filter hook ingress device tap1 priority -500\ndrop\n}\n}\n"
    run("ip", "netns", "exec", HOST, "nft", "-f", "-", text=rules)
    client = sockets(socket.SOCK_DGRAM, V4, vm_of(1))
    client.sendto(b"hello", (GATEWAYS[V4], 9))
    mine = pl.col("responder_port") == 9
    (flow,) = watched.until(packets(mine, 1)).filter(mine).to_dicts()
    assert flow["state"] == "S0"


def test_vlan_tags_are_those_that_the_vm_sent(sensor):
    watched = Watched(sensor)
    with inside(vm_of(1)):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    packet = udp(addresses(1)[V4], 5, GATEWAYS[V4], 9, b"hello")
    raw.sendto(packet[:12] + b"\x81\0\x20\x0c" + packet[12:], ("eth0", 0))
    mine = pl.col("responder_port") == 9
    (flow,) = watched.until(packets(mine, 1)).filter(mine).to_dicts()
    assert flow["vlan"] == 12


def test_an_interface_that_vanishes_is_reported_and_may_come_again(sensor):
    watched = Watched(sensor)
    client = sockets(socket.SOCK_DGRAM, V4, vm_of(2))
    detach(1)
    deadline = time.monotonic() + 10
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
    deadline = time.monotonic() + 10
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


def test_bridged_taps_see_each_packet_once_in_each_direction(sensor):
    watched = Watched(sensor)
    words = ["ip", "-n", HOST, "link", "add", "br0", "type", "bridge", "forward_delay", "0"]
    made = subprocess.run(words, capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this kernel has no bridges")
    for link in ("tap1", "tap2"):
        run("ip", "-n", HOST, "link", "set", link, "master", "br0")
    run("ip", "-n", HOST, "link", "set", "br0", "up")
    for place, other in ((1, 2), (2, 1)):
        run("ip", "-n", vm_of(place), "addr", "add", f"10.99.0.{place}/24", "dev", "eth0")
        mac = f"52:54:00:00:{other:02x}:02"
        run("ip", "-n", vm_of(place), "neigh", "add", f"10.99.0.{other}", "lladdr", mac, "dev", "eth0")
    server = sockets(socket.SOCK_DGRAM, V4, vm_of(2), ("10.99.0.2", 9))
    client = sockets(socket.SOCK_DGRAM, V4, vm_of(1))
    mine = pl.col("responder_port") == 9
    for _ in range(3):
        client.sendto(b"hello", ("10.99.0.2", 9))
        server.sendto(b"hi", server.recvfrom(99)[1])
        client.recv(99)
    rows = watched.until(packets(mine, 12)).filter(mine).sort("source")
    assert rows.select("source", "originator", "packets_orig", "packets_resp").rows() == [
        ("tap1", "10.99.0.1", 3, 3),
        ("tap2", "10.99.0.1", 3, 3),
    ]


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
        for _ in range(30):
            report = made.poll(0)
            flows = report.batch.flows.filter(mine)
            assert flows.filter(pl.col("start") < final).is_empty()
            final = report.until
            seen += flows.height
        assert (seen, made.health.lost) == (3000, 0)


def test_little_traffic_fills_no_ring_while_nobody_looks(host):
    with inside(HOST):
        made = TapSensor(blocks=128, window=DAY)
    with made:
        made.add("tap1", vm_id("one"))
        client = sockets(socket.SOCK_DGRAM, V4, vm_of(1))
        for _ in range(200):  # two seconds, some hundred blocks
            client.sendto(b"tick", (GATEWAYS[V4], 9))
            time.sleep(0.01)
        watched = Watched(made)
        (flow,) = (
            watched.until(packets(pl.col("responder_port") == 9, 200)).filter(pl.col("responder_port") == 9).to_dicts()
        )
        assert (flow["packets_orig"], made.health.lost) == (200, 0)


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
        deadline = time.monotonic() + 30
        while missing:  # an interface whose carrier is not up yet sends nothing
            assert time.monotonic() < deadline, sorted(missing)
            for name in missing:
                raw.sendto(frame, (name.replace("many", "end"), 0))
            watched.poll(0.3)
            missing -= set(watched.flows().filter(mine)["source"])
        assert watched.flows().filter(mine).group_by("source").len()["len"].unique().to_list() == [1]


def test_the_window_closes_when_nothing_waits(sensor):
    watched = Watched(sensor)
    sockets(socket.SOCK_DGRAM, V4, vm_of(1)).sendto(b"x", (GATEWAYS[V4], 9))
    watched.until(packets(pl.col("responder_port") == 9, 1))
    now = time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000
    watched.poll(0)
    assert now - 2_000_000 < watched.last.until <= now + 2_000_000


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
