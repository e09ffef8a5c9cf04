"""Whatever becomes of what holds the answers, a VM's DNS goes on, and what was held is held again.

As a program, this file holds the answers of one tap until it is killed.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel.dns_holding import POLICY, Host, host, through
from kernel.dns_net import HOST, Asker, Outside, connect, net_of_three, vm_of
from kernel.private_net import inside, needs_kernel, run
from netpersona.adapters.dns_relay.relay import Relay
from netpersona.flow.vm import vm_id
from netpersona.policy.parse import parse
from waiting import until

pytestmark = needs_kernel


@pytest.fixture(scope="module")
def net() -> Iterator[Outside]:
    with net_of_three() as outside:
        yield outside


@contextmanager
def _held_by_another_process(tap: str) -> Iterator[subprocess.Popen]:
    program = [sys.executable, __file__, tap]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    command = ["ip", "netns", "exec", HOST, *program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as running:
        assert running.stdout.readline() == b"held\n"
        try:
            yield running
        finally:
            running.send_signal(signal.SIGKILL)
    run("ip", "netns", "exec", HOST, "nft", "delete", "table", "netdev", "netpersona_dns")


def _is_held(asker: Asker) -> bool:
    """Whether an answer comes as late as one that was held."""
    before = time.monotonic()
    return asker.ask("n1.good.example") is not None and time.monotonic() - before > 0.19


def _goes_directly(asker: Asker) -> bool:
    """Whether an answer comes sooner than one that was held; on a busy machine it may be late now and then."""
    return asker.ask("n1.good.example", 0.15) is not None


def test_dns_goes_directly_soon_after_a_kill(net: Outside) -> None:
    """The other process lets each answer wait as long as it may: so it shows which way an answer came."""
    askers, other = [Asker(1, version) for version in (4, 6)], Asker(2, 4)
    with _held_by_another_process("tap1") as running:
        assert all(_is_held(asker) for asker in askers)
        until(lambda: _goes_directly(other), "the other VM's answers are not held")
        running.send_signal(signal.SIGKILL)
        for asker in askers:
            until(lambda asker=asker: _goes_directly(asker), "no answer is held any more")
    for asker in (*askers, other):
        asker.close()


def test_a_relay_that_hangs_is_as_one_that_died_and_goes_on_when_it_wakes(net: Outside) -> None:
    asker, other = Asker(1, 4), Asker(2, 4)
    with _held_by_another_process("tap1") as running:
        running.send_signal(signal.SIGSTOP)
        until(lambda: _goes_directly(other), "the other VM's answers go on")
        until(lambda: _goes_directly(asker), "no answer is held any more")
        running.send_signal(signal.SIGCONT)
        until(lambda: _is_held(asker), "answers are held again")
    asker.close()
    other.close()


def test_a_tap_that_comes_again_is_held_again_and_one_that_is_left_goes_by_itself(net: Outside) -> None:
    with host((1,), parse(POLICY, "p.yaml")) as made:
        asker = Asker(1, 4)
        with inside(HOST):
            made.hold._relay.follow({})
        before = made.figures["heard"]
        assert asker.ask("n1.good.example") is not None
        assert made.figures["heard"] == before
        connect(HOST, "tap9", vm_of(2), "eth9")
        with inside(HOST):
            made.hold._relay.follow({"tap9": vm_id("vm-9"), "tap1": vm_id("vm-1"), "nosuch": vm_id("vm-8")})
            assert made.hold._relay.health().held == ("tap1", "tap9")
            assert "nosuch" in made.hold._relay.health().error
            run("ip", "-n", HOST, "link", "del", "tap9")
            connect(HOST, "tap9", vm_of(2), "eth9")
            made.hold._relay.follow({"tap9": vm_id("vm-9"), "tap1": vm_id("vm-1")})
            assert made.hold._relay.health().held == ("tap1", "tap9")
            device = made.hold._relay._lines["tap1"].device.name
            run("ip", "-n", HOST, "link", "del", device)  # somebody interferes
            until(lambda: any(line.broken for line in made.hold._relay._lines.values()), "the line is broken")
            made.hold._relay.follow({"tap1": vm_id("vm-1")})
        assert asker.ask("n2.good.example") is not None
        assert made.figures["heard"] > before
        run("ip", "-n", HOST, "link", "del", "tap9")
        made.hold._relay._failures.clear()
        asker.close()


def test_a_heartbeat_that_somebody_stops_is_begun_again(net: Outside) -> None:
    asker = Asker(1, 4)
    with host((1,), parse(POLICY, "p.yaml")) as made:
        run("ip", "-n", HOST, "link", "del", "npdns")
        until(lambda: not made.hold.health().well, "it is told")
        until(lambda: asker.ask("n1.good.example", 0.5) is not None, "DNS goes on")
        with inside(HOST):
            made.hold.follow(made.taps)
        assert made.hold.health().well
        assert through(net, asker, "n", "bad", 5) == (5, 0)
    asker.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_fails_takes_no_dns_away_and_is_begun_again(net: Outside) -> None:
    asker = Asker(1, 4)
    with host((1,), parse(POLICY, "p.yaml")) as made:
        made.hold._relay._order(lambda: 1 // 0)
        until(lambda: not made.hold._relay.running, "the thread ends")
        assert not made.hold.health().well
        until(lambda: asker.ask("n1.good.example", 0.5) is not None, "DNS goes on")
        with inside(HOST):
            made.hold.follow(made.taps)
        assert made.hold.health().well
        assert through(net, asker, "n", "bad", 5) == (5, 0)
        made.hold.stop()
        assert not made.hold.health().well
        assert "stopped" in made.hold.health().says
        with inside(HOST):
            assert made.hold.start()
            made.hold.follow(made.taps)
        assert through(net, asker, "n", "bad", 5) == (5, 0)
    asker.close()


@pytest.mark.parametrize(
    "damage",
    [
        "flush ruleset",
        "delete chain netdev netpersona_dns hold.tap1",
        "flush chain netdev netpersona_dns hold.tap1",
        "flush chain netdev netpersona_dns pulse",
        "flush set netdev netpersona_dns alive",
    ],
)
def test_what_somebody_takes_out_of_the_table_is_put_back(net: Outside, damage: str) -> None:
    asker = Asker(1, 4)
    with host((1,), parse(POLICY, "p.yaml")) as made:
        if damage.startswith("delete"):
            run("ip", "netns", "exec", HOST, "nft", "flush", "chain", "netdev", "netpersona_dns", "hold.tap1")
        run("ip", "netns", "exec", HOST, "nft", damage)
        assert asker.ask("n1.good.example") is not None
        with inside(HOST):
            made.hold.follow(made.taps)
            made.enforcer.heal()
        assert made.figures["healed"] == (0 if "set" in damage.split() else 1)
        until(lambda: _is_heard(made, asker), "answers are held again")
        assert through(net, asker, "n", "bad", 20) == (20, 0)
        with inside(HOST):
            made.hold.follow(made.taps)
        assert made.figures["healed"] <= 1
    asker.close()


def _is_heard(made: Host, asker: Asker) -> bool:
    before = made.figures["heard"]
    asker.ask("n1.good.example")
    return made.figures["heard"] > before


def _hold_until_killed(tap: str) -> None:
    relay = Relay(lambda _: Future())
    relay.start()
    relay.follow({tap: vm_id("vm-1")})
    assert relay.health().error is None
    sys.stdout.write("held\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    _hold_until_killed(sys.argv[1])
