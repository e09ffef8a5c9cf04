"""The inventory as it is now: a file is read again when it has changed."""

from __future__ import annotations

from pathlib import Path

from netpersona.adapters.inventories.yaml_file import YamlInventory
from netpersona.errors import ConfigError, InventoryError
from netpersona.flow.vm import Vm


class Following:
    """An Inventory that is asked often and reads its file only when that has changed."""

    def __init__(self, path: Path | None) -> None:
        if path is None:
            raise ConfigError(
                "no inventory says which VMs there are; name one in the configuration: inventory: vms.yaml"
            )
        self._path = path
        self._file = YamlInventory(path)
        self._seen: tuple[int, int, int] | None = None
        self._vms: list[Vm] = []

    def vms(self) -> list[Vm]:
        """Every VM, in the order of their names.  Raises InventoryError."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise InventoryError(f"{self._path}: {error.strerror}; the VMs stay as they were") from error
        state = (found.st_mtime_ns, found.st_size, found.st_ino)
        if state != self._seen:
            self._vms = self._file.vms()
            self._seen = state
        return self._vms
