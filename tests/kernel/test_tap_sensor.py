"""The live sensor on real interfaces: VMs are namespaces, their taps are veths of a host that is a namespace too."""

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import time

import polars as pl
import pytest

from kernel.private_net import inside, needs_kernel, run
from kernel.tap_net import HOST, addresses, counters, vm_of
from kernel.tap_watched import GATEWAYS, V4, V6, Watched, packets, sockets, two_taps, watching_both
from packet_samples import dns, udp

pytestmark = needs_kernel
both_families = pytest.mark.parametrize("family", [V4, V6], ids=["v4", "v6"])


@pytest.fixture
def host():
    with two_taps():
        yield


@pytest.fixture
def sensor(host):
    with watching_both() as made:
        yield made


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
    end.settimeout(20)
    client.sendall(bytes(300_000))
    received = 0
    while received < 300_000:
        received += len(end.recv(65536))
    mine = pl.col("responder_port") == 8000
    # what the kernel sends again, as it does on a busy machine, counts again
    rows = watched.until(lambda rows: rows.filter(mine)["payload_orig"].sum() >= 300_000)
    half = rows.filter(mine).row(0, named=True)
    assert half["state"] == "S1"
    end.sendall(bytes(5))
    assert client.recv(9) == bytes(5)
    client.close()
    assert end.recv(1) == b""
    end.close()
    flows = watched.until(lambda rows: rows.filter(mine)["state"].to_list() == ["SF"])
    (flow,) = flows.filter(mine).to_dicts()
    assert flow["uid"] == half["uid"]
    assert flow["payload_orig"] >= 300_000
    assert flow["payload_resp"] in (5, 10)
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
s.settimeout(20)
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


def test_who_wakes_it_ends_its_poll_and_loses_no_packet(sensor):
    watched = Watched(sensor)
    server = sockets(socket.SOCK_DGRAM, V4, HOST, (GATEWAYS[V4], 7))
    client = sockets(socket.SOCK_DGRAM, V4, vm_of(1), (addresses(1)[V4], 5000))
    begin = time.monotonic()
    threading.Timer(0.05, sensor.wake).start()
    sensor.poll(20.0)
    assert 0.04 < time.monotonic() - begin < 10.0
    sensor.wake()  # between two polls
    begin = time.monotonic()
    sensor.poll(20.0)
    assert time.monotonic() - begin < 10.0
    for _ in range(20):
        sensor.wake()
        client.sendto(bytes(10), (GATEWAYS[V4], 7))
        server.recvfrom(99)
    assert watched.until(packets(pl.col("responder_port") == 7, 20)).height


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
