"""A VM's first connection after a DNS answer meets the right verdict: real questions, answers and packets.

    vm1 10.77.1.2 2001:db8:1::2 --- tap1 +------+
    vm2 10.77.2.2 2001:db8:2::2 --- tap2 | host |--- out: a resolver, 192.0.2.53 and 2001:db8:53::53, and every peer
    vm3 10.77.3.2 2001:db8:3::2 --- tap3=br3 ---+

The resolver of the tests answers nN.bad.example and nN.good.example with addresses of their own, which nobody else has.
As a program, this file holds the answers of one tap until it is killed.
"""

import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kernel.private_net import inside, namespaces, needs_kernel, run, socket_in
from netpersona.adapters.dns_relay import AnswerHold, Learned
from netpersona.adapters.dns_relay.relay import Relay
from netpersona.adapters.enforcers.nftables.enforcer import Nftables
from netpersona.flow.vm import VmId, vm_id
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.pipeline import Ground
from netpersona.policy.model import AllowEntry, AllowListResource, PolicySet
from netpersona.policy.parse import parse
from netpersona.ruleset.resolve import resolve

pytestmark = needs_kernel

HOST, OUT = "np-test-dnshost", "np-test-dnsout"
AT = 1_700_000_000_000_000
RESOLVER = {4: "192.0.2.53", 6: "2001:db8:53::53"}
A, AAAA = 1, 28
BAD, GOOD = 1, 2
SINK = 8080
NETWORKS = {4: "198.18.0.0/15", 6: "2001:db8:f000::/36"}
POLICY = """{apiVersion: netpersona/v1, kind: Policy, metadata: {name: p}, spec: {mode: enforce, order: 1, rules: [
    {name: bad, direction: outbound, peers: {domains: [bad.example]}, action: deny}]}}"""


def vm_of(place: int) -> str:
    return f"np-test-dnsvm{place}"


def address_of(kind: int, number: int, version: int) -> str:
    """The address of a name's own."""
    if version == 4:
        return f"198.{17 + kind}.{number >> 8}.{number & 255}"
    return f"2001:db8:f00{kind}::{number:x}"


@pytest.fixture(scope="module")
def net() -> Iterator["Outside"]:
    with namespaces(HOST, OUT, *(vm_of(place) for place in (1, 2, 3))):
        for place in (1, 2, 3):
            _link(HOST, f"tap{place}", vm_of(place), "eth0")
            end = f"tap{place}" if place < 3 else "br3"
            if place == 3:
                run("ip", "-n", HOST, "link", "add", "br3", "type", "bridge")
                run("ip", "-n", HOST, "link", "set", "br3", "up")
                run("ip", "-n", HOST, "link", "set", "tap3", "master", "br3")
            _address(HOST, end, f"10.77.{place}.1/24", f"2001:db8:{place}::1/64")
            _address(vm_of(place), "eth0", f"10.77.{place}.2/24", f"2001:db8:{place}::2/64")
            _default(vm_of(place), f"10.77.{place}.1", f"2001:db8:{place}::1")
        _link(HOST, "out0", OUT, "eth0")
        _address(HOST, "out0", "172.31.9.1/30", "2001:db8:9::1/64")
        _address(OUT, "eth0", "172.31.9.2/30", "2001:db8:9::2/64")
        _address(OUT, "lo", f"{RESOLVER[4]}/32", f"{RESOLVER[6]}/128")
        _default(HOST, "172.31.9.2", "2001:db8:9::2")
        _default(OUT, "172.31.9.1", "2001:db8:9::1")
        for version, network in NETWORKS.items():
            run("ip", "-n", OUT, f"-{version}", "route", "add", "local", network, "dev", "lo")
        for setting in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            run("ip", "netns", "exec", HOST, "sysctl", "-qw", f"net.{setting}=1")
        outside = Outside()
        try:
            _warm()
            yield outside
        finally:
            outside.close()


def _link(one: str, name: str, other: str, end: str) -> None:
    run("ip", "-n", one, "link", "add", name, "type", "veth", "peer", "name", end, "netns", other)
    for space, link in ((one, name), (other, end), (one, "lo"), (other, "lo")):
        run("ip", "-n", space, "link", "set", link, "up")


