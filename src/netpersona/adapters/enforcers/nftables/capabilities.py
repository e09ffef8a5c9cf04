"""What this kernel can do, found by letting it check a table that is never committed."""

from __future__ import annotations

from dataclasses import dataclass

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables import expressions as x
from netpersona.adapters.enforcers.nftables import wire
from netpersona.errors import EnforcerError

_SCRATCH = "netpersona-probe"
_FORWARD = 2


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`families` in which tables can be made; `tells` is what an operator should know, as sentences."""

    families: tuple[str, ...]
    bridge_tracking: bool  # connection tracking for bridged packets
    bridge_reject: bool
    tells: tuple[str, ...]


def probe(to: wire.Wire) -> Capabilities:
    """Asks the kernel.  Raises EnforcerError where it cannot filter routed packets, or may not be asked."""
    _try(to, "inet", x.tracked(0, x.REGISTERS), must=True)
    families = ("inet", *(["bridge"] if _try(to, "bridge", x.counter()) else []))
    tracking, reject = (_try(to, "bridge", each) for each in (x.tracked(0, x.REGISTERS), x.prohibited()))
    tells = []
    if "bridge" not in families:
        tells.append("this kernel cannot filter bridges: a policy for a VM on a bridged tap is refused")
    else:
        if not tracking:
            tells.append("no connection tracking for bridges in this kernel: the bridge table remembers flows itself")
        tells.append("on bridged taps reject and redirect are a plain deny")
    return Capabilities(families, tracking, reject, tuple(tells))


def _try(to: wire.Wire, family: str, expression: bytes, *, must: bool = False) -> bool:
    hook = a.nest(4, a.u32(1, _FORWARD), a.u32(2, 0))
    chain = a.text(1, _SCRATCH) + a.text(3, "c") + hook + a.text(7, "filter")
    rule = a.text(1, _SCRATCH) + a.text(2, "c") + a.nest(4, expression)
    messages = [
        wire.message(wire.NEW_TABLE, family, a.text(1, _SCRATCH), wire.CREATE),
        wire.message(wire.NEW_CHAIN, family, chain, wire.CREATE),
        wire.message(wire.NEW_RULE, family, rule, wire.CREATE | wire.APPEND),
    ]
    try:
        to.send(messages, commit=False)
    except EnforcerError:
        if must:
            raise
        return False
    return True
