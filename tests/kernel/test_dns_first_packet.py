"""A VM's first connection after a DNS answer meets the right verdict: real questions, answers and packets."""

import contextlib
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kernel.dns_holding import POLICY, host, new_number, through
from kernel.dns_net import BAD, HOST, RESOLVER, A, Asker, Outside, address_of, answered, net_of_three, question
from kernel.private_net import needs_kernel, socket_in
from netpersona.policy.model import AllowEntry, AllowListResource
from netpersona.policy.parse import parse
from waiting import until

pytestmark = needs_kernel


@pytest.fixture(scope="module")
def net() -> Iterator[Outside]:
    with net_of_three() as outside:
        yield outside


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("place", [1, 3], ids=["routed", "bridged"])
def test_the_first_packet_after_an_answer_is_denied_two_hundred_times_in_a_row(
    net: Outside, place: int, version: int
) -> None:
    asker = Asker(place, version)
    with host((place,), parse(POLICY, "p.yaml")) as made:
        assert through(net, asker, "n", "bad", 200) == (200, 0)
        assert through(net, asker, "n", "good", 50) == (50, 50)
        assert made.figures["lent"] >= 200
        assert made.figures["late"] == 0
    asker.close()


def test_without_holding_the_first_packet_slips_through(net: Outside) -> None:
    asker = Asker(1, 4)
    with host((1,), parse(POLICY, "p.yaml"), held=False):
        assert through(net, asker, "n", "bad", 20) == (20, 20)
    asker.close()


@pytest.mark.parametrize("version", [4, 6])
def test_answers_over_tcp_and_by_an_alias_are_read_too(net: Outside, version: int) -> None:
    asker = Asker(1, version)
    with host((1,), parse(POLICY, "p.yaml")) as made:
        assert through(net, asker, "big", "bad", 10, tcp=True) == (10, 0)
        assert through(net, asker, "big", "good", 10, tcp=True) == (10, 10)
        assert through(net, asker, "two", "good", 10) == (10, 0)  # other.bad.example stands behind them
        assert made.figures["unread"] == 0
    asker.close()


@pytest.mark.parametrize("version", [4, 6])
def test_an_answer_in_fragments_is_asked_for_again_over_tcp(net: Outside, version: int) -> None:
    asker = Asker(1, version)
    with host((1,), parse(POLICY, "p.yaml")) as made:
        for _ in range(5):
            name = f"big{new_number()}.bad.example"
            short = asker.ask(name)
            assert short is not None
            assert short[2] & 2, "it should say that it is truncated"
            answer = asker.ask(name, tcp=True)
            assert len(answer) > 3000
            asker.connect(name, answer)
        assert made.figures["shortened"] == 5
        assert through(net, asker, "n", "good", 1) == (1, 1)
        assert not [name for name in net.arrived if name.startswith("big") and "bad" in name]
        assert asker.ask(f"cut{new_number()}.bad.example")[2] & 2  # the resolver's own goes by
    asker.close()


def test_what_only_a_resolution_can_tell_is_waited_for(net: Outside) -> None:
    """An allow-list by name in front of a deny of everything: the set is not there before its first address."""
    deny = POLICY.replace("peers: {domains: [bad.example]}, ", "")
    allow = AllowListResource("names", (AllowEntry("good.example", None, "wanted"),))
    asker = Asker(1, 4)
    with host((1,), replace(parse(deny, "p.yaml"), allow=(allow,))) as made:
        for _ in range(30):
            name = f"n{new_number()}.good.example"
            asker.connect(name, asker.ask(name))
            until(lambda name=name: name in net.arrived, "the connection comes about")
        assert made.figures["resolved"] >= 1
        assert made.figures["late"] == 0
    asker.close()


def test_what_was_not_asked_for_is_not_let_in(net: Outside) -> None:
    asker = Asker(1, 4)
    with host((1,), parse(POLICY, "p.yaml")) as made:
        assert asker.ask("n1.good.example") is not None
        for line in made.hold._relay._lines.values():
            line.held.began -= 60
        port = asker.dns.getsockname()[1]
        before = made.figures
        spoofs = [
            answered(question("n7.bad.example", A, 4711), tcp=False),  # another number
            answered(question("n8.bad.example", A, asker.ident), tcp=False),  # another name
            b"\x12\x34\x81\x80" + b"\xff" * 30,
        ]
        for wire in spoofs:
            net.spoof(("10.77.1.2", port), wire)
        until(lambda: _refused(made.figures) == _refused(before) + 3, "all three are looked at")
        after = made.figures
        assert not select.select([asker.dns], [], [], 0.3)[0]
        assert after["heard"] == before["heard"]
        assert after["spoofed"] - before["spoofed"] == 2
        assert after["damaged"] - before["damaged"] == 1
        assert asker.ask("n1.good.example") is not None
    asker.close()


