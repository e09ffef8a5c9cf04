"""How long rules take to reach the kernel, beside what `nft -f` takes for the same in the same run.

1,000,000 addresses and 20,000 prefixes: loading, adding and removing 1,000 of each; 1,000 interfaces x 20 policies:
loading, a change of a policy that concerns all, a change of one VM, of six one after the other, while the kernel tracks
0, 1,000 and 100,000 flows of others.  When new rules are in force the flows that they cut are looked for; how long that
takes is told apart.

Each figure is the least and, in brackets, the median of several rounds; then the same of processor time, the kernel's
included, which says more where others use the machine too.  Everything happens in a network namespace of the
benchmark's own.  Run as root: python bench/nftables.py
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import resolve as world
from msgspec import structs

from netpersona.adapters.enforcers.nftables import Nftables, nftables, wire
from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.flow.vm import vm_id
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.policy.parse import parse
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.peers import PeerSet
from netpersona.ruleset.render import render
from netpersona.ruleset.resolve import Resolver, resolve
from netpersona.ruleset.tabulate import Tabulator

ADDRESSES, PREFIXES, CHANGED = 1_000_000, 20_000, 1_000
TRACKED = (0, 1_000, 100_000)
TRACKING = "table inet np_track { chain c { type filter hook forward priority 0; ct state invalid counter; }; }\n"
DENY = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: listed}
spec: {mode: enforce, order: 1, rules: [{name: r, direction: outbound, peers: {reputation_below: 0.3}, action: deny}]}
"""


def listed(skipped: range, more: int) -> Ruleset:
    """One VM that may not reach the listed, without some of them, and with some more."""
    persona = Persona(vm_id("vm"), base=BaseNetworkConfig(("10.0.0.2/24",), inferred=False))
    rules = resolve([persona], parse(DENY, "bench"), IndicatorSet.merge([]), world.AT, interfaces={persona.vm: "tap"})
    first, wide = 0x20000000, 0x60000000
    addresses = [str(ip_address(first + 7 * i)) for i in range(ADDRESSES + more) if i not in skipped]
    networks = [f"{ip_address(wide + (i << 9))}/24" for i in range(PREFIXES + more) if i not in skipped]
    (name,) = rules.sets
    return replace(rules, sets={name: PeerSet(tuple(addresses), tuple(networks), "is listed")})


class Taken(NamedTuple):
    """What something took, in ms: by the clock, and of the processor, in the kernel too."""

    clock: float
    processor: float


def timed(work: Callable[[], object]) -> Taken:
    start, used = time.perf_counter(), time.process_time()
    work()
    return Taken((time.perf_counter() - start) * 1_000, (time.process_time() - used) * 1_000)


def of_nft(ruleset: Ruleset) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
        file.write(render(ruleset))
        file.flush()
        taken = timed(lambda: subprocess.run(["nft", "-f", file.name], check=True)).clock
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    return taken


def sets(enforcer: Nftables) -> None:
    whole = listed(range(0), 0)
    theirs = min(of_nft(whole) for _ in range(2))
    ours = []
    for _ in range(2):
        enforcer.uninstall()
        ours.append(timed(lambda: enforcer.apply(whole)).clock)
    print(f"load {ADDRESSES} addresses, {PREFIXES} prefixes: {min(ours):.0f} ms, nft -f {theirs:.0f} ms: "
          f"{min(ours) / theirs:.2f} x (asked: at most 1.5 x)")  # fmt: skip
    more, less = listed(range(0), CHANGED), listed(range(5_000, 5_000 + CHANGED), 0)
    for what, steps in (("add", [more, whole] * 3), ("remove", [less, whole] * 3)):
        taken = [timed(lambda step=step: enforcer.apply(step)) for step in steps]
        line(f"{what} {CHANGED} addresses and {CHANGED} prefixes", taken[::2], "at most 100 ms")
        line("  and back", taken[1::2], "at most 100 ms")
    (name,) = whole.sets
    taken = [timed(lambda n=n: enforcer.lend(name, [f"192.0.2.{n}"], None)) for n in range(50)]
    line("one address pushed in", taken, "at most 5 ms")


