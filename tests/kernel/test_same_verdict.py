"""The model's verdict is the kernel's: real datagrams through a router that has the rendered rules, both ways.

    VM (10.77.0.11, fd00:77::11) --- tap-vm-1 ROUTER --- OUTSIDE (every peer's address)

Each ruleset meets flows that were open before it, the answers to them, and new ones, opened from either end.
"""

import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import cycle

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kernel.private_net import inside, namespaces, needs_kernel, own, run, socket_in
from netpersona.adapters.enforcers.nftables import nftables
from netpersona.flow.vm import vm_id
from netpersona.intel.feed import FeedSettings
from netpersona.intel.feed import parse as parse_feed
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Kind, Persona, TrafficProfile, Usage
from netpersona.policy.model import Action, Direction, PolicySet
from netpersona.policy.parse import parse
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.render import render
from netpersona.ruleset.resolve import resolve
from netpersona.ruleset.verdict import Packet, verdict
from properties.given_rulesets import AT, PEERS, World, dense_policies, worlds

pytestmark = needs_kernel

VM, ROUTER, OUTSIDE = own("vm"), own("router"), own("peers")
OWN = {4: "10.77.0.11", 6: "fd00:77::11"}
FAR = tuple(peer for peer in PEERS if peer not in {"10.77.0.1", "fd00:77::1"})
PORTS = (53, 80, 443)
# The kernel remembers a flow for minutes: a port that the system picks again would be an established flow to it.
NEVER_USED = cycle(range(10_000, 60_000))
DECIDING = (Action.ALLOW, Action.DENY, Action.REJECT, Action.ISOLATE, Action.LOG)
CASES = [
    (direction, peer, port) for direction in (Direction.OUTBOUND, Direction.INBOUND) for peer in FAR for port in PORTS
]
TRACKING = "table inet np_track { chain c { type filter hook forward priority 0; ct state invalid counter; }; }"


@pytest.fixture(scope="module")
def _net() -> Iterator[None]:
    with namespaces(VM, ROUTER, OUTSIDE):
        run("ip", "link", "add", "eth0", "netns", VM, "type", "veth", "peer", "name", "tap-vm-1", "netns", ROUTER)
        run("ip", "link", "add", "eth0", "netns", OUTSIDE, "type", "veth", "peer", "name", "outside", "netns", ROUTER)
        for namespace, device in ((VM, "eth0"), (ROUTER, "tap-vm-1"), (ROUTER, "outside"), (OUTSIDE, "eth0")):
            run("ip", "-n", namespace, "link", "set", device, "up")
        for namespace, device, addresses in (
            (VM, "eth0", ("10.77.0.11/32", "fd00:77::11/128", "172.31.8.2/30", "fd00:8::2/64")),
            (ROUTER, "tap-vm-1", ("172.31.8.1/30", "fd00:8::1/64")),
            (ROUTER, "outside", ("172.31.9.1/30", "fd00:9::1/64")),
            (OUTSIDE, "eth0", ("172.31.9.2/30", "fd00:9::2/64")),
            (OUTSIDE, "lo", tuple(f"{peer}/{128 if ':' in peer else 32}" for peer in FAR)),
        ):
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            for address in addresses:
                run(
                    "ip",
                    "-n",
                    namespace,
                    "address",
                    "add",
                    address,
                    "dev",
                    device,
                    *(["nodad"] if ":" in address else []),
                )
        for setting in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            run("ip", "netns", "exec", ROUTER, "sysctl", "-qw", f"net.{setting}=1")
        for namespace, target, via in (
            (VM, "default", ("172.31.8.1", "fd00:8::1")),
            (OUTSIDE, "default", ("172.31.9.1", "fd00:9::1")),
            (ROUTER, "default", ("172.31.9.2", "fd00:9::2")),
        ):
            for gateway in via:
                run("ip", "-n", namespace, *(["-6"] if ":" in gateway else []), "route", "add", target, "via", gateway)
        run("ip", "-n", ROUTER, "route", "add", "10.77.0.11", "via", "172.31.8.2")
        run("ip", "-n", ROUTER, "-6", "route", "add", "fd00:77::11", "via", "fd00:8::2")
        yield


