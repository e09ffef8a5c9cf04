"""By what a packet tells whose it is: the interface of its VM, or, of a VM without one, the VM's address.

Rules are written once for all VMs that have the same ones.  What differs from VM to VM stands in sets in which each VM
has members of its own, and what rules count stands there too: the first part of their keys says whose a member is.
"""

from __future__ import annotations

from dataclasses import dataclass

from netpersona.ruleset.model import ResolvedRule
from netpersona.ruleset.nft_text import identifier
from netpersona.ruleset.tables import Filled

VMS = 1 << 16  # that a set which rules fill has room for


@dataclass(frozen=True, slots=True, eq=False)
class Whose:
    """What is asked of a packet that the VM sends, or is sent, and in which IP versions.

    There are those of EVERY, and each equals itself only: they are keys, asked for thousands of times for a table.
    """

    kind: str  # interface | v4 | v6
    key: str  # nft's type
    sent: str
    received: str
    versions: tuple[int, ...]
    suffix: str  # of names of sets

    def field(self, *, sending: bool) -> str:
        """What is asked of a packet."""
        return self.sent if sending else self.received


INTERFACE = Whose("interface", "ifname", "iifname", "oifname", (4, 6), "")
BY_ADDRESS = {
    4: Whose("v4", "ipv4_addr", "ip saddr", "ip daddr", (4,), ".by4"),
    6: Whose("v6", "ipv6_addr", "ip6 saddr", "ip6 daddr", (6,), ".by6"),
}
EVERY = (INTERFACE, *BY_ADDRESS.values())


def own_set(name: str, whose: Whose, version: int | None = None) -> str:
    """The set in which all VMs that are told like this have their own members: peers of one IP version, or services."""
    return f"{name}{whose.suffix}" if version is None else f"{name}{whose.suffix}.{version}"


def hits(rule: ResolvedRule, whose: Whose) -> str:
    """The set in which a rule counts what it met, VM by VM."""
    return identifier(f"hits{whose.suffix}", rule.name)


def bucket(rule: ResolvedRule, whose: Whose) -> str:
    """The set of a rate limit's token buckets: one for each VM, whatever parts the rule falls into."""
    rate = "" if rule.rate is None else f"{rule.rate.value} {rule.rate.unit}"
    return identifier(f"limit{whose.suffix}", f"{rule.name} {rate}")


def by_vm(whose: Whose) -> Filled:
    """A set that rules fill with a member for each VM."""
    return Filled((whose.key,), VMS)
