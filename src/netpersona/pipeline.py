"""The whole product on one page, pure: flows in, steps out; personas in, rules out.

    Slice (one hour of flows, each once)
      |  oriented()            whose flow is it, who is the peer            flow
      |  observe()             one Observation per VM and window            observation   <- IndicatorSet   intel
      |  advance()             judge, then learn what was calm              risk, persona
      |  triggers.advance()    mitigations begin, hold, end                 policy
      v
    Step (state, findings, risk terms, changes)  ...  resolve() -> Ruleset -> render()    ruleset

Nothing here reads a clock, a file or a global.  What runs it (replay today, the live loop next) owns the effects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl
from msgspec import structs

from netpersona.flow.orient import first_activity, oriented, owner_table
from netpersona.flow.vm import Vm, VmId, owners, vm_id_of_address
from netpersona.flow.window import WINDOW
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.software import Software
from netpersona.observation.model import Observation
from netpersona.observation.observe import FLOW_COLUMNS, TRANSACTION_COLUMNS
from netpersona.persona.exposed import Exposures
from netpersona.persona.memory import Memory
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.persona.state import VmState
from netpersona.policy import triggers
from netpersona.policy.model import PolicySet
from netpersona.risk.detectors import Context
from netpersona.risk.exemptions import NONE, Exemptions
from netpersona.risk.judge import Step, advance

_TAPS = ("source", "tap_vm")


@dataclass(frozen=True)
class Fleet:
    """The VMs by address.  `inferred`: no inventory names them, so the traffic does, from `since` (µs) on."""

    vms: Mapping[VmId, Vm] = field(default_factory=dict)
    inferred: bool = False
    since: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def owners(self) -> dict[str, VmId]:
        """Which VM has which address."""
        return owners(self.vms.values())

    @cached_property
    def addresses(self) -> frozenset[str]:
        """The addresses of all VMs."""
        return frozenset(self.owners)

    def part(self, vms: Iterable[VmId]) -> Fleet:
        """The fleet of only these VMs."""
        return replace(self, vms={vm: self.vms[vm] for vm in vms})

    def joined(self, flows: pl.DataFrame) -> Fleet:
        """The fleet with the private addresses that these flows show for the first time, if VMs are inferred."""
        if not self.inferred:
            return self
        new = {a: t for a, t in first_activity(flows).iter_rows() if a not in self.since or t < self.since[a]}
        if not new:
            return self
        vms = {vm_id_of_address(a): Vm(vm_id_of_address(a), (a,), inferred=True) for a in new}
        return Fleet({**self.vms, **vms}, inferred=True, since={**self.since, **new})


@dataclass(frozen=True)
class Ground:
    """What judging rests on besides the flows themselves."""

    intel: IndicatorSet
    policies: PolicySet
    learn_until: int | None = None  # µs
    window: int = WINDOW  # µs
    software: Mapping[VmId, tuple[Software, ...]] = field(default_factory=dict)  # what the VMs are known to run
    exemptions: Exemptions = NONE  # what of the risk does not count

    @cached_property
    def exposures(self) -> Exposures:
        """What the VMs' software is exposed to."""
        return Exposures.of_indicators(self.software, self.intel.table)


