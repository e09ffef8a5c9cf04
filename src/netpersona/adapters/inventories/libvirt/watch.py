"""The domains of one connection as they stand: read again when something happened to them, and now and then.

Libvirt's own answers come at once.  A guest agent may keep libvirt waiting for seconds, so agents are asked one at a
time, and only when no event waits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from netpersona.adapters.inventories.libvirt.claims import Claim, Witness, settled
from netpersona.adapters.inventories.libvirt.connection import Connection, NotHeardError
from netpersona.adapters.inventories.libvirt.domain import Domain, Network, Nic, read_domain
from netpersona.errors import InventoryError
from netpersona.flow.vm import Vm, VmId

_SOON, _MOST = 1.0, 30.0  # s until a domain is looked at again though nothing was told of it
_Told = tuple[tuple[str, str], ...]  # MAC, address


@dataclass(slots=True)
class _Followed:
    """A running domain: what its XML says, what the witnesses say, and when it is looked at again."""

    domain: Domain
    told: dict[Witness, _Told]
    silent: dict[Witness, str]  # why a witness cannot be asked
    due: float  # s, monotonic
    pause: float = _SOON  # s


@dataclass(slots=True)
class Watch:
    """What a connection knows.  Every method that asks it raises InventoryError where it is lost."""

    connection: Connection
    ask: Sequence[Witness]
    holders: Mapping[str, VmId]  # who has which address
    _followed: dict[str, _Followed] = field(default_factory=dict)
    _networks: dict[str, Network] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)  # the networks that this look has asked for
    _unreadable: dict[str, str] = field(default_factory=dict)

    def look(self, uuids: Collection[str], now: float) -> bool:
        """Read these domains; if there are none, the one that is due.  Whether anything is otherwise than before."""
        self._asked.clear()
        due = min(self._followed.items(), key=lambda f: (f[1].due, f[0]), default=None) if not uuids else None
        if due is not None and due[1].due <= now:
            before = self._said(due[0])
            self._revisit(*due, now)
            return self._said(due[0]) != before
        said = {uuid: self._said(uuid) for uuid in sorted(uuids)}
        for uuid in said:
            self._read(uuid, now)
        return any(self._said(uuid) != before for uuid, before in said.items())

    def idle(self, now: float) -> float | None:
        """The seconds until a domain is due; None: none ever is."""
        return min((max(0.0, followed.due - now) for followed in self._followed.values()), default=None)

    def vms(self) -> tuple[list[Vm], tuple[str, ...]]:
        """The VMs in the order of their names, and what was not believed or could not be used."""
        followed = [self._followed[uuid] for uuid in sorted(self._followed)]
        nics = [nic for each in followed for nic in each.domain.nics]
        reserved = {host for nic in nics for host in (*self._gateways(nic), *self._resolvers(nic))}
        found = settled(_claims(followed), self.holders, reserved)
        self.holders = found.holders
        vms = [
            self._vm(nic, found.addresses.get(nic.name, ()), each.domain.labels)
            for each in followed
            for nic in each.domain.nics
        ]
        noted = [note for each in followed for note in (*each.domain.problems, *each.silent.values())]
        return sorted(vms, key=lambda vm: vm.name), (*sorted(noted), *self._unreadable.values(), *found.problems)

    def _said(self, uuid: str) -> tuple[object, ...]:
        """All that is known of the domain."""
        found = self._followed.get(uuid)
        if found is None:
            return (None, self._unreadable.get(uuid))
        networks = [self._network(nic) for nic in found.domain.nics]
        return (
            found.domain,
            sorted(found.told.items()),
            sorted(found.silent.items()),
            networks,
            self._unreadable.get(uuid),
        )

    def _read(self, uuid: str, now: float) -> _Followed | None:
        """Take what libvirt says of the domain now; None: it does not run."""
        before = self._followed.pop(uuid, None)
        self._unreadable.pop(uuid, None)
        domain = self._domain(uuid, before)
        if domain is None:
            return None
        for name in {nic.network for nic in domain.nics if nic.network is not None} - self._asked:
            self._asked.add(name)
            self._networks[name] = self.connection.network(name)
        told, silent = ({}, {}) if before is None else (before.told, before.silent)
        followed = _Followed(domain, told, silent, now + _SOON)
        self._hear(followed, [witness for witness in self.ask if witness is not Witness.AGENT])
        if Witness.AGENT in self.ask and domain.has_agent:
            followed.due = now
        self._followed[uuid] = followed
        return followed

    def _domain(self, uuid: str, before: _Followed | None) -> Domain | None:
        """What its XML says; one that cannot be read is noted, and stays as it was."""
        try:
            xml = self.connection.domain(uuid)
            return None if xml is None else read_domain(xml)
        except (InventoryError, ValueError) as error:
            if not self.connection.lives():
                raise
            self._unreadable[uuid] = f"domain {uuid}: {error}; it stays as it was"
            return Domain(uuid, (), {}, has_agent=False) if before is None else before.domain

    def _revisit(self, uuid: str, before: _Followed, now: float) -> None:
        followed = self._read(uuid, now)
        if followed is not None:
            if followed.domain.has_agent:
                self._hear(followed, [witness for witness in self.ask if witness is Witness.AGENT])
            told = {mac for each in followed.told.values() for mac, _ in each}
            known = all(nic.addresses or nic.mac in told for nic in followed.domain.nics)
            followed.pause = _MOST if known else min(_MOST, 2 * before.pause)
            followed.due = now + followed.pause

    def _hear(self, followed: _Followed, witnesses: Iterable[Witness]) -> None:
        """Ask them.  A guest that says nothing for a moment keeps its addresses; a lease that ended is over."""
        leased = any(nic.network is not None for nic in followed.domain.nics)
        for witness in witnesses:
            if witness is Witness.LEASE and not leased:
                continue  # libvirt leases addresses in its own networks only
            try:
                answer = self.connection.addresses(followed.domain.uuid, witness)
            except NotHeardError as error:
                followed.silent[witness] = f"domain {followed.domain.uuid}: {witness.name.lower()}: {error}"
                continue
            followed.silent.pop(witness, None)
            if answer or not witness.is_guest:
                followed.told[witness] = tuple(answer)

    def _vm(self, nic: Nic, addresses: tuple[str, ...], labels: Mapping[str, str]) -> Vm:
        return Vm(
            name=nic.name,
            addresses=addresses,
            interface=nic.device,
            mac=nic.mac,
            gateways=self._gateways(nic),
            resolvers=self._resolvers(nic),
            mtu=nic.mtu,
            labels=dict(labels),
        )

    def _gateways(self, nic: Nic) -> tuple[str, ...]:
        return nic.gateways or self._network(nic).gateways

    def _resolvers(self, nic: Nic) -> tuple[str, ...]:
        return nic.resolvers or self._network(nic).resolvers

    def _network(self, nic: Nic) -> Network:
        return Network() if nic.network is None else self._networks.get(nic.network, Network())


def _claims(followed: Iterable[_Followed]) -> Iterator[Claim]:
    """What is said of every interface; the operator's word leaves nothing to the others."""
    for each in followed:
        for nic in each.domain.nics:
            for address in nic.addresses:
                yield Claim(nic.name, address, Witness.OPERATOR)
            for witness, told in () if nic.addresses else each.told.items():
                for mac, address in told:
                    if mac == nic.mac and (nic.network is not None or witness is not Witness.LEASE):
                        yield Claim(nic.name, address, witness)
