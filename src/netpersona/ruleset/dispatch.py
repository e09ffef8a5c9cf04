"""Where packets enter our chains: base chains at the kernel's hooks, and verdict maps that lead into each VM's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netpersona.flow.vm import VmId
from netpersona.ruleset.model import VmRules
from netpersona.ruleset.nft_text import address
from netpersona.ruleset.peers import version_of
from netpersona.ruleset.render_flows import FROM_VM, TO_VM
from netpersona.ruleset.tables import Chains, Dispatch, Hook
from netpersona.ruleset.whose import BY_ADDRESS, EVERY, INTERFACE, Whose

_INET = -5  # priority: before the host's own filter, which still has its say
_NAT = -105
_BRIDGE = -205  # before the host's own bridge filter, and before a bridge's address translation

Told = dict[Whose, tuple[str, ...]]
"""By what a VM's packets are told: its interface, or its addresses of each IP version."""


def told_by(vms: Mapping[VmId, VmRules]) -> dict[VmId, Told]:
    """By what each VM's packets are told.

    An address that two VMs claim goes to the one whose addresses are vouched for, else to the first by name.
    """
    found: dict[VmId, Told] = {}
    taken: set[str] = set()
    for vm, rules in sorted(vms.items(), key=lambda pair: (not pair[1].own, pair[0])):
        if rules.interface is not None:
            found[vm] = {INTERFACE: (rules.interface,)}
            continue
        hosts = [host for host in map(address, rules.addresses) if host not in taken]
        taken.update(hosts)
        by_version = {whose: tuple(h for h in hosts if version_of(h) == v) for v, whose in BY_ADDRESS.items()}
        found[vm] = {whose: each for whose, each in by_version.items() if each}
    return found


Dispatched = tuple[dict[str, Dispatch], dict[str, Hook], Chains]
Leads = dict[Whose, dict[str, str]]
"""By what packets are told, which interface or address leads to which chain."""
Ways = dict[str, Leads]
"""The same for each side: from, to, and nat."""


def leads(side: str, told: Iterable[tuple[VmId, Told]]) -> Leads:
    """Where the packets of these VMs are led on this side."""
    found: Leads = {whose: {} for whose in EVERY}
    for vm, each in told:
        for whose, values in each.items():
            found[whose].update(dict.fromkeys(values, f"{side}_{vm}"))
    return found


def inet_hooks(leading: Ways) -> Dispatched:
    """Maps, hooks and base chains of the inet table."""
    maps: dict[str, Dispatch] = {}
    bodies: dict[str, list[str]] = {"forward": [], "input": [], "output": [], "prerouting": []}
    for side, names in (("from", ("forward", "input")), ("to", ("forward", "output")), ("nat", ("prerouting",))):
        for whose, chains in leading[side].items():
            if chains:
                name = f"{side}_{whose.kind}"
                maps[name] = Dispatch(whose.key, dict(sorted(chains.items())))
                for hook in names:
                    bodies[hook].append(f"{whose.field(sending=side != 'to')} vmap @{name}")
    hooks = {
        at: Hook("nat", at, _NAT) if at == "prerouting" else Hook("filter", at, _INET)
        for at, body in bodies.items()
        if body
    }
    return maps, hooks, {at: tuple(bodies[at]) for at in hooks}


def bridge_hooks(leading: Ways) -> Dispatched:
    """Maps, hooks and base chains of the bridge table."""
    maps = {
        f"{side}_interface": Dispatch(INTERFACE.key, dict(sorted(leading[side][INTERFACE].items())))
        for side in ("from", "to")
    }
    sent, received = "iifname @taps jump track.from", "oifname @taps jump track.to"
    bodies = {
        "prerouting": ("iifname vmap @from_interface",),
        "forward": ("oifname vmap @to_interface", sent, received),
        "input": (sent,),
        "output": ("oifname vmap @to_interface", received),
        "track.from": tuple(FROM_VM.track()),
        "track.to": tuple(TO_VM.track()),
    }
    hooks = {at: Hook("filter", at, _BRIDGE) for at in ("prerouting", "forward", "input", "output")}
    return maps, hooks, bodies
