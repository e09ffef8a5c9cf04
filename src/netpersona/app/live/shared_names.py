"""Names that share an address: whoever denies one of them denies the others too, and should be told.

A kernel sees addresses, not names.  Where a denied name was answered with an address that other names were answered
with as well (a web host, a content network), what VMs send to those goes the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from netpersona.flow.vm import VmId
from netpersona.policy.model import Action, Mode, Peers, Policy, PolicySet
from netpersona.ruleset.criteria import covered

Answers = Mapping[VmId, Mapping[str, Mapping[str, int]]]
"""What LiveRules keeps: VM -> name -> address -> until when, µs."""

SHOWN = 3  # names in a sentence
_STOPS = frozenset((Action.DENY, Action.REJECT, Action.REDIRECT, Action.RATE_LIMIT, Action.ISOLATE))


@dataclass(frozen=True, slots=True)
class SharedAddress:
    """One address that stands for names that are denied and for others.

    `vms`: those that were answered a denied name, so that the address is denied to them.  All are in alphabetical
    order.
    """

    address: str
    denied: tuple[str, ...]
    others: tuple[str, ...]
    vms: tuple[VmId, ...]

    @property
    def sentence(self) -> str:
        """The same in words."""
        return (
            f"{self.address} was answered for {_listed(self.denied)}, which a policy restricts, and also for "
            f"{_listed(self.others)}: for {_listed(self.vms)} they are restricted too while the answer holds"
        )


def shared(answers: Answers, denied: Collection[str], now: int) -> tuple[SharedAddress, ...]:
    """The addresses that denied domains share with other names, of all VMs' answers that hold at `now` (µs)."""
    domains = frozenset(denied)
    known: dict[str, bool] = {}
    found: dict[str, _Found] = {}
    for vm, name, address in _holding(answers, now):
        if name not in known:
            known[name] = covered(name, domains)
        if known[name]:
            at = found.setdefault(address, _Found(set(), set(), set()))
            at.denied.add(name)
            at.vms.add(vm)
    for _, name, address in _holding(answers, now):
        if address in found and not known[name]:
            found[address].others.add(name)
    return tuple(
        SharedAddress(address, tuple(sorted(at.denied)), tuple(sorted(at.others)), tuple(sorted(at.vms)))
        for address, at in sorted(found.items())
        if at.others
    )


def shared_by_policy(policies: PolicySet, answers: Answers, now: int) -> dict[str, tuple[SharedAddress, ...]]:
    """By policy, what its denied domains share with other names; policies that share nothing are left out."""
    found = {}
    for policy in policies.policies:
        domains = denied_domains(policy)
        if domains and (addresses := shared(answers, domains, now)):
            found[policy.name] = addresses
    return dict(sorted(found.items()))


def denied_domains(policy: Policy) -> frozenset[str]:
    """The domains whose addresses the policy's rules stop, slow or send elsewhere, also while it is only staged."""
    if policy.mode is Mode.OFF:
        return frozenset()
    stopping = (rule.peers for rule in policy.rules if rule.action in _STOPS)
    return frozenset(domain for peers in stopping for domain in _domains(peers))


@dataclass(slots=True)
class _Found:
    denied: set[str]
    others: set[str]
    vms: set[VmId]


def _domains(peers: Peers | None) -> Iterable[str]:
    return () if peers is None else peers.domains


def _holding(answers: Answers, now: int) -> Iterable[tuple[VmId, str, str]]:
    for vm, names in answers.items():
        for name, addresses in names.items():
            for address, until in addresses.items():
                if now < until:
                    yield vm, name, address


def _listed(names: tuple[str, ...]) -> str:
    if len(names) <= SHOWN:
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"
