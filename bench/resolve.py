"""How long resolving takes, beside a reference of the same work in the same run.

    resolve     1,000 personas x 20 policies of all sorts, with learned profiles, DNS answers and four merged feeds
      cold      the feeds have just changed: what an IndicatorSet keeps for itself is made again
      warm      they have not
    change      one persona's risk changes, and the ruleset is asked for
    reference   as many plain tuples as the ruleset has rules

Merging the feeds, reading the policies and learning the personas come before.  Each figure is the least and, in
brackets, the median of several rounds; then the least processor time of all threads, which says more than either
where others use the machine too.  Run: python bench/resolve.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from itertools import count
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec import structs

from netpersona.flow.vm import vm_id
from netpersona.flow.window import DAY, MINUTE
from netpersona.intel.feed import FeedSettings, FeedSnapshot, parse
from netpersona.intel.indicators import AllowEntry, AllowList, IndicatorSet
from netpersona.persona.model import (
    BaseNetworkConfig,
    BehavioralSignature,
    Completeness,
    Kind,
    Mitigation,
    Persona,
    RiskTerm,
    TrafficProfile,
    Usage,
)
from netpersona.policy import parse as policy_text
from netpersona.policy.model import PolicySet
from netpersona.ruleset.render import render
from netpersona.ruleset.resolve import Resolver, resolve

AT = 1_800_000_000_000_000  # µs
VMS, LISTED = 1_000, 20_000
ROLES = ("web", "app", "db", "mail", "build")
CONTACT = Usage(1.0, 1.0, 1.0, 0, AT)

# Ten sorts of policy, each twice with other numbers.
SORTS = (
    """
  order: {order}
  rules:
    - {{name: nothing-out, when: persona.risk_score > 0.{high}, direction: outbound, action: deny, existing: cut}}
    - {{name: listed, direction: outbound, peers: {{reputation_below: 0.{low}}}, action: deny, existing: cut}}""",
    """
  order: {order}
  selector: persona.labels.role == '{role}' && persona.completeness > 0.9{high}
  rules:
    - {{name: known, direction: outbound, peers: {{profile: known}}, action: allow}}
    - {{name: updates, direction: outbound, peers: {{domains: [site{low}.example]}}, ports: [443, 80], action: allow}}
    - {{name: rest, direction: outbound, action: deny, existing: drain 60s}}""",
    """
  order: {order}
  rules:
    - name: isolate
      when: persona.signatures.exists(s, s.name in ['c2_beacon', 'c2_channel'] && s.confidence >= 0.{high})
      until: persona.risk_score < 0.{low}
      action: isolate
      existing: cut
      for: 1h""",
    """
  order: {order}
  rules:
    - {{name: shield, when: "'known_exploited' in persona.exposure", direction: inbound,
       peers: {{not: {{vms: "true"}}}}, ports: persona.exposed_ports, action: deny, existing: cut}}
    - {{name: staff, direction: inbound, peers: {{networks: [10.9{low}.0.0/16]}}, ports: [443], action: allow}}""",
    """
  order: {order}
  rules:
    - {{name: look, when: persona.risk_score > 0.{high}, direction: outbound, ports: [80], protocols: [tcp],
       action: redirect, to: analyser, existing: keep}}
    - {{name: slow, when: persona.risk_score > 0.{high}, direction: outbound, action: rate-limit, rate: 1 mbit}}""",
    """
  order: {order}
  rules:
    - {{name: c2, direction: both, peers: {{categories: [c2, malware{low}]}}, action: deny, existing: cut}}
    - {{name: sure, direction: inbound, peers: {{feeds: [feed1, feed{low}], reputation_below: 0.{high}}},
       action: reject}}""",
    """
  order: {order}
  selector: persona.labels.role == 'db'
  rules:
    - {{name: apps, direction: inbound, peers: {{vms: persona.labels.role == '{role}'}}, ports: [543{low}],
       action: allow}}
    - {{name: others, direction: inbound, peers: {{vms: "true"}}, action: deny}}""",
    """
  order: {order}
  rules:
    - {{name: new-services, when: persona.learning == 'frozen' && persona.risk_score > 0.{low}, direction: inbound,
       peers: {{profile: new}}, action: deny}}""",
    """
  order: {order}
  rules:
    - {{name: streaming, direction: outbound, peers: {{domains: [site{low}.example, site1{low}.example]}},
       action: log}}
    - {{name: mail, when: persona.labels.role != 'mail', direction: outbound, ports: [25], protocols: [tcp],
       action: reject}}""",
    """
  order: {order}
  rules:
    - {{name: strangers, when: persona.age_hours > 24.0 && persona.risk_score > 0.{high}, direction: outbound,
       peers: {{profile: new, not: {{reputation_below: 0.{low}}}}}, action: reject}}""",
)
ALLOW = """
apiVersion: netpersona/v1
kind: AllowList
metadata: {name: partners}
spec:
  entries:
    - {value: 198.51.100.0/24, comment: payment provider}
    - {value: 192.0.2.10, comment: monitoring}
    - {value: site3.example, comment: our own update server}
