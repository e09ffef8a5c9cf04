"""The ruleset as nft text: one table, `inet netpersona`, replaced whole in one transaction.

    hooks forward, input, output -> verdict map (interface, or address) -> from_VM, to_VM (render_chains.py)
    hook prerouting (nat)        -> verdict map                         -> nat_VM, where something is redirected
    sets        NAME.a4 NAME.a6 (addresses: hash), NAME.n4 NAME.n6 (prefixes: interval)
    deny.* reject.* log.* stage.*   what ends a packet's way, sampled to NFLOG; shared by all VMs

Loading it twice gives the same: the table is declared, deleted and made again.  What is not in this table is neither
read nor written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from netpersona.flow.vm import VmId
from netpersona.policy.model import Action, Mode, Rate
from netpersona.ruleset.model import ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.nft_text import address, plain
from netpersona.ruleset.peers import PeerSet, version_of
from netpersona.ruleset.render_chains import SPOOFED, STRANGER, Chains, vm_chains
from netpersona.ruleset.render_rules import RuleText, deny_chain, limit_name, log_chain, reject_chain, set_parts

TABLE = "inet netpersona"
LOG_GROUP = 77  # NFLOG group that receipts are read from
LOG_RATE = "limit rate 10/second burst 20 packets"  # each chain's sample
LOG_BYTES = 128  # of each logged packet
PRIORITY = "filter - 5"  # before the host's own filter, which still has its say

_TYPES = {"4": "ipv4_addr", "6": "ipv6_addr"}


def render(ruleset: Ruleset) -> str:
    """The ruleset as text for `nft -f`.  Equal rulesets give equal text."""
    chains: Chains = {}
    text = RuleText(ruleset.sets)
    for rules in ruleset.vms.values():
        chains |= vm_chains(ruleset, rules, text)
    lines = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    lines += _limits(ruleset)
    for name, members in ruleset.sets.items():
        lines += _sets(name, members)
    for name, body in (_endings(ruleset) | chains).items():
        lines += _block(f"chain {name}", body)
    lines += _dispatch(ruleset, chains)
    return "\n".join([*lines, "}", ""])


def _limits(ruleset: Ruleset) -> Iterator[str]:
    limits = {
        limit_name(rule, vm): rule.rate
        for vm, rules in ruleset.vms.items()
        for rule in (*rules.outbound, *rules.inbound)
        if rule.action is Action.RATE_LIMIT and rule.rate is not None and rule.mode is Mode.ENFORCE
    }
    for name, rate in limits.items():
        yield from _block(f"limit {name}", [_rate(rate)])


def _rate(rate: Rate) -> str:
    """Bits become bytes a second.  The bucket holds a tenth of a second, and 16 full frames at least."""
    if rate.unit == "packet":
        return f"rate over {max(1, rate.value)}/second burst {max(5, rate.value // 10)} packets"
    octets = max(1, rate.value // 8)
    return f"rate over {octets} bytes/second burst {max(16 * 1514, octets // 10)} bytes"


def _sets(name: str, members: PeerSet) -> Iterator[str]:
    for version in (4, 6):
        addresses, networks = members.of_family(version)
        for part in set_parts(name, members, version):
            is_prefixes = part.rpartition(".")[2].startswith("n")
            body = [f"type {_TYPES[str(version)]}", *(["flags interval"] if is_prefixes else [])]
            held = networks if is_prefixes else addresses
            body += ["elements = { " + ",\n      ".join(held) + " }"] if held else []
            yield from _block(f"set {part}", body)


def _endings(ruleset: Ruleset) -> Chains:
    """The chains at which ways end, in the order of their names."""
    logged = f'{LOG_RATE} log prefix "{{}}" group {LOG_GROUP} snaplen {LOG_BYTES}'
    chains = {SPOOFED: [logged.format("anti-spoof"), "drop"], STRANGER: [logged.format("unknown_vm"), "drop"]}
    for rule in _rules(ruleset):
        log = logged.format(plain(rule.name))
        if rule.mode is Mode.STAGE or rule.action is Action.LOG:
            chains[log_chain(rule)] = [logged.format(plain(f"stage: {rule.name}")) if rule.mode is Mode.STAGE else log]
        elif rule.action is Action.REJECT:
            reset = "meta l4proto tcp reject with tcp reset"
            chains[reject_chain(rule)] = [log, reset, "reject with icmpx type admin-prohibited"]
        elif rule.action is not Action.ALLOW:
            chains[deny_chain(rule)] = [log, "drop"]
    return dict(sorted(chains.items()))


def _rules(ruleset: Ruleset) -> Iterable[ResolvedRule]:
    seen = {id(rule): rule for rules in ruleset.vms.values() for rule in (*rules.outbound, *rules.inbound)}
    return seen.values()


def _dispatch(ruleset: Ruleset, chains: Chains) -> Iterator[str]:
    hooks: dict[str, list[str]] = {"forward": [], "input": [], "output": [], "prerouting": []}
    for side, names in (("from", ("forward", "input")), ("to", ("forward", "output")), ("nat", ("prerouting",))):
        for key, elements in _maps(ruleset.vms, side, chains).items():
            name = f"{side}_{key}"
            yield from _block(
                f"map {name}", [f"type {_KEYS[key]} : verdict", "elements = { " + ", ".join(elements) + " }"]
            )
            for hook in names:
                hooks[hook].append(f"{_FIELDS[side, key]} vmap @{name}")
    for hook, body in hooks.items():
        if body:
            kind = (
                "nat hook prerouting priority dstnat - 5"
                if hook == "prerouting"
                else f"filter hook {hook} priority {PRIORITY}"
            )
            yield from _block(f"chain {hook}", [f"type {kind}; policy accept;", *body])


_KEYS = {"interface": "ifname", "v4": "ipv4_addr", "v6": "ipv6_addr"}
_FIELDS = {
    (side, key): field
    for side, fields in {
        "from": ("iifname", "ip saddr", "ip6 saddr"),
        "to": ("oifname", "ip daddr", "ip6 daddr"),
        "nat": ("iifname", "ip saddr", "ip6 saddr"),
    }.items()
    for key, field in zip(_KEYS, fields, strict=True)
}


def _maps(vms: Mapping[VmId, VmRules], side: str, chains: Chains) -> dict[str, list[str]]:
    """The elements of each dispatch map: by interface, or, for a VM without one, by address.

    An address that two VMs claim goes to the one whose addresses are vouched for, else to the first by name.
    """
    owners: dict[tuple[str, str], VmId] = {}
    for vm, rules in sorted(vms.items(), key=lambda pair: (not pair[1].own, pair[0])):
        if f"{side}_{vm}" not in chains:
            continue
        if rules.interface is not None:
            owners["interface", f'"{rules.interface}"'] = vm
            continue
        for host in rules.addresses:
            owners.setdefault((f"v{version_of(host)}", address(host)), vm)
    found: dict[str, list[str]] = {}
    for (key, value), vm in sorted(owners.items()):
        found.setdefault(key, []).append(f"{value} : jump {side}_{vm}")
    return found


def _block(head: str, body: Iterable[str]) -> Iterator[str]:
    yield f"  {head} {{"
    for line in body:
        yield f"    {line}"
    yield "  }"