def as_seen(
    flows: pl.DataFrame, transactions: pl.DataFrame, fleet: Fleet, ground: Ground
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Flows and transactions as the fleet's VMs see them: what observe() reads."""
    table = owner_table(fleet.owners, fleet.since if fleet.inferred else None)
    own_flows = oriented(flows.select(FLOW_COLUMNS), table, ground.window)
    return own_flows, oriented(transactions.select(TRANSACTION_COLUMNS), table, ground.window)


def at_taps(
    flows: pl.DataFrame, transactions: pl.DataFrame, taps: Mapping[str, VmId], fleet: Fleet, ground: Ground
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Like as_seen(), of what each VM's own tap saw of it: `taps` says whose interface a row's source is.

    So a flow between two VMs, which both taps see, is one flow of each; and nobody is told by an address he forged.
    """
    owner = pl.DataFrame({"source": list(taps), "tap_vm": list(taps.values())}, schema=dict.fromkeys(_TAPS, pl.String))
    table = pl.concat([owner_table(fleet.owners), _shown_at_taps(flows, owner, fleet)])
    own_flows, own_transactions = (
        oriented(rows.join(owner, on="source").select(*columns, "tap_vm"), table, ground.window)
        .filter(pl.col("vm") == pl.col("tap_vm"))
        .drop("tap_vm")
        for rows, columns in ((flows, FLOW_COLUMNS), (transactions, TRANSACTION_COLUMNS))
    )
    return own_flows, own_transactions


def _shown_at_taps(flows: pl.DataFrame, owner: pl.DataFrame, fleet: Fleet) -> pl.DataFrame:
    """The addresses that VMs use whose addresses nobody knows: what their own MAC carries at their own tap.

    No other VM's address is one of these, so nobody becomes another by forging; an owner_table().
    """
    unknown = {vm.name: vm.mac for vm in fleet.vms.values() if vm.mac is not None and not vm.addresses}
    schema = {"tap_vm": pl.String, "own_mac": pl.String}
    macs = pl.DataFrame({"tap_vm": list(unknown), "own_mac": list(unknown.values())}, schema=schema)
    seen = flows.join(owner, on="source").join(macs, on="tap_vm")
    sides = [
        seen.filter(pl.col(f"{side}_mac") == pl.col("own_mac")).select(address=side, vm="tap_vm")
        for side in ("originator", "responder")
    ]
    found = pl.concat(sides).unique().filter(~pl.col("address").is_in(list(fleet.owners)))
    return found.sort("address", "vm").with_columns(since=pl.lit(None, pl.Int64))


def begun(vm: Vm) -> VmState:
    """The state of a VM of which nothing was seen yet, with what the inventory says of it."""
    return VmState(Persona(vm=vm.name, labels=dict(vm.labels), base=_base(vm)), Memory())


def followed(state: VmState, vm: Vm) -> VmState:
    """The state with what the inventory says of the VM now; a new version where that is something else."""
    persona, base = state.persona, _base(vm)
    if vm.inferred or (persona.base == base and persona.labels == dict(vm.labels)):
        return state
    changed = structs.replace(persona, base=base, labels=dict(vm.labels), version=persona.version + 1)
    return VmState(changed, state.memory)


def on_timer(state: VmState, at: int, ground: Ground) -> VmState:
    """The state at the instant `at` (µs) if nothing more was seen of the VM: what holds for a while may end."""
    persona = ground.exposures.on(state.persona)
    if triggers.stateful(ground.policies, persona):
        held = triggers.advance(persona, ground.policies, at, persona.mitigations)
        persona = persona if held == persona.mitigations else structs.replace(persona, mitigations=held)
    return state if persona is state.persona else VmState(persona, state.memory)


def exempted(state: VmState, at: int, ground: Ground) -> VmState:
    """The state, each of its risk terms marked with what exempts it at `at` (µs)."""
    persona = ground.exemptions.on_persona(state.persona, at)
    return state if persona is state.persona else VmState(persona, state.memory)


def _base(vm: Vm) -> BaseNetworkConfig:
    return BaseNetworkConfig(
        addresses=vm.addresses,
        interface=vm.interface,
        mac=vm.mac,
        gateways=vm.gateways,
        resolvers=vm.resolvers,
        mtu=vm.mtu,
        inferred=vm.inferred,
    )


def step(state: VmState, observation: Observation, fleet: frozenset[str], ground: Ground) -> Step:
    """One window of one VM: judged, learned if calm, its mitigations brought up to the window's end."""
    done = _exposed(advance(state, observation, Context(ground.learn_until, fleet, ground.exemptions)), ground)
    if not triggers.stateful(ground.policies, done.state.persona):
        return done
    persona, at = done.state.persona, observation.window.end
    held = triggers.advance(persona, ground.policies, at, persona.mitigations)
    if held == persona.mitigations:
        return done
    now, then = ({(m.policy, m.rule) for m in held}, {(m.policy, m.rule) for m in persona.mitigations})
    changes = [f"mitigation {policy}/{rule} began" for policy, rule in sorted(now - then)]
    changes += [f"mitigation {policy}/{rule} ended" for policy, rule in sorted(then - now)]
    version = persona.version + (bool(changes) and not done.changes)
    persona = structs.replace(persona, mitigations=held, version=version)
    return done._replace(state=VmState(persona, done.state.memory), changes=(*done.changes, *changes))


def _exposed(done: Step, ground: Ground) -> Step:
    """The step with what its VM is exposed to after it; that is a change of the persona like any other."""
    before = done.state.persona
    after = ground.exposures.on(before)
    if after is before:
        return done
    now, then = set(after.exposure), set(before.exposure)
    changes = [f"exposed: {kind}" for kind in sorted(now - then)] + [
        f"exposed no longer: {kind}" for kind in sorted(then - now)
    ]
    after = structs.replace(after, version=after.version + (bool(changes) and not done.changes))
    return done._replace(state=VmState(after, done.state.memory), changes=(*done.changes, *changes))
