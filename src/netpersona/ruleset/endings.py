"""The chains at which the ways of packets end: each tells a sample to NFLOG, then drops, rejects, or lets go on."""

from __future__ import annotations

from netpersona.policy.model import Action, Mode
from netpersona.ruleset.model import ResolvedRule
from netpersona.ruleset.nft_text import identifier, plain

LOG_GROUP = 77  # NFLOG group that receipts are read from
_RATE = "limit rate 10/second burst 20 packets"  # each chain's sample
_BYTES = 128  # of each logged packet
_LOGGED = f'{_RATE} log prefix "{{}}" group {LOG_GROUP} snaplen {_BYTES}'

STRANGER = "deny.unknown_vm"
SPOOFED = "deny.spoofed"
NOT_OWN = "deny.not_own"  # what carries the address of another
NOT_IP = "deny.not_ip"

Ending = tuple[str, tuple[str, ...]]
"""A chain's name and its lines."""


def built_in(*, bridged: bool) -> dict[str, tuple[str, ...]]:
    """The chains that no rule asks for."""
    found = {SPOOFED: "anti-spoof", STRANGER: "unknown_vm"} | ({NOT_IP: "not-ip"} if bridged else {})
    return {chain: (_LOGGED.format(said), "drop") for chain, said in found.items()}


def ending(rule: ResolvedRule, *, bridged: bool) -> Ending | None:
    """The chain to which a rule leads the packets that it concerns; None: to none."""
    if rule.mode is Mode.STAGE:
        return log_chain(rule), (_LOGGED.format(plain(f"stage: {rule.name}")),)
    log = _LOGGED.format(plain(rule.name))
    if rule.action is Action.LOG:
        return log_chain(rule), (log,)
    if rule.action is Action.REJECT and not bridged:
        reset = "meta l4proto 6 reject with tcp reset"
        return reject_chain(rule), (log, reset, "reject with icmpx type admin-prohibited")
    return None if rule.action is Action.ALLOW else (deny_chain(rule), (log, "drop"))


def deny_chain(rule: ResolvedRule) -> str:
    """The chain that logs and drops for this rule, shared by all VMs."""
    return identifier("deny", rule.name)


def reject_chain(rule: ResolvedRule) -> str:
    """The chain that logs and rejects for this rule."""
    return identifier("reject", rule.name)


def log_chain(rule: ResolvedRule) -> str:
    """The chain that logs only: for action log, and for what a staged rule would have decided."""
    return identifier("stage" if rule.mode is Mode.STAGE else "log", rule.name)