"""


def policies() -> PolicySet:
    documents = [ALLOW]
    for number in range(2 * len(SORTS)):
        numbers = {"order": number * 10, "role": ROLES[number % 5], "low": number // 10 + 2, "high": number // 10 + 6}
        spec = SORTS[number % 10].format(**numbers)
        mode = "stage" if number in (1, 17) else "enforce"
        documents.append(f"""
apiVersion: netpersona/v1
kind: Policy
metadata: {{name: policy-{number}}}
spec:
  mode: {mode}{spec}
""")
    read = policy_text.parse("---".join(documents), "bench")
    return replace(read, redirects={"analyser": "10.90.0.9"})


def persona(number: int) -> Persona:
    """One of the VMs: half its peers are everybody's, half its own; every tenth is at risk, half of them infected."""
    mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
    addresses = (f"10.{number >> 8}.{number & 255}.2/24", f"2001:db8:{number:x}::2/64")
    gateway = f"10.{number >> 8}.{number & 255}.1"
    exposed = number % 10 == 3
    return Persona(
        vm=vm_id(f"vm-{number}"),
        labels={"role": ROLES[number % 5], "site": f"dc{number % 3}"},
        base=BaseNetworkConfig(addresses, f"tap-{number}", mac, (gateway,), (gateway,), 1500, inferred=False),
        learning="frozen" if number % 4 == 0 else "learning",
        profile=TrafficProfile(
            kinds=dict.fromkeys(kinds(number), CONTACT),
            names={f"site{(number + i) % 60}.example": CONTACT for i in range(12)},
            windows=200,
            flows=9_000,
        ),
        signatures=(BehavioralSignature("c2_beacon", AT - DAY, AT, "203.0.113.7", 0.95, "beacon"),)
        if number % 20 == 0
        else (),
        risk_ledger=tuple(ledger(number)) if number % 10 == 0 else (),
        completeness=Completeness(unseen=0.00008 * number),
        mitigations=(Mitigation("policy-2", "isolate", 1, AT - 1, AT + DAY, "beacon"),) if number % 40 == 0 else (),
        exposure=("known_exploited",) if exposed else (),
        exposed_ports=(443, 8000 + number % 7) if exposed else (),
        first_seen=AT - number * DAY // 31,
        last_seen=AT,
    )


def kinds(number: int) -> Iterator[Kind]:
    for i in range(4 + number % 30):
        shared, own = f"192.0.2.{i % 16}", f"100.{64 + number % 64}.{number >> 6}.{i}"
        v6 = f"2001:db8:ffff::{i:x}"
        yield Kind("outbound", "tcp", 443, v6 if i % 8 == 7 else own if i % 2 else shared)
    for port in (22, 80, 443, 5432)[: number % 5]:
        yield Kind("inbound", "tcp", port, "")