class Flows:
    """UDP flows for every case: one socket for each service, and a client socket for each flow."""

    transport = "udp"
    cases = CASES

    def __init__(self) -> None:
        self.services = {}
        for peer in FAR:
            for port in PORTS:
                self.services[Direction.OUTBOUND, peer, port] = _bound(OUTSIDE, peer, port)
        inbound = {(version, port): _bound(VM, own, port) for version, own in OWN.items() for port in PORTS}
        for peer in FAR:
            for port in PORTS:
                self.services[Direction.INBOUND, peer, port] = inbound[_version(peer), port]

    def clients(self) -> dict:
        """A fresh client for each case; a source port not used before makes a new flow to the kernel too."""
        return {
            (direction, peer, port): _bound(VM, OWN[_version(peer)], next(NEVER_USED))
            if direction is Direction.OUTBOUND
            else _bound(OUTSIDE, peer, next(NEVER_USED))
            for direction, peer, port in CASES
        }

    def close(self) -> None:
        for service in set(self.services.values()):
            service.close()

    def open(self, clients: dict) -> None:
        """Sends both ways until each flow is established; neighbours may first have to be found."""
        for way in (self.ask, self.answer):
            missing = clients.keys() - way(clients, "open", set(clients))
            assert not missing, f"no way through the namespaces: {sorted(missing)[:3]}"

    def ask(self, clients: dict, stage: str, expected: set) -> set:
        """Sends a datagram in each flow; gives the cases whose datagram arrived."""
        texts = {f"{stage} {d} {peer} {port}": (d, peer, port) for d, peer, port in clients}

        def send(case: tuple) -> None:
            _send(clients[case], f"{stage} {case[0]} {case[1]} {case[2]}", (self._server(case), case[2]))

        def arrived() -> set:
            return {texts[text] for text in _received(set(self.services.values())) if text in texts}

        return _until_expected(clients, expected, send, arrived)

    def answer(self, clients: dict, stage: str, expected: set) -> set:
        """Sends a datagram back in each flow; gives the cases whose datagram arrived."""
        texts = {f"{stage} answer {d} {peer} {port}": (d, peer, port) for d, peer, port in clients}

        def send(case: tuple) -> None:
            text = f"{stage} answer {case[0]} {case[1]} {case[2]}"
            _send(self.services[case], text, clients[case].getsockname()[:2])

        def arrived() -> set:
            return {texts[text] for text in _received(set(clients.values())) if text in texts}

        return _until_expected(clients, expected, send, arrived)

    def _server(self, case: tuple) -> str:
        return case[1] if case[0] is Direction.OUTBOUND else OWN[_version(case[1])]


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _bound(namespace: str, address: str, port: int) -> socket.socket:
    made = socket_in(namespace, socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)  # noqa: FBT003 (it takes no keyword)
    made.bind((address, port))
    return made


def _send(sender: socket.socket, text: str, to: tuple) -> None:
    for _ in range(3):  # an ICMP error to an earlier datagram is reported once, here
        try:
            sender.sendto(text.encode(), to)
        except OSError:
            continue
        return


def _until_expected(cases: Iterable[tuple], expected: set, send: Callable, arrived: Callable) -> set:
    """Sends in every case once, and again where what should arrive has not: a busy machine may be late, never early."""
    found: set = set()
    deadline = time.monotonic() + 60
    again = set(cases)
    while again and time.monotonic() < deadline:
        for case in sorted(again):
            send(case)
        found |= arrived()
        again = expected - found
    return found


def _received(sockets: set, wait: float = 0.15) -> list[str]:
    """What arrives until nothing has for `wait` seconds: the way is in one kernel, a datagram takes microseconds."""
    found = []
    while ready := select.select(list(sockets), [], [], wait)[0]:
        for each in ready:
            try:
                found.append(each.recv(200).decode())
            except OSError:
                continue
    return found


