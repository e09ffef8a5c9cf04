"""How long resolving takes, beside a reference of the same work in the same run.

1,000 personas x 20 policies; one persona's change; and, as the reference, building the same number of plain
tuples that a ruleset of that size has rules.  Run: python bench/resolve.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import polars as pl

from netpersona.flow.vm import vm_id
from netpersona.intel.indicator import INDICATOR_SCHEMA
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Completeness, Kind, Persona, TrafficProfile, Usage
from netpersona.policy.model import PolicySet
from netpersona.policy.parse import parse
from netpersona.ruleset.render import render
from netpersona.ruleset.resolve import Resolver, resolve

AT = 1_800_000_000_000_000  # µs
VMS, POLICIES, LISTED = 1_000, 20, 10_000


def policies() -> PolicySet:
    documents = []
    for number in range(POLICIES):
        selector = f"persona.labels.role == 'role{number % 5}' && persona.completeness > 0.{number % 10}"
        documents.append(f"""
apiVersion: netpersona/v1
kind: Policy
metadata: {{name: policy-{number}}}
spec:
  mode: enforce
  order: {number}
  {f"selector: {selector}" if number % 2 else ""}
  rules:
    - {{name: risky, when: persona.risk_score > 0.{number % 9 + 1}, direction: outbound, action: deny, existing: cut}}
    - {{name: listed, direction: outbound, peers: {{reputation_below: 0.{number % 4 + 1}}}, action: deny}}
    - {{name: known, direction: outbound, peers: {{profile: known}}, ports: [443, {1000 + number}], action: allow}}
""")
    return parse("---".join(documents), "bench")


def persona(number: int, risk: float) -> Persona:
    kinds = {Kind("outbound", "tcp", 443, f"192.0.2.{i}"): Usage(1.0, 1.0, 1.0, 0, AT) for i in range(number % 50)}
    return Persona(
        vm=vm_id(f"vm-{number}"),
        labels={"role": f"role{number % 5}"},
        base=BaseNetworkConfig(addresses=(f"10.{number >> 8}.{number & 255}.2/24",), inferred=False),
        profile=TrafficProfile(kinds=kinds),
        risk_prior=risk,
        completeness=Completeness(unseen=0.02),
    )


def intel() -> IndicatorSet:
    rows = [
        {"value": f"203.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}", "type": "address", "confidence": 0.95, "feed": "f",
         "line": i + 1, "family": "f"}
        for i in range(LISTED)
    ]  # fmt: skip
    whole = [{name: row.get(name) for name in INDICATOR_SCHEMA} for row in rows]
    return IndicatorSet(pl.DataFrame(whole, schema=INDICATOR_SCHEMA))


def milliseconds(work: Callable[[], object], rounds: int = 7) -> float:
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1_000)
    return statistics.median(taken)


def main() -> None:
    rules, listed = policies(), intel()
    personas = [persona(number, 0.05 + 0.9 * number / VMS) for number in range(VMS)]
    interfaces = {p.vm: f"tap-{p.vm}" for p in personas}
    whole = milliseconds(lambda: resolve(personas, rules, listed, AT, interfaces=interfaces))
    resolver = Resolver(rules, listed, AT, interfaces=interfaces)
    for each in personas:
        resolver.put(each)
    ruleset = resolver.ruleset()
    count = sum(len(vm.outbound) + len(vm.inbound) for vm in ruleset.vms.values())
    reference = milliseconds(lambda: [(f"rule {i}", i, i + 1, i + 2) for i in range(count)])
    risks = iter([0.01 * i for i in range(1, 60)])

    def change() -> None:
        resolver.put(replace(personas[500], risk_prior=next(risks)))
        resolver.ruleset()

    single = milliseconds(change, rounds=25)
    text = milliseconds(lambda: render(ruleset), rounds=3)
    below = milliseconds(lambda: listed.below(0.3, AT), rounds=3)
    print(f"resolve {VMS} personas x {POLICIES} policies: {whole:.0f} ms, {count} rules (asked: at most 200 ms)")
    print(f"  of it one reputation set of {LISTED} peers: {below:.1f} ms; {whole / reference:.1f} x plain tuples")
    print(f"one persona's change, with the ruleset: {single:.2f} ms (asked: at most 5 ms)")
    print(f"render: {text:.0f} ms, {len(render(ruleset)) / 1e6:.1f} MB of nft text")


if __name__ == "__main__":
    main()
