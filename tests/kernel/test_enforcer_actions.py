"""What each action does to a connection: refused, led to an analyser, slowed, only written down, only staged."""

import select
import socket
import time
from dataclasses import replace

import pytest

from kernel.private_net import needs_kernel, socket_in
from kernel.two_vms import BAD, GOOD, OUT, OWN, A, Transfer, enforcing, net, opens, policies, ruleset
from netpersona.policy.model import Mode

pytestmark = needs_kernel

ONLY_BAD = "peers: {networks: [203.0.113.7]}"


@pytest.fixture(scope="module", params=["routed", "bridged"])
def attachment(request):
    with net(bridged=request.param == "bridged"):
        yield request.param


@pytest.fixture
def enforcer(attachment):
    with enforcing(ruleset()) as made:
        yield made


def connected(target: str, port: int) -> OSError | None:
    client = socket_in(A, socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(1.0)
    client.bind((OWN[A], 0))
    try:
        client.connect((target, port))
    except OSError as error:
        return error
    finally:
        client.close()
    return None


def test_what_is_rejected_is_told_so_where_the_kernel_can_tell(enforcer, attachment):
    enforcer.apply(ruleset(f"{{name: r, direction: outbound, {ONLY_BAD}, action: reject}}"))
    error = connected(BAD, 443)
    assert isinstance(error, ConnectionRefusedError if attachment == "routed" else TimeoutError)
    assert opens(A, GOOD, 443)


def test_what_is_redirected_arrives_at_the_analyser_and_never_at_the_peer(enforcer, attachment):
    analyser = socket_in(OUT, socket.AF_INET, socket.SOCK_STREAM)
    analyser.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    analyser.bind((GOOD, 8080))
    analyser.listen()
    rule = f"{{name: r, direction: outbound, {ONLY_BAD}, ports: [80], protocols: [tcp], action: redirect, to: '{GOOD}:8080'}}"
    enforcer.apply(ruleset(rule))
    try:
        assert not connected(BAD, 80) if attachment == "routed" else connected(BAD, 80)
        assert bool(select.select([analyser], [], [], 0.5)[0]) is (attachment == "routed")
        assert opens(A, BAD, 81)
    finally:
        analyser.close()


def test_what_is_limited_is_slowed(enforcer):
    transfer = Transfer(A, BAD)
    try:
        begin = time.monotonic()
        assert all(transfer.runs() for _ in range(100))
        free = time.monotonic() - begin
        enforcer.apply(ruleset(f"{{name: r, direction: outbound, {ONLY_BAD}, action: rate-limit, rate: 20 packets}}"))
        begin = time.monotonic()
        assert all(transfer.runs(within=10) for _ in range(30))
        slowed = time.monotonic() - begin
    finally:
        transfer.close()
    assert slowed > 1.0 > free / 10


def test_what_is_logged_passes(enforcer):
    enforcer.apply(ruleset(f"{{name: r, direction: outbound, {ONLY_BAD}, action: log}}"))
    assert opens(A, BAD, 443)
    assert sum(count.packets for count in enforcer.counters()) > 0


def test_what_is_staged_passes_and_is_counted(enforcer):
    asked = policies(f"{{name: r, direction: outbound, {ONLY_BAD}, action: deny, existing: cut}}")
    staged = replace(asked, policies=tuple(replace(policy, mode=Mode.STAGE) for policy in asked.policies))
    enforcer.apply(ruleset(policy=staged))
    assert opens(A, BAD, 443)
    assert sum(count.packets for count in enforcer.counters()) > 0
