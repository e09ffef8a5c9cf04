"""What the kernel tells a running controller, and what follows: a tap that moves, packets that were not the VM's own."""

import socket
import time

import pytest

from kernel.live_host import BAD, GOOD, HOST, OWN, TAPS, A, B, Datagrams, net, nft, reaches, up
from kernel.private_net import needs_kernel, run, socket_in
from netpersona.adapters.stores import open_store
from netpersona.app.answers.ask import Traffic, Wanted
from netpersona.app.live.told import Told
from waiting import until

pytestmark = needs_kernel


@pytest.fixture(scope="module")
def host():
    with net():
        yield


@pytest.fixture
def running(host, tmp_path):
    nft("flush", "ruleset")
    with up(tmp_path) as started:
        until(lambda: started.ask.health()["well"], "all is well")
        yield started


@pytest.fixture
def bridge():
    run("ip", "-n", HOST, "link", "add", "br-x", "type", "bridge")
    run("ip", "-n", HOST, "link", "set", "br-x", "up")
    yield "br-x"
    run("ip", "-n", HOST, "link", "del", "br-x")


def bridged():
    """Whether the rules of A's tap stand in the bridge table."""
    return TAPS[A] in nft("list", "ruleset").partition("table bridge netpersona")[2]


def test_a_tap_that_is_put_into_a_bridge_takes_its_rules_along_at_once(running, bridge):
    time.sleep(1)  # so that nothing else has to be applied
    assert not bridged()
    run("ip", "-n", HOST, "link", "set", TAPS[A], "master", bridge)
    until(bridged, "the rules follow the tap into the bridge", within=20)
    run("ip", "-n", HOST, "link", "set", TAPS[A], "nomaster")
    until(lambda: not bridged(), "the rules follow the tap out of it", within=20)
    assert running.ask.verify()["well"]


def spoofed(running):
    return running.ask.findings(Wanted(kind="spoofing", everything=True))


def test_packets_with_another_vm_s_address_are_dropped_and_become_a_finding(running):
    run("ip", "-n", A, "address", "add", f"{OWN[B]}/32", "dev", "lo")
    try:
        with socket_in(A, socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind((OWN[B], 0))

            def sent():
                out.sendto(b"x", (GOOD, 9000))
                return spoofed(running)

            until(sent, "the spoofed packets are a finding")
    finally:
        run("ip", "-n", A, "address", "del", f"{OWN[B]}/32", "dev", "lo")
    (found,) = spoofed(running)
    assert found["vm"] == A[-1]
    assert OWN[B] in found["why"]


def test_why_names_the_receipts_after_a_restart(running):
    with Datagrams(A, BAD, 9001) as denied:
        until(lambda: running.ask.receipts(A[-1], 10), "the kernel tells of denied packets")
        denied.stop()
    asked = Traffic(A[-1], f"{BAD}:9001", "outbound", "udp", established=False)
    assert running.ask.why(asked, None)["receipts"]["packets"]
    store = str(running.folder / "netpersona.db")
    until(lambda: Told(open_store(store).context("receipts")).of(A[-1]), "they are stored")
    running.kill()
    running.start()
    running.ready()
    assert running.ask.why(asked, None)["receipts"]["packets"]
    assert reaches(A, GOOD) is not None
