"""The seams to the outside: what an adapter must offer to be one.

    Sensor      yields FlowBatches                      adapters/sensors
    Inventory   which VMs exist, where                  adapters/inventories
    Feed        everything it says now                  adapters/feeds
    Store       personas, findings, decisions           adapters/stores
    Enforcer    keeps a Ruleset in force                adapters/enforcers

Each seam has one conformance suite (tests/conformance) that every implementation passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from netpersona.flow.table import FlowBatch
from netpersona.flow.vm import Vm


class Sensor(Protocol):
    """Something that saw traffic.  Raises SourceError; never retries, sleeps or logs-and-goes-on."""

    @property
    def path(self) -> str:
        """Where it reads, for messages and the report."""

    @property
    def format(self) -> str:
        """What it reads: zeek, suricata, pcap, ..."""

    def batches(self) -> Iterator[FlowBatch]:
        """All it has to say, in batches of bounded size, in no particular order."""


class Inventory(Protocol):
    """Which VMs exist now.  Raises InventoryError."""

    def vms(self) -> list[Vm]:
        """Every VM, in the order of their names."""