def ledger(number: int) -> Iterator[RiskTerm]:
    for i in range(number // 10 % 12 + 1):
        yield RiskTerm(
            "intel_match", f"203.0.113.{i}", 1.5, DAY, AT - i * DAY // 9, f"finding-{i}", ("feed1",), "listed"
        )


def answers(number: int) -> dict[str, tuple[tuple[str, int | None], ...]]:
    """What a VM's resolver answered for 12 names: three addresses each, one of them IPv6."""
    sites = ((number + i) % 60 for i in range(12))
    return {
        f"www.site{n}.example": (
            (f"198.18.{n}.1", None),
            (f"198.19.{number % 9}.{n}", AT + DAY),
            (f"2001:db8:{n}::1", None),
        )
        for n in sites
    }


def feeds() -> list[FeedSnapshot]:
    """Four feeds: addresses that overlap from feed to feed, every tenth a /24, every eighth line a domain."""
    rng = np.random.default_rng(7)
    pool = rng.integers(0x0B000000, 0xDF000000, LISTED, dtype=np.uint32).tolist()
    found = []
    for number in range(4):
        own = pool[number * LISTED // 8 : number * LISTED // 8 + LISTED // 4 * 2]
        lines = [
            f"d{n:x}.example" if i % 8 == 0 else f"{ip_address(n & ~255)}/24" if i % 10 == 0 else str(ip_address(n))
            for i, n in enumerate(own)
        ]
        settings = FeedSettings(f"feed{number}", 0.5 + 0.15 * number, category=("c2", "malware2")[number % 2])
        found.append(parse("\n".join(lines).encode(), settings))
    return found


class Taken(NamedTuple):
    """What several rounds took, in ms."""

    least: float
    median: float
    processor: float  # the least


def milliseconds(work: Callable[[], object], rounds: int = 9) -> Taken:
    taken, busy = [], []
    for _ in range(rounds):
        start, used = time.perf_counter(), time.process_time()
        work()
        taken.append((time.perf_counter() - start) * 1_000)
        busy.append((time.process_time() - used) * 1_000)
    return Taken(min(taken), statistics.median(taken), min(busy))


def main() -> None:
    rules, allow = policies(), AllowList((AllowEntry("198.51.100.0/24", None, "payment provider"),))
    intel = IndicatorSet.merge(feeds(), allow)
    personas = [persona(number) for number in range(VMS)]
    interfaces = {p.vm: p.base.interface for p in personas if p.base.interface is not None}
    names = {p.vm: answers(number) for number, p in enumerate(personas)}
    asked = {"interfaces": interfaces, "names": names}

    def fresh(table: pl.DataFrame = intel.table) -> IndicatorSet:
        return IndicatorSet(table, allow)

    now = count(AT, MINUTE)  # never twice at one instant
    first = milliseconds(lambda: resolve(personas, rules, fresh(), next(now), **asked), rounds=1)
    cold = milliseconds(lambda: resolve(personas, rules, fresh(), next(now), **asked))
    warm = milliseconds(lambda: resolve(personas, rules, intel, next(now), **asked))
    resolver = Resolver(rules, intel, AT, **asked)
    for each in personas:
        resolver.put(each)
    ruleset = resolver.ruleset()
    single = milliseconds(changes(resolver, personas[500]), rounds=25)
    made = sum(len(vm.outbound) + len(vm.inbound) for vm in ruleset.vms.values())
    members = sum(map(len, ruleset.sets.values()))
    reference = milliseconds(lambda: [(f"rule {i}", i, i + 1, i + 2) for i in range(made)])
    text = milliseconds(lambda: render(ruleset), rounds=3)
    print(f"{VMS} personas x {len(rules.policies)} policies, {len(intel)} indicators: {made} rules, "
          f"{len(ruleset.sets)} sets of {members} members")  # fmt: skip
    line("resolve, feeds just changed", cold, f"(asked: at most 200 ms); first of all {first.least:.0f} ms")
    line(
        "resolve, same feeds",
        warm,
        f"(asked: at most 200 ms); {warm.processor / reference.processor:.0f} x tuples",
    )
    line("one persona's change, with the ruleset", single, "(asked: at most 5 ms)")
    line("render", text, f"{len(render(ruleset)) / 1e6:.1f} MB of nft text")


def changes(resolver: Resolver, changing: Persona) -> Callable[[], None]:
    """Give the persona another risk, and ask for the ruleset."""
    risks = iter([0.01 * i for i in range(1, 60)])

    def change() -> None:
        resolver.put(structs.replace(changing, risk_prior=next(risks)))
        resolver.ruleset()

    return change


def line(what: str, taken: Taken, more: str) -> None:
    print(f"{what:40}{taken.least:8.2f} ms [{taken.median:.2f}], processor {taken.processor:.2f} ms  {more}")


if __name__ == "__main__":
    main()
