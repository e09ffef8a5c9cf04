"""The inventory that libvirt keeps: which domains run now, followed by its events.

    libvirt's events --> which domain --.
                                         >-- this thread: asks libvirt, settles claims --> what vms() gives
    time, for what has no event --------'

Libvirt tells of domains that start and stop, of interfaces that come and go, of metadata that changes and of guest
agents that connect.  It has no event for a lease, nor for an interface that is moved to another bridge; for these a
running domain is looked at again, soon while it has no address, each half minute later.  A lost connection is told by
libvirt too; then it is opened again, and everything is read anew.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping, Sequence

from netpersona.adapters.inventories.libvirt.claims import Witness
from netpersona.adapters.inventories.libvirt.connection import Connection, binding
from netpersona.adapters.inventories.libvirt.watch import Watch
from netpersona.errors import InventoryError
from netpersona.flow.vm import Vm, VmId

_Events = queue.SimpleQueue[str | None]

WITNESSES = {"lease": Witness.LEASE, "agent": Witness.AGENT, "arp": Witness.ARP}
_FIRST = 5.0  # s that vms() waits for libvirt's first answer
_RETRY_LEAST, _RETRY_MOST = 0.25, 30.0  # s until a lost connection is tried again


class LibvirtInventory:
    """An Inventory of the domains that run at a libvirt URI; `close()` ends it.

    `ask` says whom to believe on addresses besides the domain's metadata: "lease", "agent", "arp".  Asking guest agents
    needs a connection that may write.  Raises ConfigError where libvirt's Python binding is not installed.
    """

    def __init__(self, uri: str, ask: Sequence[str] = ("lease",)) -> None:
        binding()
        self.uri = uri
        self._ask = tuple(WITNESSES[word] for word in ask)
        self._events: _Events = _Events()
        self._over = threading.Event()
        self._answered = threading.Event()
        self._lock = threading.Lock()
        self._known: list[Vm] = []
        self._problems: tuple[str, ...] = ()
        self._holders: Mapping[str, VmId] = {}
        self._error: str | None = f"libvirt {uri} has not answered yet"
        self._thread = threading.Thread(target=self._run, name="libvirt-inventory", daemon=True)
        self._thread.start()

    def vms(self) -> list[Vm]:
        """Every VM, in the order of their names, without asking libvirt.  Raises InventoryError."""
        self._answered.wait(_FIRST)
        with self._lock:
            if self._error is not None:
                raise InventoryError(self._error)
            return list(self._known)

    @property
    def problems(self) -> tuple[str, ...]:
        """What libvirt or a guest says that is not believed or cannot be used, in sentences."""
        with self._lock:
            return self._problems

    def close(self) -> None:
        """Ask and follow no longer."""
        self._over.set()
        self._events.put(None)
        self._thread.join(_FIRST)

    def _run(self) -> None:
        try:
            self._keep_following()
        finally:  # whatever ended it, nobody shall take what was known then for what is now
            self._lost(f"libvirt {self.uri} is followed no longer")

    def _keep_following(self) -> None:
        """Connect, follow until the connection is lost, and again, until closed."""
        pause = _RETRY_LEAST
        while not self._over.is_set():
            began = time.monotonic()
            try:
                self._follow()
            except InventoryError as error:
                self._lost(str(error))
            if time.monotonic() - began > _RETRY_MOST:
                pause = _RETRY_LEAST
            self._over.wait(pause)
            pause = min(2 * pause, _RETRY_MOST)

    def _follow(self) -> None:
        self._events = events = _Events()  # what an old connection still says is nobody's concern
        connection = Connection(self.uri, events.put, writing=Witness.AGENT in self._ask)
        try:
            watch = Watch(connection, self._ask, self._holders)
            watch.look(connection.running(), time.monotonic())
            self._publish(watch)
            while not self._over.is_set():
                heard = self._heard(events, watch.idle(time.monotonic()))
                if watch.look(heard, time.monotonic()):
                    self._publish(watch)
        finally:
            connection.close()

    def _heard(self, events: _Events, seconds: float | None) -> set[str]:
        """The domains that something happened to, as soon as there are any, none after these seconds."""
        heard: set[str] = set()
        try:
            while True:
                uuid = events.get(timeout=0 if heard else seconds)
                if uuid is None:
                    raise InventoryError(f"libvirt {self.uri}: the connection is lost; the VMs stay as they were")
                heard.add(uuid)
        except queue.Empty:
            return heard

    def _publish(self, watch: Watch) -> None:
        vms, problems = watch.vms()
        with self._lock:
            self._known, self._problems, self._error, self._holders = vms, problems, None, watch.holders
        self._answered.set()

    def _lost(self, error: str) -> None:
        with self._lock:
            self._error = error
        self._answered.set()
