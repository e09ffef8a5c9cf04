"""What the kernel holds, and the packets that it told of."""

from __future__ import annotations

from typing import Any, Literal

from netpersona.app.api.models.shape import Model, Named, Version


class Count(Model):
    """What a rule met since it came into force."""

    vm: str
    policy: str
    rule: str
    version: int
    packets: int
    bytes: int


class DriftSaid(Model):
    """One difference between what was applied and what the kernel has."""

    where: str
    what: str


class FirewallStatus(Model):
    """What the kernel holds."""

    installed: bool
    vms: list[dict[str, Any]]
    counters: list[Count]
    drift: list[DriftSaid]
    healed: int
    nft: str | None = None


class Firewall(Model):
    """The rules in force."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Firewall"]
    metadata: Named
    status: FirewallStatus


class CheckedStatus(Model):
    """How the kernel compares with what was applied."""

    well: bool
    drift: list[DriftSaid]
    healed: int


class FirewallCheck(Model):
    """The kernel, read back."""

    apiVersion: Version  # noqa: N815
    kind: Literal["FirewallCheck"]
    metadata: Named
    status: CheckedStatus


class ReceiptStatus(Model):
    """A packet, and the rule that met it; without a policy: what is built in."""

    at: float
    vm: str | None
    direction: str
    source: str
    destination: str
    protocol: str
    source_port: int
    destination_port: int
    policy: str | None
    rule: str
    version: int | None
    staged: bool


class Receipt(Model):
    """One packet that a rule met."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Receipt"]
    metadata: Named
    status: ReceiptStatus
