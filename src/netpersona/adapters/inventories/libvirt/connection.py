"""One connection to libvirt: what is asked of it, and who is told that something happened.

Libvirt has one event loop in a process, which a thread of its own runs from the first connection on.  It only passes
on which domain an event is about; whoever is told asks libvirt from another thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from ipaddress import ip_address, ip_interface
from typing import Any

from netpersona.adapters.inventories.libvirt.claims import Witness
from netpersona.adapters.inventories.libvirt.domain import Network, read_network
from netpersona.errors import ConfigError, InventoryError

Told = Callable[[str | None], None]  # the UUID of the domain that something happened to; None: the connection is lost

_EVENTS = ("LIFECYCLE", "DEVICE_ADDED", "DEVICE_REMOVED", "METADATA_CHANGE", "AGENT_LIFECYCLE")
_KEEPALIVE = (5, 3)  # s between two signs of life; how many may be missing
_SOURCES = {Witness.LEASE: 0, Witness.AGENT: 1, Witness.ARP: 2}  # VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_*
_INSTALL = (
    "the Python binding of libvirt is not installed: pip install 'netpersona[libvirt]', which needs a C compiler, "
    "pkg-config and the headers of Python and libvirt; on Debian and Ubuntu: "
    "apt-get install gcc pkg-config python3-dev libvirt-dev"
)

_starting = threading.Lock()
_started = False


def binding() -> Any:
    """Libvirt's Python binding, its event loop running.  Raises ConfigError where it is not installed."""
    try:
        libvirt = import_module("libvirt")
    except ImportError as error:
        raise ConfigError(_INSTALL) from error
    global _started  # noqa: PLW0603 - libvirt has one event loop for the whole process
    with _starting:
        if not _started:
            libvirt.registerErrorHandler(lambda *_: None, None)  # errors are raised; it would print them too
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(target=_run_events, args=(libvirt,), name="libvirt-events", daemon=True).start()
            _started = True
    return libvirt


def _run_events(libvirt: Any) -> None:
    while True:
        with contextlib.suppress(libvirt.libvirtError):
            libvirt.virEventRunDefaultImpl()


class NotHeardError(InventoryError):
    """A witness cannot be asked; everything else can."""


class Connection:
    """An open connection that passes on events.  Every method raises InventoryError where libvirt cannot be asked."""

    def __init__(self, uri: str, told: Told, *, writing: bool) -> None:
        self._libvirt = binding()
        self._uri = uri
        try:
            self._open = (self._libvirt.open if writing else self._libvirt.openReadOnly)(uri)
            self._events = list(self._registered(told))
        except self._libvirt.libvirtError as error:
            raise InventoryError(f"libvirt {uri}: {error}") from error

    def close(self) -> None:
        """Be told nothing more, and close it."""
        with contextlib.suppress(self._libvirt.libvirtError):
            self._open.unregisterCloseCallback()
        for event in self._events:
            with contextlib.suppress(self._libvirt.libvirtError):
                self._open.domainEventDeregisterAny(event)
        with contextlib.suppress(self._libvirt.libvirtError):
            self._open.close()

    def lives(self) -> bool:
        """Whether libvirt still answers on it."""
        try:
            return bool(self._open.isAlive())
        except self._libvirt.libvirtError:
            return False

    def running(self) -> list[str]:
        """The UUIDs of the domains that run, paused ones among them."""
        with self._asking():
            listed = self._open.listAllDomains(self._libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            return sorted(domain.UUIDString() for domain in listed)

    def domain(self, uuid: str) -> str | None:
        """Its XML; None: it does not run."""
        with self._asking(), self._unless_gone():
            found = self._open.lookupByUUIDString(uuid)
            return str(found.XMLDesc()) if found.isActive() else None
        return None

    def network(self, name: str) -> Network:
        """What the network offers; nothing where libvirt does not have it."""
        with contextlib.suppress(self._libvirt.libvirtError, InventoryError, ValueError):
            return read_network(self._open.networkLookupByName(name).XMLDesc())
        return Network()

    def addresses(self, uuid: str, witness: Witness) -> list[tuple[str, str]]:
        """The MACs of the domain's interfaces, each with an address it has.

        Raises NotHeardError where only this witness cannot be asked.
        """
        try:
            found = self._open.lookupByUUIDString(uuid).interfaceAddresses(_SOURCES[witness], 0)
        except self._libvirt.libvirtError as error:
            if not self.lives():
                raise InventoryError(f"libvirt {self._uri}: {error}") from error
            raise NotHeardError(str(error)) from error
        told = [
            (str(each.get("hwaddr")).lower(), _canonical(address["addr"], int(address["prefix"])))
            for each in found.values()
            for address in each["addrs"] or ()
        ]
        return [(mac, address) for mac, address in told if address is not None]

    def _registered(self, told: Told) -> Iterable[int]:
        with contextlib.suppress(self._libvirt.libvirtError):  # a driver in this process has nothing to lose
            self._open.setKeepAlive(*_KEEPALIVE)
        with contextlib.suppress(self._libvirt.libvirtError):
            self._open.registerCloseCallback(lambda *_: told(None), None)
        for name in _EVENTS:
            event = getattr(self._libvirt, f"VIR_DOMAIN_EVENT_ID_{name}")
            yield self._open.domainEventRegisterAny(None, event, lambda _, domain, *__: told(domain.UUIDString()), None)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except self._libvirt.libvirtError as error:
            raise InventoryError(f"libvirt {self._uri}: {error}") from error

    @contextlib.contextmanager
    def _unless_gone(self) -> Iterator[None]:
        try:
            yield
        except self._libvirt.libvirtError as error:
            if error.get_error_code() != self._libvirt.VIR_ERR_NO_DOMAIN:
                raise


def _canonical(text: str, prefix: int) -> str | None:
    """The address with its prefix; None for one that does not tell VMs apart.  A neighbour table knows no prefix."""
    try:
        host = ip_address(text)
    except ValueError:
        return None
    if host.is_link_local or host.is_loopback or host.is_multicast or host.is_unspecified:
        return None
    return str(ip_interface(f"{host}/{prefix if 0 < prefix <= host.max_prefixlen else host.max_prefixlen}"))
