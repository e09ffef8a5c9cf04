"""Receipts: the packets that the kernel told of because a rule met them, tied to rule and policy version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from netpersona.app.answers.known import Known, the_vm
from netpersona.app.report import seconds

if TYPE_CHECKING:
    from netpersona.adapters.enforcers.nftables.receipts import Receipt


class Flow(NamedTuple):
    """The packets of one question: those of a VM with a peer; port 0 for every port."""

    vm: str
    peer: str
    protocol: str
    port: int


def receipts(known: Known, vm: str | None, newest: int) -> list[dict[str, Any]]:
    """The latest receipts, of one VM or of all, the oldest first."""
    name = None if vm is None else the_vm(known, vm).vm
    return [_shown(receipt) for receipt in known.receipts(name)[-newest:]]


def about(told: Sequence[Receipt], flow: Flow) -> dict[str, Any] | None:
    """What the receipts say of a flow: how many packets were told, when, and which rules met them; None: nothing."""
    met = [receipt for receipt in told if _is_of(receipt, flow)]
    if not met:
        return None
    return {
        "packets": len(met),
        "first": seconds(met[0].at),
        "last": seconds(met[-1].at),
        "rules": sorted({_rule(receipt) for receipt in met}),
    }


def _is_of(receipt: Receipt, flow: Flow) -> bool:
    peer = receipt.destination if receipt.direction.value == "outbound" else receipt.source
    if (receipt.vm, peer, receipt.transport) != (flow.vm, flow.peer, flow.protocol):
        return False
    return not flow.port or flow.port in {receipt.source_port, receipt.destination_port}


def _rule(receipt: Receipt) -> str:
    """`policy/rule@version`, with what it would have done where it is staged; what is built in by its word alone."""
    name = f"{receipt.policy}/{receipt.rule}@{receipt.version}" if receipt.policy else receipt.rule
    return f"{name} (staged)" if receipt.staged else name


def _shown(receipt: Receipt) -> dict[str, Any]:
    return {
        "at": seconds(receipt.at),
        "vm": receipt.vm,
        "direction": receipt.direction.value,
        "source": receipt.source,
        "destination": receipt.destination,
        "protocol": receipt.transport,
        "source_port": receipt.source_port,
        "destination_port": receipt.destination_port,
        "policy": receipt.policy or None,
        "rule": receipt.rule,
        "version": receipt.version if receipt.policy else None,
        "staged": receipt.staged,
    }