# Rules whose order and state matter: a keeping deny before a cutting one, with and without an allow between them.
HARD = (
    "{name: k, direction: both, action: deny}, {name: c, direction: both, ports: [53], action: deny, existing: cut}",
    (
        "{name: k, direction: both, ports: [443], action: deny}, {name: a, direction: both, peers: {networks: [203.0.113.0/24, "
        "'2001:db8:dead::/48']}, action: allow}, {name: c, direction: both, action: deny, existing: cut}"
    ),
    "{name: c, direction: outbound, peers: {not: {networks: [198.51.100.0/24, '2001:db8::1']}}, action: deny, existing: cut}",
    "{name: c, direction: inbound, action: reject, existing: cut}, {name: k, direction: outbound, action: reject}",
    "{name: l, direction: both, action: log}, {name: i, when: 'true', action: isolate, existing: cut}",
    "{name: a, direction: both, ports: [80], action: allow}, {name: i, when: 'true', action: isolate, existing: keep}",
    (
        "{name: k, direction: outbound, peers: {networks: [192.0.2.1]}, action: deny}, "
        "{name: r, direction: outbound, ports: [80], protocols: [udp], action: redirect, to: analyser}, "
        "{name: c, direction: outbound, ports: [80, 443], action: deny, existing: cut}"
    ),
    "{name: r, direction: outbound, ports: [80], protocols: [udp], action: redirect, to: analyser, existing: cut}",
    "{name: c, direction: both, peers: {profile: new}, action: deny, existing: cut}",
)


@pytest.mark.usefixtures("_net")
@pytest.mark.parametrize("rules", HARD)
def test_the_kernel_does_what_the_model_says_where_order_and_state_matter(rules: str) -> None:
    check(hard_ruleset(rules))


def hard_ruleset(rules: str) -> Ruleset:
    text = "{apiVersion: netpersona/v1, kind: Policy, metadata: {name: p}, spec: {mode: enforce, order: 1, rules: [RULES]}}"
    usage = Usage(1.0, 1.0, 1.0, AT, AT)
    kinds = (Kind("outbound", "udp", 53, "192.0.2.1"), Kind("inbound", "udp", 443, ""))
    persona = Persona(
        vm=vm_id("vm-1"),
        base=BaseNetworkConfig(addresses=("10.77.0.11/24", "fd00:77::11/64"), inferred=False),
        profile=TrafficProfile(kinds=dict.fromkeys(kinds, usage)),
    )
    policies = replace(parse(text.replace("RULES", rules), "hard.yaml"), redirects={"analyser": "172.31.9.2:8080"})
    interfaces = {vm_id("vm-1"): "tap-vm-1"}
    return resolve([persona], policies, IndicatorSet.merge([]), AT, interfaces=interfaces)


LISTED = (  # a name's answers, a listed address, and both at once; what is slowed is counted once
    "{name: c, direction: both, peers: {reputation_below: 0.3}, action: deny, existing: cut}",
    "{name: k, direction: outbound, peers: {not: {reputation_below: 0.3}}, action: deny}",
    (
        "{name: s, direction: outbound, peers: {reputation_below: 0.3}, action: rate-limit, rate: 1gbit}, "
        "{name: r, direction: outbound, peers: {reputation_below: 0.3, networks: [198.51.100.0/24]}, action: reject}"
    ),
)


@pytest.mark.usefixtures("_net")
@pytest.mark.parametrize("rules", LISTED)
@pytest.mark.parametrize("by_interface", [True, False])
def test_the_kernel_does_what_the_model_says_of_names_that_are_listed(rules: str, by_interface: bool) -> None:
    listed = parse_feed(b"evil.example\n192.0.2.1\n", FeedSettings("bad", confidence=0.95))
    answers = {"evil.example": (("198.51.100.9", None), ("192.0.2.1", None), ("2001:db8::1", None))}
    text = "{apiVersion: netpersona/v1, kind: Policy, metadata: {name: p}, spec: {mode: enforce, order: 1, rules: [RULES]}}"
    persona = Persona(
        vm=vm_id("vm-1"), base=BaseNetworkConfig(addresses=("10.77.0.11/24", "fd00:77::11/64"), inferred=False)
    )
    interfaces = {vm_id("vm-1"): "tap-vm-1"} if by_interface else {}
    policies, intel = parse(text.replace("RULES", rules), "listed.yaml"), IndicatorSet.merge([listed])
    check(resolve([persona], policies, intel, AT, interfaces=interfaces, names={vm_id("vm-1"): answers}))


RESOLVERS = ("198.51.100.9", "2001:db8::1")
OF_RESOLVERS = (  # established flows to resolvers meet what cuts, and what is denied before
    "{name: i, action: isolate, existing: cut}",
    "{name: c, direction: outbound, peers: {networks: [198.51.100.0/24, 192.0.2.1]}, action: deny, existing: cut}",
    "{name: k, direction: both, action: deny}",
    "{name: d, direction: outbound, peers: {networks: [198.51.100.9]}, ports: [53], action: redirect, to: analyser, existing: cut}",
)


