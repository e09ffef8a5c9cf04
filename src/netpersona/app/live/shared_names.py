"""Names that share an address, as live answers show it: what a policy restricts with them, and what is spared.

A kernel sees addresses, not names.  Where a denied name was answered with an address that other names were answered
with as well (a web host, a content network), what VMs send to those goes the same way, and whoever denies it is told.
A *listed* name's address is spared there instead, and that is told too.  What sharing is, intel.shared_hosting says;
here is of which answers it is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import polars as pl

from netpersona.flow.vm import VmId
from netpersona.intel import shared_hosting
from netpersona.intel.shared_hosting import ANSWERS, SharedAddress
from netpersona.policy.model import Action, Mode, Peers, Policy, PolicySet
from netpersona.ruleset.criteria import covered
from netpersona.ruleset.model import Ruleset

__all__ = ["Answers", "SharedAddress", "denied_domains", "shared", "shared_by_policy", "spared", "told"]

Answers = Mapping[VmId, Mapping[str, Mapping[str, int]]]
"""What LiveRules keeps: VM -> name -> address -> until when, µs."""

_STOPS = frozenset((Action.DENY, Action.REJECT, Action.REDIRECT, Action.RATE_LIMIT, Action.ISOLATE))


def shared(answers: Answers, denied: Collection[str], now: int) -> tuple[SharedAddress, ...]:
    """The addresses that denied domains share with other names, of all VMs' answers that hold at `now` (µs)."""
    domains = frozenset(denied)
    meant = {name for names in answers.values() for name in names if covered(name, domains)}
    if not meant:
        return ()
    return shared_hosting.shared(pl.DataFrame(list(_holding(answers, now)), ANSWERS, orient="row"), meant)


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


def spared(ruleset: Ruleset) -> tuple[str, ...]:
    """In a sentence each, the addresses that are not blocked for a listed name's sake."""
    sentences = {
        f"{address} was answered for {why}" for of in ruleset.sets.values() for address, why in of.spared if why
    }
    return tuple(sorted(sentences))


def told(policies: PolicySet, answers: Answers, ruleset: Ruleset | None, now: int) -> tuple[str, ...]:
    """All that is to be told of sharing, in a sentence each."""
    restricted = {
        each.sentence for addresses in shared_by_policy(policies, answers, now).values() for each in addresses
    }
    return (*(spared(ruleset) if ruleset is not None else ()), *sorted(restricted))


def _domains(peers: Peers | None) -> Iterable[str]:
    return () if peers is None else peers.domains


def _holding(answers: Answers, now: int) -> Iterable[tuple[VmId, str, str]]:
    for vm, names in answers.items():
        for name, addresses in names.items():
            for address, until in addresses.items():
                if now < until:
                    yield vm, name, address