def _refused(figures: Mapping[str, int]) -> int:
    return figures["spoofed"] + figures["damaged"]


def test_many_questions_at_once_are_all_answered(net: Outside) -> None:
    asker = Asker(1, 4)
    with host((1,), parse(POLICY, "p.yaml")) as made:
        for line in made.hold._relay._lines.values():
            line.held.began -= 60  # every answer must belong to a question that was seen
        asked, got = 2000, 0
        for ident in range(asked):
            asker.dns.sendto(question(f"n{ident}.good.example", A, ident), (RESOLVER[4], 53))
            while ident - got > 40 or (ident == asked - 1 and got < asked):
                assert select.select([asker.dns], [], [], 20)[0], made.hold.health()
                asker.dns.recv(4096)
                got += 1
        assert made.figures["spoofed"] == 0
    asker.close()


def test_an_address_that_was_denied_stays_so_while_the_controller_resolves_anew(net: Outside) -> None:
    asker, over = Asker(1, 4), threading.Event()
    with host((1,), parse(POLICY, "p.yaml")) as made:

        def busy() -> None:
            while not over.is_set():
                made.hold._asked.set()
                time.sleep(0.001)

        resolving = threading.Thread(target=busy)
        resolving.start()
        try:
            assert through(net, asker, "n", "bad", 200) == (200, 0)
            assert through(net, asker, "n", "good", 20) == (20, 20)
        finally:
            over.set()
            resolving.join()
        assert made.figures["late"] == 0
    asker.close()


def test_the_hosts_own_resolver_is_held_as_well(net: Outside, tmp_path: Path) -> None:
    """dnsmasq on the host itself: its answers are not forwarded, and it must not notice that they are held."""
    if not Path("/usr/sbin/dnsmasq").exists():
        pytest.skip("needs dnsmasq")
    log = tmp_path / "log"
    command = ["ip", "netns", "exec", HOST, "/usr/sbin/dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv",
               "--no-hosts", "--listen-address=10.77.1.1", "--bind-interfaces", "--user=root", "--log-facility=-"]  # fmt: skip
    numbers = [new_number() for _ in range(50)]
    command += [f"--address=/n{n}.bad.example/{address_of(BAD, n, 4)}" for n in numbers]
    with log.open("w") as told, host((1,), parse(POLICY, "p.yaml")) as made:
        running = subprocess.Popen(command, stdout=told, stderr=told)
        asker = Asker(1, 4)
        try:
            for number in numbers:
                name = f"n{number}.bad.example"
                asker.connect(name, _of_dnsmasq(asker, name))
            assert through(net, asker, "n", "good", 1) == (1, 1)
            assert not [name for name in net.arrived if name in {f"n{number}.bad.example" for number in numbers}]
        finally:
            running.terminate()
            running.wait()
            asker.close()
        assert made.figures["heard"] >= 50
    assert "failed to send" not in log.read_text()


def _of_dnsmasq(asker: Asker, name: str) -> bytes:
    wire = question(name, A, asker.ident)[:-11]
    wire = wire[:11] + b"\0" + wire[12:]
    answers: list[bytes] = []

    def answered() -> bool:
        asker.dns.sendto(wire, ("10.77.1.1", 53))
        if select.select([asker.dns], [], [], 0.5)[0]:
            with contextlib.suppress(ConnectionRefusedError):  # it is not up yet
                answers.append(asker.dns.recv(4096))
        return bool(answers)

    until(answered, "dnsmasq answers")
    return answers[0]


def test_a_sensor_on_the_tap_sees_each_answer_once(net: Outside) -> None:
    asker = Asker(1, 4)
    with host((1,), parse(POLICY, "p.yaml")):
        sniffer = socket_in(HOST, socket.AF_PACKET, socket.SOCK_RAW)
        sniffer.bind(("tap1", 3))
        assert through(net, asker, "n", "good", 20) == (20, 20)
        seen = []
        while select.select([sniffer], [], [], 0.2)[0]:
            frame, (_, _, kind, *_) = sniffer.recvfrom(2048)
            if kind == socket.PACKET_OUTGOING and frame[23] == 17 and frame[34:36] == b"\0\x35":
                seen.append(frame[42:44])
        assert len(seen) == len(set(seen)) == 20
        sniffer.close()
    asker.close()