@pytest.mark.usefixtures("_net")
@pytest.mark.parametrize("rules", OF_RESOLVERS)
@pytest.mark.parametrize("by_interface", [True, False])
def test_the_kernel_does_what_the_model_says_of_the_vms_own_resolvers(rules: str, by_interface: bool) -> None:
    text = "{apiVersion: netpersona/v1, kind: Policy, metadata: {name: p}, spec: {mode: enforce, order: 1, rules: [RULES]}}"
    own_addresses = ("10.77.0.11/24", "fd00:77::11/64")
    persona = Persona(vm_id("vm-1"), base=BaseNetworkConfig(own_addresses, resolvers=RESOLVERS, inferred=False))
    interfaces = {vm_id("vm-1"): "tap-vm-1"} if by_interface else {}
    policies = replace(parse(text.replace("RULES", rules), "own.yaml"), redirects={"analyser": "172.31.9.2:8080"})
    check(resolve([persona], policies, IndicatorSet.merge([]), AT, interfaces=interfaces))


# An example takes a second: a failing one is told as it is, not made smaller.
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(
    worlds(st.sampled_from(("a", "b", "c", "d")), DECIDING),
    st.one_of(dense_policies(DECIDING), dense_policies(DECIDING), st.none()),
    st.booleans(),
)
@pytest.mark.usefixtures("_net")
def test_the_kernel_does_what_the_model_says(world: World, dense: PolicySet | None, by_interface: bool) -> None:
    interfaces = {vm_id("vm-1"): "tap-vm-1"} if by_interface else {}
    policies = world.policies if dense is None else dense
    check(alone(replace(world, interfaces=interfaces, policies=policies).ruleset()))


def alone(ruleset: Ruleset) -> Ruleset:
    """Without the rules of vm-2 and the stranger: the address of vm-2 is a peer's here."""
    return replace(ruleset, vms={vm_id("vm-1"): ruleset.vms[vm_id("vm-1")]})


def check(ruleset: Ruleset, kind: type = Flows) -> None:
    """Brings the ruleset in force while flows are open, and compares every verdict."""
    flows = kind()
    run("ip", "netns", "exec", ROUTER, "nft", "-f", "-", text=f"flush ruleset\n{TRACKING}")
    before, new = flows.clients(), {}
    vms = {vm: replace(rules, outbound=(), inbound=(), allow=()) for vm, rules in ruleset.vms.items()}
    try:
        with inside(ROUTER), nftables() as enforcer:
            enforcer.apply(replace(ruleset, vms=vms, unknown_vm="allow"))
            flows.open(before)
            enforcer.apply(ruleset)
        new = flows.clients()
        stages = ((False, False, flows.ask, new), (True, False, flows.ask, before), (True, True, flows.answer, before))
        for established, reply, way, clients in stages:
            decisions = {case: _decision(ruleset, case, kind.transport, established, reply) for case in kind.cases}
            expected = {case for case, (_, passes, _) in decisions.items() if passes}
            found = way(clients, f"{established} {reply}", expected)
            for case, (packet, passes, why) in decisions.items():
                assert passes is (case in found), f"{packet}\n{why}\n{render(ruleset)}"
    finally:
        flows.close()
        for each in (*before.values(), *new.values()):
            (each if isinstance(each, socket.socket) else each[0]).close()


def _decision(
    ruleset: Ruleset, case: tuple, transport: str, established: bool, reply: bool
) -> tuple[Packet, bool, list]:
    """Whether what is sent in this case arrives; an echo is seen by its reply only, so that must pass too."""
    direction, peer, port = case
    if transport != "icmp":
        packet = Packet(vm_id("vm-1"), direction, peer, transport, port, established=established, reply=reply)
        decision = verdict(ruleset, packet)
        return packet, decision.passes, [decision]
    name = "icmp6" if ":" in peer else "icmp"
    packet = Packet(vm_id("vm-1"), direction, peer, name, 0, established=established)
    decisions = [verdict(ruleset, packet), verdict(ruleset, replace(packet, established=True, reply=True))]
    return packet, all(decision.passes for decision in decisions), decisions
