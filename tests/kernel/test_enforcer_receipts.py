"""Every denied packet that the kernel tells of becomes a receipt that names VM, policy, rule and version."""

import select
import socket
import time

import pytest

from kernel.private_net import needs_kernel, socket_in
from kernel.two_vms import BAD, OUT, OWN, A, enforcing, net, opens, ruleset
from netpersona.adapters.enforcers.nftables.receipts import Receipts
from netpersona.policy.model import Direction

pytestmark = needs_kernel

DENY = "{name: r, direction: both, peers: {networks: [203.0.113.7]}, action: deny, existing: cut}"


@pytest.fixture(scope="module", params=["routed", "bridged"])
def _net(request):
    with net(bridged=request.param == "bridged"):
        yield


@pytest.fixture
def host(_net):
    with enforcing(ruleset(DENY)) as made:
        yield made


def received(receipts: Receipts, least: int) -> list:
    found = []
    deadline = time.monotonic() + 60
    while len(found) < least and time.monotonic() < deadline:
        select.select([receipts], [], [], 0.2)
        found += receipts.waiting(now=1)
    return found


def test_a_denied_connection_leaves_a_receipt(host):
    receipts = Receipts(ruleset(DENY))
    try:
        assert not opens(A, BAD, 443)
        first, *_ = received(receipts, 1)
    finally:
        receipts.close()
    assert (first.vm, first.policy, first.rule, first.version) == ("a", "p", "r", 1)
    assert (first.source, first.destination, first.transport, first.destination_port) == (OWN[A], BAD, "tcp", 443)
    assert first.direction is Direction.OUTBOUND
    assert not first.staged


def test_a_denied_connection_from_outside_is_told_as_inbound(host):
    receipts = Receipts(ruleset(DENY))
    try:
        assert not opens(OUT, OWN[A], 8080, space=A)
        first, *_ = received(receipts, 1)
    finally:
        receipts.close()
    assert (first.vm, first.direction, first.source, first.destination_port) == ("a", Direction.INBOUND, BAD, 8080)


def test_more_than_the_rate_is_counted_and_not_made(host):
    receipts = Receipts(ruleset(DENY), rate=3)
    sender = socket_in(A, socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for _ in range(15):  # the kernel's own sample lets 20 through at once
            sender.sendto(b"x", (BAD, 53))
        assert opens(A, BAD, 443) is False
        found = received(receipts, 3)
    finally:
        receipts.close()
        sender.close()
    assert {each.transport for each in found} <= {"udp", "tcp"}
    assert receipts.beyond > 0
    assert len(found) <= 9
