"""Three VMs, a host and an outside with a resolver, for what happens to answers that are held.

    vm1 10.77.1.2 2001:db8:1::2 --- tap1 +------+
    vm2 10.77.2.2 2001:db8:2::2 --- tap2 | host |--- out: a resolver, 192.0.2.53 and 2001:db8:53::53, and every peer
    vm3 10.77.3.2 2001:db8:3::2 --- tap3=br3 ---+

The resolver of the tests answers nN.bad.example and nN.good.example with addresses of their own, which nobody else has.
"""

import re
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kernel.private_net import namespaces, own, run, socket_in

HOST, OUT = own("dnshost"), own("dnsout")
RESOLVER = {4: "192.0.2.53", 6: "2001:db8:53::53"}
A, AAAA = 1, 28
BAD, GOOD = 1, 2
SINK = 8080
NETWORKS = {4: "198.18.0.0/15", 6: "2001:db8:f000::/36"}


def vm_of(place: int) -> str:
    return own(f"dnsvm{place}")


def address_of(kind: int, number: int, version: int) -> str:
    """The address of a name's own."""
    if version == 4:
        return f"198.{17 + kind}.{number >> 8}.{number & 255}"
    return f"2001:db8:f00{kind}::{number:x}"


@contextmanager
def net_of_three() -> Iterator["Outside"]:
    with namespaces(HOST, OUT, *(vm_of(place) for place in (1, 2, 3))):
        for place in (1, 2, 3):
            connect(HOST, f"tap{place}", vm_of(place), "eth0")
            end = f"tap{place}" if place < 3 else "br3"
            if place == 3:
                run("ip", "-n", HOST, "link", "add", "br3", "type", "bridge")
                run("ip", "-n", HOST, "link", "set", "br3", "up")
                run("ip", "-n", HOST, "link", "set", "tap3", "master", "br3")
            _address(HOST, end, f"10.77.{place}.1/24", f"2001:db8:{place}::1/64")
            _address(vm_of(place), "eth0", f"10.77.{place}.2/24", f"2001:db8:{place}::2/64")
            _default(vm_of(place), f"10.77.{place}.1", f"2001:db8:{place}::1")
        connect(HOST, "out0", OUT, "eth0")
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


def connect(one: str, name: str, other: str, end: str) -> None:
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
            deadline = time.monotonic() + 60
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
                        stream.settimeout(20)
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

    def ask(self, name: str, wait: float = 20.0, *, tcp: bool = False) -> bytes | None:
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