def _address(space: str, link: str, *addresses: str) -> None:
    for address in addresses:
        run("ip", "-n", space, "addr", "add", address, "dev", link, *(["nodad"] if ":" in address else []))


def _default(space: str, *gateways: str) -> None:
    for gateway in gateways:
        run("ip", "-n", space, *(["-6"] if ":" in gateway else []), "route", "add", "default", "via", gateway)


def _warm() -> None:
    """Every VM has found its way once."""
    for place in (1, 2, 3):
        for version in (4, 6):
            asker = Asker(place, version)
            deadline = time.monotonic() + 10
            while asker.ask("n0.good.example", wait=0.3) is None:
                assert time.monotonic() < deadline, f"vm{place} has no IPv{version}"
            asker.close()


class Outside:
    """The resolver, and the sink in which every datagram to any peer arrives."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self.arrived: set[str] = set()
        self._dns = {v: _socket(OUT, v, socket.SOCK_DGRAM, RESOLVER[v], 53) for v in (4, 6)}
        self._tcp = {v: _socket(OUT, v, socket.SOCK_STREAM, RESOLVER[v], 53) for v in (4, 6)}
        self._sinks = [_socket(OUT, v, socket.SOCK_DGRAM, "::" if v == 6 else "0.0.0.0", SINK) for v in (4, 6)]
        for each in self._tcp.values():
            each.listen(16)
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._serve, self._collect)]
        for each in self._threads:
            each.start()

    def close(self) -> None:
        self._over.set()
        for each in self._threads:
            each.join()
        for each in (*self._dns.values(), *self._tcp.values(), *self._sinks):
            each.close()

    def spoof(self, to: tuple[str, int], wire: bytes) -> None:
        """Send the VM what it did not ask for, from the resolver's address."""
        self._dns[6 if ":" in to[0] else 4].sendto(wire, to)

    def _serve(self) -> None:
        while not self._over.is_set():
            for ready in select.select([*self._dns.values(), *self._tcp.values()], [], [], 0.1)[0]:
                if ready in self._tcp.values():
                    with ready.accept()[0] as stream:
                        stream.settimeout(2)
                        asked = stream.recv(4096)[2:]
                        answer = answered(asked, tcp=True)
                        whole = struct.pack(">H", len(answer)) + answer
                        for start in range(0, len(whole), 700):  # several segments
                            stream.sendall(whole[start : start + 700])
                            time.sleep(0.002)
                        stream.recv(1)
                    continue
                asked, who = ready.recvfrom(4096)
                ready.sendto(answered(asked, tcp=False), who)

    def _collect(self) -> None:
        while not self._over.is_set():
            for ready in select.select(self._sinks, [], [], 0.1)[0]:
                self.arrived.add(ready.recv(300).decode())