def fleet(enforcer: Nftables) -> None:
    rules = world.policies()
    allow = world.AllowList((world.AllowEntry("198.51.100.0/24", None, "payment provider"),))
    intel = IndicatorSet.merge(world.feeds(), allow)
    personas = [world.persona(number) for number in range(world.VMS)]
    asked = {
        "interfaces": {p.vm: p.base.interface for p in personas if p.base.interface is not None},
        "names": {p.vm: world.answers(number) for number, p in enumerate(personas)},
    }
    resolver = Resolver(rules, intel, world.AT, **asked)
    for each in personas:
        resolver.put(each)
    whole = resolver.ruleset()
    interfaces([rules.interface for rules in whole.vms.values() if rules.interface is not None])
    line(f"load {world.VMS} VMs x {len(rules.policies)} policies", [timed(lambda: enforcer.apply(whole))], "no figure")
    (table,) = Tabulator().tables(whole)
    print(f"  {sum(map(len, table.chains.values()))} rules in {len(table.chains)} chains")
    line("  all its counters", [timed(lambda: enforcer.counters(personas[500].vm)) for _ in range(5)], "no figure")
    first, *others = rules.policies
    other = replace(rules, policies=(replace(first, version=first.version + 1), *others))
    turns = [resolve(personas, each, intel, world.AT, **asked) for each in (other, rules, other)]
    line("a change of a policy that concerns all", list(applied(enforcer, turns)), "at most 500 ms")
    for more in TRACKED:
        track(more)
        one_vm(enforcer, resolver, personas[500:506], more)


def one_vm(enforcer: Nftables, resolver: Resolver, personas: list[Persona], tracked: int) -> None:
    """A change of one VM, which gets less rules and then more, beside so many tracked flows: of one after the other."""
    taken, looked = [], []
    for turn in range(6 * len(personas)):
        persona = personas[turn // 2 % len(personas)]
        resolver.put(structs.replace(persona, risk_prior=0.9 if turn % 2 else 0.03))
        changed = resolver.ruleset()
        taken.append(timed(lambda changed=changed: enforcer.apply(changed)))
        looked.append(timed(enforcer.settle))
    first = 2 * len(personas)
    line(f"a change of one VM, less rules, {tracked} flows", taken[first::2], "at most 20 ms")
    line("  more rules", taken[first + 1 :: 2], "at most 20 ms")
    line("  then, its flows looked for", looked[first + 1 :: 2], "no figure")


def track(number: int) -> None:
    """Have the kernel track this many flows of other VMs: made by message, without a packet."""
    if number == 0:
        return
    subprocess.run(["nft", "-f", "-"], input=TRACKING, text=True, check=True)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, wire.NETFILTER) as to:
        to.bind((0, 0))
        for first in range(0, number, 100):
            to.send(b"".join(flow(each) for each in range(first, first + 100)))


def flow(number: int) -> bytes:
    """The message that makes an answered UDP flow, a different one for each number."""
    vm, server = ip_address(0x0AC80002 + (number % 250 << 8)).packed, ip_address("198.51.100.9").packed
    ends = [(1, vm, server, 1024 + number // 250, 443), (2, server, vm, 443, 1024 + number // 250)]
    tuples = [
        a.nest(
            way,
            a.nest(1, a.attribute(1, one), a.attribute(2, other)),
            a.nest(2, a.u8(1, 17), a.u16(2, here), a.u16(3, there)),
        )
        for way, one, other, here, there in ends
    ]
    return wire.message(0, 2, b"".join(tuples) + a.u32(7, 600) + a.u32(3, 1 << 3 | 1 << 1), wire.CREATE, 1)


def interfaces(names: list[str]) -> None:
    """Make them, two by two: the enforcer asks which are ports of a bridge."""
    pairs = zip(names[::2], names[1::2], strict=True)
    text = "\n".join(f"link add {one} type veth peer name {other}" for one, other in pairs)
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)


def applied(enforcer: Nftables, rulesets: list[Ruleset]) -> Iterator[Taken]:
    for each in rulesets:
        yield timed(lambda each=each: enforcer.apply(each))


def line(what: str, taken: list[Taken], asked: str) -> None:
    clock, processor = ([each[place] for each in taken] for place in (0, 1))
    print(f"{what:45}{min(clock):8.1f} ms [{statistics.median(clock):.1f}], processor {min(processor):.1f} ms "
          f"[{statistics.median(processor):.1f}]  (asked: {asked})", flush=True)  # fmt: skip


def main() -> int:
    if os.geteuid() != 0:
        print("skipped: needs root, to make a network namespace of its own")
        return 0
    if sys.argv[1:] != ["inside"]:
        return subprocess.run(["unshare", "-n", sys.executable, str(Path(__file__)), "inside"], check=False).returncode
    for part in (sets, fleet):
        with nftables() as enforcer:
            part(enforcer)
            enforcer.uninstall()
    return 0


if __name__ == "__main__":
    sys.exit(main())
