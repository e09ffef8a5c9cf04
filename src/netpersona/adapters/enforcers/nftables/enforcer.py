"""The enforcer of nftables: keeps a ruleset in force in the network namespace of the thread that made it.

    desired Ruleset -> tables (ruleset/render.py) -> difference to the kernel's (changes.py) -> one batch (wire.py)

Structure and elements go in the same batch, so the kernel has the old ruleset or the new one, never a part of both.
What was sent is remembered; the kernel is read back at the start, when it refuses something, and by `verify`.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence

from netpersona.adapters.enforcers.nftables import (
    changes,
    conntrack,
    counters,
    drift,
    elements,
    installed,
    lending,
    links,
    wire,
)
from netpersona.adapters.enforcers.nftables.capabilities import Capabilities, probe
from netpersona.adapters.enforcers.nftables.installed import Installed
from netpersona.errors import EnforcerError
from netpersona.flow.vm import VmId
from netpersona.ports import Count, Drift
from netpersona.ruleset.diff import NOTHING, Changes, diff, differences
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.render import Tabulator
from netpersona.ruleset.tables import NAME, SetPart, Table, of_version

FAMILIES = ("inet", "bridge")


class Nftables:
    """An Enforcer on nf_tables.  Not for several threads at once."""

    def __init__(self) -> None:
        self._wire = wire.Wire()
        # To close such a socket waits until the kernel has freed what was deleted last: it is kept.
        self._tracking = wire.Wire()
        self.capabilities: Capabilities = probe(self._wire)
        self._tabulator = Tabulator()
        self._in_force = NOTHING
        self._unsettled: Changes | None = None  # whose flows are looked for still
        self._tables: dict[str, Table] = {}
        self._has: dict[str, Installed | None] | None = None  # None: not read yet
        self._lent: dict[tuple[str, str], set[str]] = {}  # what `lend` put into the kernel's sets since `apply`
        self._generation = -1

    def close(self) -> None:
        """Give the sockets back; the rules stay."""
        self._wire.close()
        self._tracking.close()

    def apply(self, desired: Ruleset) -> Changes:
        """Bring the whole desired ruleset in force, all or none.

        Raises EnforcerError with what the kernel said; then what was in force before still is.
        """
        self.settle()
        with _collector_resting():
            return self._applied(desired)

    def _applied(self, desired: Ruleset) -> Changes:
        found = diff(self._in_force, desired)
        tables = {table.family: table for table in self._tabulator.tables(desired, self._bridged(desired))}
        try:
            self._commit(tables, found)
        except EnforcerError:
            if self._has is None:
                raise
            self._has = None  # somebody else may have changed our tables: look, and try once more
            self._commit(tables, found)
        self._in_force, self._tables = desired, tables
        self._unsettled = found
        return found

    def settle(self) -> None:
        """Have the flows forgotten that the last change cut, whose packets are dropped already.  Raises EnforcerError.

        Meanwhile another thread may `lend`.  Before rules change again this is done in any case: a flow that was cut
        does not come back to life when the rule is gone.
        """
        changes, self._unsettled = self._unsettled, None
        if changes is not None:
            conntrack.cut(self._tracking, self._in_force, changes)

    def in_force(self) -> Ruleset:
        """What was applied last: the kernel holds less than a ruleset says; `verify` tells where it differs."""
        return self._in_force

    def verify(self, *, whole: bool = False) -> tuple[Drift, ...]:
        """Reads the kernel back and names every difference to what was applied; `whole` reads the sets' members too.

        Else sets are told by the number of their members.  Where nobody changed any table since it was looked at
        last, nothing is read but that.
        """
        generation = self._wire.generation()
        if generation == self._generation and not whole:
            return ()
        has = self._read()
        found = tuple(drift.of(self._tables, has, self._members if whole else None, self._lent.keys()))
        self._has = has if found else self._has
        self._generation = -1 if found else generation
        return found

    def heal(self, *, whole: bool = False) -> tuple[Drift, ...]:
        """Brings back what `verify` finds missing or changed, and says what it was."""
        found = self.verify(whole=whole)
        if found:
            self.apply(self._in_force)
        return found

    def counters(self, vm: VmId | None = None) -> tuple[Count, ...]:
        """Packets and bytes by VM, policy and rule; of one VM, or of all."""
        return tuple(counters.counted(self._wire, self._tables, self._in_force, vm))

    def uninstall(self) -> None:
        """Remove our tables whole; nothing else was ever touched."""
        with contextlib.suppress(EnforcerError):  # nothing keeps the rules from going
            self.settle()
        transaction = changes.Transaction([])
        for family in self.capabilities.families:
            changes.removal(family, transaction)
        self._send(transaction)
        self._in_force, self._tables = NOTHING, {}

    def check(self, desired: Ruleset) -> None:
        """Let the kernel check the whole ruleset, and throw it away.  Raises EnforcerError with what it said."""
        self.rehearse(self.batch(desired))

    def rehearse(self, messages: Sequence[bytes]) -> None:
        """Let the kernel check a batch, and throw it away.  Raises EnforcerError with what it said."""
        self._wire.send(messages, commit=False)

    def batch(self, desired: Ruleset) -> list[bytes]:
        """The messages that replace whatever is in force by this ruleset, whole: a revert that needs nothing else."""
        transaction = changes.Transaction([])
        for family in self.capabilities.families:
            changes.removal(family, transaction)
        for table in self._tabulator.tables(desired, self._bridged(desired)):
            changes.change(None, table, self._unreadable, transaction)
        return transaction.messages

    def lend(self, name: str, addresses: Sequence[str], seconds: float | None) -> None:
        """Put addresses into a set at once, so that the next packet to them already meets the rule.

        The kernel drops them by itself after so many seconds, in the sets that the ruleset has for names; None: it
        keeps them, in any set.  What the next `apply` asks of the set is then in it for good, or no more.  Raises
        EnforcerError for a set that is not in force.
        """
        messages: list[bytes] = []
        known = False
        for family, table in self._tables.items():
            for part, key, found in lending.wanted(table, name, addresses):
                known = True
                if found:
                    keys = elements.joined(key, found)
                    lasts = None if seconds is None else int(seconds * 1000)
                    if lasts:  # an element that is there would keep its old end
                        messages += elements.of_keys(wire.DROP_ELEMENT, family, NAME, part, keys)
                    messages += elements.of_keys(wire.NEW_ELEMENT, family, NAME, part, keys, lasts)
                    self._lent.setdefault((family, part), set()).update(found)
        if not known:
            raise EnforcerError(f"no set {name} is in force")
        if messages:
            self._wire.send(messages)

    def _bridged(self, desired: Ruleset) -> frozenset[str]:
        interfaces = {rules.interface for rules in desired.vms.values()}
        bridged = links.ports_of_bridges() & interfaces
        if bridged and "bridge" not in self.capabilities.families:
            raise EnforcerError(f"{min(bridged)} is a port of a bridge, and this kernel cannot filter bridges")
        return bridged

    def _commit(self, tables: dict[str, Table], found: Changes) -> None:
        if self._has is None:
            self._has = self._read()
        transaction = changes.Transaction([], self._differences(found))
        for family in FAMILIES:
            table, has = tables.get(family), self._has.get(family)
            if table is not None:
                changes.change(has, table, self._reader(family), transaction, self._lent)
                transaction.messages += counters.forgotten(has, table, found)
            elif has is not None:
                changes.removal(family, transaction)
        self._send(transaction)
        self._lent = {}

    def _differences(self, found: Changes) -> changes.Differences:
        """Those of sets that were compared already are not found again."""
        moved = {change.name: change for change in found.sets}

        def of(old: SetPart, new: SetPart) -> tuple[tuple[str, ...], tuple[str, ...]]:
            change = moved.get(new.name)
            if new.near or change is None or old.of is not self._in_force.sets.get(new.name):
                return differences(old.members, new.members)
            if new.prefixes:
                added, removed = change.added_networks, change.removed_networks
            else:
                added, removed = change.added_addresses, change.removed_addresses
            return of_version(added, new.version), of_version(removed, new.version)

        return of

    def _send(self, transaction: changes.Transaction) -> None:
        if transaction.messages:
            transaction.ask_handles()
            answers = self._wire.send(transaction.messages)
            if not transaction.number(answers):
                self._has = None
                return
            self._generation = self._wire.generation()
        self._has = {**(self._has or {}), **transaction.after}

    def _read(self) -> dict[str, Installed | None]:
        return {family: installed.read(self._wire, family) for family in self.capabilities.families}

    def _reader(self, family: str) -> changes.Read:
        return lambda name, width: self._members(family, name, width)

    def _members(self, family: str, name: str, width: int) -> tuple[elements.Keys, elements.Keys]:
        return installed.members(self._wire, family, name, width)

    def _unreadable(self, name: str, width: int) -> tuple[elements.Keys, elements.Keys]:
        raise AssertionError(f"a new table has no {name} of {width} bytes")


@contextlib.contextmanager
def _collector_resting() -> Iterator[None]:
    """No search for garbage among the many objects of a ruleset, of which none becomes garbage here."""
    runs = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if runs:
            gc.enable()


@contextlib.contextmanager
def nftables() -> Iterator[Nftables]:
    """An enforcer for as long as the block lasts; its rules stay."""
    made = Nftables()
    try:
        yield made
    finally:
        made.close()