def _socket(space: str, version: int, kind: int, address: str, port: int) -> socket.socket:
    made = socket_in(space, socket.AF_INET6 if version == 6 else socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if version == 6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((address, port))
    return made


def name_to_wire(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def question(name: str, kind: int, ident: int) -> bytes:
    """A question with EDNS, as programs ask today."""
    edns = b"\0" + struct.pack(">HHIH", 41, 4096, 0, 0)
    return struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 1) + name_to_wire(name) + struct.pack(">HH", kind, 1) + edns


def answered(asked: bytes, *, tcp: bool) -> bytes:
    """The test resolver's answer: big names come with much text, twoN by an alias, cutN truncated over UDP."""
    end = asked.index(b"\0", 12) + 5
    (ident,) = struct.unpack_from(">H", asked)
    name, kind = asked[12 : end - 5], struct.unpack_from(">H", asked, end - 4)[0]
    labels = re.findall(rb"[a-z0-9]+", name)
    form, number = re.fullmatch(rb"([a-z]+)(\d+)", labels[0]).groups()
    version = 6 if kind == AAAA else 4
    address = address_of(BAD if b"bad" in labels else GOOD, int(number), version)
    packed = socket.inet_pton(socket.AF_INET6 if version == 6 else socket.AF_INET, address)
    records, count = b"", 1
    owner = b"\xc0\x0c"
    if form == b"cut" and not tcp:
        return struct.pack(">HHHHHH", ident, 0x8380, 1, 0, 0, 0) + asked[12:end]
    if form == b"two":
        target = b"\5other" + b"\3bad\7example\0"
        records += owner + struct.pack(">HHIH", 5, 1, 5, len(target)) + target
        owner, count = target, 2
    if form == b"big":
        text = b"\xc0\x0c" + struct.pack(">HHIH", 16, 1, 5, 201) + bytes([200]) + b"x" * 200
        records, count = records + text * 15, count + 15
    records += owner + struct.pack(">HHIH", kind, 1, 5, len(packed)) + packed
    return struct.pack(">HHHHHH", ident, 0x8180, 1, count, 0, 0) + asked[12:end] + records


@dataclass
class Asker:
    """A program in a VM: asks its resolver, and connects at once."""

    place: int
    version: int
    ident: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if self.version == 6 else socket.AF_INET
        self.dns, self.out = (socket_in(vm_of(self.place), family, socket.SOCK_DGRAM) for _ in range(2))

    def close(self) -> None:
        self.dns.close()
        self.out.close()

    def ask(self, name: str, wait: float = 3.0, *, tcp: bool = False) -> bytes | None:
        """The answer's bytes."""
        self.ident += 1
        asked = question(name, AAAA if self.version == 6 else A, self.ident)
        resolver = (RESOLVER[self.version], 53)
        if tcp:
            return self._over_tcp(asked, resolver, wait)
        self.dns.sendto(asked, resolver)
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0 and select.select([self.dns], [], [], left)[0]:
            answer = self.dns.recv(8192)
            if answer[:2] == asked[:2]:
                return answer
        return None

    def connect(self, name: str, answer: bytes) -> None:
        """The first packet to the address that the answer ends with."""
        width = 16 if self.version == 6 else 4
        family = socket.AF_INET6 if self.version == 6 else socket.AF_INET
        try:
            self.out.sendto(name.encode(), (socket.inet_ntop(family, answer[-width:]), SINK))
        except OSError:
            return  # an ICMP error to an earlier datagram

    def _over_tcp(self, asked: bytes, resolver: tuple[str, int], wait: float) -> bytes:
        family = socket.AF_INET6 if self.version == 6 else socket.AF_INET
        with socket_in(vm_of(self.place), family, socket.SOCK_STREAM) as stream:
            stream.settimeout(wait)
            stream.connect(resolver)
            stream.sendall(struct.pack(">H", len(asked)) + asked)
            data = b""
            while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
                piece = stream.recv(8192)
                assert piece, "the resolver hung up"
                data += piece
            return data[2:]


@dataclass
class Host:
    """What the controller does, as far as this needs it."""

    enforcer: Nftables
    policies: PolicySet
    taps: dict[str, VmId]
    known: dict[VmId, dict[str, dict[str, int]]] = field(default_factory=dict)
    hold: AnswerHold = field(init=False)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold = AnswerHold(self.enforcer.lend, patience=3.0)  # the machine may be busy

    @property
    def figures(self) -> Mapping[str, int]:
        return self.hold.health().figures

    def settle(self) -> None:
        with self.hold.settling() as learned:
            self.learn(learned)
            names = {
                vm: {name: tuple(sorted(found.items())) for name, found in names.items()}
                for vm, names in self.known.items()
            }
            personas = {vm: _persona(vm, int(tap[-1])) for tap, vm in self.taps.items()}
            interfaces = {vm: tap for tap, vm in self.taps.items()}
            ground = Ground(IndicatorSet.merge([]), self.policies, None)
            ruleset = resolve(personas.values(), self.policies, ground.intel, AT, interfaces=interfaces, names=names)
            self.enforcer.apply(ruleset)
            self.hold.publish(ruleset, ground, personas)

    def learn(self, learned: list[Learned]) -> None:
        for each in learned:
            known = self.known.setdefault(each.vm, {}).setdefault(each.name, {})
            known |= {address: max(until, known.get(address, 0)) for address, until in each.addresses}

    def run(self) -> None:
        with inside(HOST):
            while not self.over.is_set():
                if self.hold.wait(0.1):
                    self.settle()


def _persona(vm: VmId, place: int) -> Persona:
    own = (f"10.77.{place}.2/24", f"2001:db8:{place}::2/64")
    return Persona(vm=vm, base=BaseNetworkConfig(addresses=own, resolvers=tuple(RESOLVER.values()), inferred=False))


@contextmanager
def host(places: tuple[int, ...], policies: PolicySet, *, held: bool = True) -> Iterator[Host]:
    taps = {f"tap{place}": vm_id(f"vm-{place}") for place in places}
    with inside(HOST):
        made = Host(Nftables(), policies, taps)
        made.settle()
        if held:
            assert made.hold.start(), made.hold.health()
        made.hold.follow(taps)
    controller = threading.Thread(target=made.run)
    controller.start()
    try:
        yield made
        assert made.hold.health().well is held, made.hold.health()
    finally:
        made.over.set()
        controller.join()
        made.hold.stop()
        made.enforcer.uninstall()
        made.enforcer.close()
    left = subprocess.run(["ip", "netns", "exec", HOST, "nft", "list", "tables"], capture_output=True, text=True)
    assert left.stdout == ""


_numbers = iter(range(1, 60_000))  # no name and no address is used twice


def through(net: Outside, asker: Asker, form: str, kind: str, count: int, *, tcp: bool = False) -> tuple[int, int]:
    """Asks for so many new names and connects at once; gives how many answers came, and how many connections."""
    names = [f"{form}{next(_numbers)}.{kind}.example" for _ in range(count)]
    answers = 0
    for name in names:
        answer = asker.ask(name, tcp=tcp)
        if answer is not None:
            answers += 1
            asker.connect(name, answer)
    asker.out.sendto(b"end", (address_of(GOOD, 0, asker.version), SINK))
    _until(lambda: "end" in net.arrived)
    net.arrived.discard("end")
    return answers, len(net.arrived & set(names))


def _until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
            name = f"big{next(_numbers)}.bad.example"
            short = asker.ask(name)
            assert short is not None
            assert short[2] & 2, "it should say that it is truncated"
            answer = asker.ask(name, tcp=True)
            assert len(answer) > 3000
            asker.connect(name, answer)
        assert made.figures["shortened"] == 5
        assert through(net, asker, "n", "good", 1) == (1, 1)
        assert not [name for name in net.arrived if name.startswith("big") and "bad" in name]
        assert asker.ask(f"cut{next(_numbers)}.bad.example")[2] & 2  # the resolver's own goes by
    asker.close()


def test_what_only_a_resolution_can_tell_is_waited_for(net: Outside) -> None:
    """An allow-list by name in front of a deny of everything: the set is not there before its first address."""
    deny = POLICY.replace("peers: {domains: [bad.example]}, ", "")
    allow = AllowListResource("names", (AllowEntry("good.example", None, "wanted"),))
    asker = Asker(1, 4)
    with host((1,), replace(parse(deny, "p.yaml"), allow=(allow,))) as made:
        for _ in range(30):
            name = f"n{next(_numbers)}.good.example"
            asker.connect(name, asker.ask(name))
            _until(lambda name=name: name in net.arrived, 10)
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
        assert not select.select([asker.dns], [], [], 0.3)[0]
        after = made.figures
        assert after["heard"] == before["heard"]
        assert after["spoofed"] - before["spoofed"] == 2
        assert after["damaged"] - before["damaged"] == 1
        assert asker.ask("n1.good.example") is not None
    asker.close()


def test_many_questions_at_once_are_all_answered(net: Outside) -> None:
    asker = Asker(1, 4)
    with host((1,), parse(POLICY, "p.yaml")) as made:
        for line in made.hold._relay._lines.values():
            line.held.began -= 60  # every answer must belong to a question that was seen
        asked, got = 2000, 0
        for ident in range(asked):
            asker.dns.sendto(question(f"n{ident}.good.example", A, ident), (RESOLVER[4], 53))
            while ident - got > 40 or (ident == asked - 1 and got < asked):
                assert select.select([asker.dns], [], [], 5)[0], made.hold.health()
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
    numbers = [next(_numbers) for _ in range(50)]
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
    for _ in range(20):
        asker.dns.sendto(wire, ("10.77.1.1", 53))
        if select.select([asker.dns], [], [], 0.5)[0]:
            try:
                return asker.dns.recv(4096)
            except ConnectionRefusedError:  # it is not up yet
                time.sleep(0.1)
    raise AssertionError("dnsmasq does not answer")


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


def _time_to_answer(asker: Asker, wait: float = 3.0) -> float | None:
    before = time.monotonic()
    return None if asker.ask("n1.good.example", wait) is None else time.monotonic() - before


def _goes_directly(asker: Asker) -> bool:
    """Whether answers come sooner than one that was held; a busy machine may be late now and then."""
    return any((_time_to_answer(asker, 0.15) or 1) < 0.15 for _ in range(5))


def test_dns_goes_directly_within_three_seconds_after_a_kill(net: Outside) -> None:
    """The other process lets each answer wait as long as it may: so it shows which way an answer came."""
    askers, other = [Asker(1, version) for version in (4, 6)], Asker(2, 4)
    with _held_by_another_process("tap1") as running:
        assert all(_time_to_answer(asker) > 0.19 for asker in askers)
        assert _goes_directly(other)
        running.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        for asker in askers:
            while asker.ask("n1.good.example", 0.1) is None:
                assert time.monotonic() < killed + 3
        assert all(_goes_directly(asker) for asker in askers)
        assert time.monotonic() < killed + 3
    for asker in (*askers, other):
        asker.close()


def test_a_relay_that_hangs_is_as_one_that_died_and_goes_on_when_it_wakes(net: Outside) -> None:
    asker, other = Asker(1, 4), Asker(2, 4)
    with _held_by_another_process("tap1") as running:
        running.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        while asker.ask("n1.good.example", 0.1) is None:
            assert _goes_directly(other)
            assert time.monotonic() < stopped + 3
        running.send_signal(signal.SIGCONT)
        woken = time.monotonic()
        while (_time_to_answer(asker) or 0) < 0.19:
            assert time.monotonic() < woken + 3
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
        _link(HOST, "tap9", vm_of(2), "eth9")
        with inside(HOST):
            made.hold._relay.follow({"tap9": vm_id("vm-9"), "tap1": vm_id("vm-1"), "nosuch": vm_id("vm-8")})
            assert made.hold._relay.health().held == ("tap1", "tap9")
            assert "nosuch" in made.hold._relay.health().error
            run("ip", "-n", HOST, "link", "del", "tap9")
            _link(HOST, "tap9", vm_of(2), "eth9")
            made.hold._relay.follow({"tap9": vm_id("vm-9"), "tap1": vm_id("vm-1")})
            assert made.hold._relay.health().held == ("tap1", "tap9")
            device = made.hold._relay._lines["tap1"].device.name
            run("ip", "-n", HOST, "link", "del", device)  # somebody interferes
            _until(lambda: any(line.broken for line in made.hold._relay._lines.values()))
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
        _until(lambda: not made.hold.health().well)
        _until(lambda: asker.ask("n1.good.example", 0.1) is not None)
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
        _until(lambda: not made.hold._relay.running)
        failed = time.monotonic()
        assert not made.hold.health().well
        while asker.ask("n1.good.example", 0.1) is None:
            assert time.monotonic() < failed + 3
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
        _until(lambda: _is_heard(made, asker))
        assert through(net, asker, "n", "bad", 20) == (20, 0)
        with inside(HOST):
            made.hold.follow(made.taps)
        assert made.figures["healed"] <= 1
    asker.close()


def _is_heard(made: Host, asker: Asker) -> bool:
    before = made.figures["heard"]
    asker.ask("n1.good.example")
    return made.figures["heard"] > before


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
