"""Two VMs behind a host, and an outside, with TCP transfers between them: routed taps, or ports of one bridge.

np-test-a (10.77.0.11) --- tap-a np-test-host uplink --- np-test-out (203.0.113.7, 203.0.113.8)
np-test-b (10.77.0.12) --- tap-b
"""

import itertools
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from kernel.private_net import inside, namespaces, own, run, socket_in
from netpersona.adapters.enforcers.nftables import Nftables
from netpersona.flow.vm import vm_id
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.policy.model import PolicySet
from netpersona.policy.parse import parse
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.resolve import resolve

A, B, HOST, OUT = own("a"), own("b"), own("host"), own("out")
IDS = {A: "a", B: "b"}
OWN = {A: "10.77.0.11", B: "10.77.0.12"}
MACS = {A: "52:54:00:00:00:0a", B: "52:54:00:00:00:0b"}
TAPS = {A: "tap-a", B: "tap-b", OUT: "uplink"}
BAD, GOOD = "203.0.113.7", "203.0.113.8"
AT = 1_800_000_000_000_000
_ports = itertools.cycle(range(20_000, 60_000))


@contextmanager
def net(*, bridged: bool) -> Iterator[None]:
    with namespaces(A, B, HOST, OUT):
        run("ip", "-n", HOST, "link", "set", "lo", "up")
        for name, tap in TAPS.items():
            run("ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", tap, "netns", HOST)
            if name in MACS:
                run("ip", "-n", name, "link", "set", "eth0", "address", MACS[name])
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", HOST, "link", "set", tap, "up")
            for address in (OWN[name],) if name in OWN else (BAD, GOOD):
                run("ip", "-n", name, "address", "add", f"{address}/32", "dev", "eth0")
            run("ip", "-n", name, "route", "add", "default", "dev", "eth0")
        (_bridge if bridged else _route)()
        yield


def _bridge() -> None:
    run("ip", "-n", HOST, "link", "add", "br0", "type", "bridge")
    run("ip", "-n", HOST, "link", "set", "br0", "up")
    for tap in TAPS.values():
        run("ip", "-n", HOST, "link", "set", tap, "master", "br0")


def _route() -> None:
    for tap in TAPS.values():
        run("ip", "netns", "exec", HOST, "sysctl", "-qw", f"net.ipv4.conf.{tap}.proxy_arp=1")
        run("ip", "netns", "exec", HOST, "sysctl", "-qw", f"net.ipv4.neigh.{tap}.proxy_delay=0")
    run("ip", "netns", "exec", HOST, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    for address, tap in ((OWN[A], TAPS[A]), (OWN[B], TAPS[B]), (BAD, TAPS[OUT]), (GOOD, TAPS[OUT])):
        run("ip", "-n", HOST, "route", "add", f"{address}/32", "dev", tap)


@contextmanager
def enforcing(rules: Ruleset) -> Iterator[Nftables]:
    """These rules are in the host's kernel, and this thread is there; afterwards none of ours is."""
    with inside(HOST):
        made = Nftables()
        made.apply(rules)
        yield made
        made.uninstall()
        made.close()


class Transfer:
    """A TCP connection that carries data as long as it is let."""

    def __init__(self, source: str, target: str, port: int = 443, space: str = OUT) -> None:
        listening = socket_in(space, socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((target, port))
        listening.listen()
        self._client = socket_in(source, socket.AF_INET, socket.SOCK_STREAM)
        self._client.settimeout(20)
        self._client.bind((OWN.get(source, BAD), next(_ports)))
        self._client.connect((target, port))
        self._server, _ = listening.accept()
        listening.close()
        self._sent = self._got = 0

    def runs(self, within: float = 3.0) -> bool:
        """Whether what the client sends now arrives, and the answer to it."""
        self._client.sendall(b"x" * 1000)
        self._sent += 1000
        while self._got < self._sent:
            if not select.select([self._server], [], [], within)[0]:
                return False
            self._got += len(self._server.recv(65536))
        self._server.sendall(b"y")
        return bool(select.select([self._client], [], [], within)[0]) and self._client.recv(10) == b"y"

    def stands(self) -> bool:
        """Whether nothing gets through any more."""
        return not self.runs(within=0.8)

    def close(self) -> None:
        for each in (self._client, self._server):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()


def opens(source: str, target: str, port: int = 443, space: str = OUT, address: str | None = None) -> bool:
    """Whether a new connection comes about."""
    try:
        listening = socket_in(space, socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((target, port))
        listening.listen()
        client = socket_in(source, socket.AF_INET, socket.SOCK_STREAM)
        client.settimeout(0.7)
        client.bind((address or OWN.get(source, BAD), next(_ports)))
        client.connect((target, port))
    except OSError:
        return False
    else:
        return True
    finally:
        listening.close()
        client.close()


def policies(rules: str, name: str = "p", version: int = 1) -> PolicySet:
    text = f"{{apiVersion: netpersona/v1, kind: Policy, metadata: {{name: {name}}}, spec: {{mode: enforce, order: 1, rules: [{rules}]}}}}"
    return parse(text, "test.yaml")


def ruleset(
    rules: str = "",
    *,
    at: int = AT,
    policy: PolicySet | None = None,
    began: dict | None = None,
    resolvers: dict[str, str] | None = None,
) -> Ruleset:
    """The rules for both VMs; without text there are none.  `resolvers` has one for a VM, by its namespace."""
    asked_by = resolvers or {}
    personas = [
        Persona(
            vm=vm_id(IDS[name]),
            base=BaseNetworkConfig(
                (f"{OWN[name]}/24",),
                mac=MACS[name],
                resolvers=(asked_by[name],) if name in asked_by else (),
                inferred=False,
            ),
        )
        for name in (A, B)
    ]
    interfaces = {vm_id("a"): "tap-a", vm_id("b"): "tap-b"}
    asked = policy or (policies(rules) if rules else PolicySet())
    return resolve(personas, asked, IndicatorSet.merge([]), at, interfaces=interfaces, began=began or {})
