"""A controller that holds DNS answers, as far as the tests of that need one, and what gets through to the outside."""

import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from kernel.dns_net import GOOD, HOST, RESOLVER, SINK, Asker, Outside, address_of
from kernel.private_net import inside
from netpersona.adapters.dns_relay import AnswerHold, Learned
from netpersona.adapters.enforcers.nftables.enforcer import Nftables
from netpersona.flow.vm import VmId, vm_id
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.pipeline import Ground
from netpersona.policy.model import PolicySet
from netpersona.ruleset.resolve import resolve
from waiting import until

AT = 1_700_000_000_000_000
POLICY = """{apiVersion: netpersona/v1, kind: Policy, metadata: {name: p}, spec: {mode: enforce, order: 1, rules: [
    {name: bad, direction: outbound, peers: {domains: [bad.example]}, action: deny}]}}"""


@dataclass
class Host:
    """What the controller does, as far as this needs it."""

    enforcer: Nftables
    policies: PolicySet
    taps: dict[str, VmId]
    intel: IndicatorSet = field(default_factory=lambda: IndicatorSet.merge([]))
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
            ground = Ground(self.intel, self.policies, None)
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
def host(
    places: tuple[int, ...], policies: PolicySet, *, held: bool = True, intel: IndicatorSet | None = None
) -> Iterator[Host]:
    taps = {f"tap{place}": vm_id(f"vm-{place}") for place in places}
    with inside(HOST):
        made = Host(Nftables(), policies, taps, IndicatorSet.merge([]) if intel is None else intel)
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


_numbers = iter(range(1, 60_000))


def new_number() -> int:
    """One that stands in no name yet: no name and no address is used twice."""
    return next(_numbers)


def through(net: Outside, asker: Asker, form: str, kind: str, count: int, *, tcp: bool = False) -> tuple[int, int]:
    """Asks for so many new names and connects at once; gives how many answers came, and how many connections."""
    names = [f"{form}{new_number()}.{kind}.example" for _ in range(count)]
    answers = 0
    for name in names:
        answer = asker.ask(name, tcp=tcp)
        if answer is not None:
            answers += 1
            asker.connect(name, answer)
    asker.out.sendto(b"end", (address_of(GOOD, 0, asker.version), SINK))
    until(lambda: "end" in net.arrived, "the last datagram arrives")
    net.arrived.discard("end")
    return answers, len(net.arrived & set(names))
