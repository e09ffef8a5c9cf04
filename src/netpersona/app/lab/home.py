"""The folder of a lab: what is in it, whether its lab lives, and how it is swept.

A lab lives exactly as long as a process holds the lock.  The kernel drops the lock with the last of them, however it
ended, so that nothing here depends on a process id that may have been given to another since.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import stat
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from netpersona.app.lab.errors import LabError

PREFIX = "np-lab-"
PATIENCE = 3.0  # seconds for a lab that is just ending to let go
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")


@dataclass(frozen=True, slots=True)
class Started:
    """A program that was started in the lab."""

    name: str
    machine: str
    pid: int  # as the lab counts
    words: tuple[str, ...]
    wants: str | None = None  # what would be here instead, were it installed


@dataclass(frozen=True, slots=True)
class State:
    """What a running lab says of itself."""

    name: str
    supervisor: int  # its process id, as the host counts
    bridged: bool
    namespaces: dict[str, dict[str, int]]  # machine -> kind -> descriptor of the supervisor
    inodes: dict[str, int]  # machine -> its network namespace, as /proc/PID/ns/net shows it
    programs: list[Started] = field(default_factory=list)
    guest: str | None = None  # the VM that is a QEMU guest; it has no namespaces


class Home:
    """The folder of the lab of this name; nothing is made before acquire().  Raises LabError."""

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise LabError(f"{name!r} cannot name a lab: 1 to 24 of a-z, 0-9 and '-', a letter or digit first")
        self.name = name
        self.path = Path(tempfile.gettempdir(), PREFIX + name)

    @property
    def _lock(self) -> Path:
        return self.path / "lock"

    def acquire(self) -> int:
        """Make the folder, empty, and hold its lock; the descriptor that holds it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self._settled():
            self._make()
            held = self._held()
            if held is not None:
                self._empty()
                return held
            time.sleep(0.05)
        raise LabError(
            f"a lab named {self.name} is running; end it with 'netpersona lab down --name {self.name}', "
            "or give this one another name: --name OTHER"
        )

    def alive(self) -> bool:
        """Whether a process of this lab lives."""
        if not self._ours():
            return False
        try:
            lock = os.open(self._lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def foreign(self) -> bool:
        """Whether the folder is there and is another's, so that we cannot tell what runs."""
        return self.path.exists() and not self._ours()

    def sweep_when_over(self) -> None:
        """Wait until no process of the lab lives, then remove the folder."""
        try:
            lock = os.open(self._lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _same(lock, self._lock):  # else another lab of this name began meanwhile
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(lock)

    def swept(self) -> bool:
        """Remove what a lab that is over left; whether there was anything."""
        if not self._ours() or self.alive():
            return False
        shutil.rmtree(self.path, ignore_errors=True)
        return True

    def write(self, state: State) -> None:
        """Say what runs."""
        fresh = self.path / "state.json.new"
        fresh.write_text(json.dumps(asdict(state), indent=1))
        fresh.replace(self.path / "state.json")

    def state(self) -> State:
        """What runs.  Raises LabError where nothing does."""
        said = self._said()
        try:
            programs = [Started(**{**program, "words": tuple(program["words"])}) for program in said.pop("programs")]
            return State(**said, programs=programs)
        except (KeyError, TypeError) as error:
            raise LabError(
                f"the lab named {self.name} is another version's; end it: netpersona lab down --name {self.name}"
            ) from error

    def supervisor(self) -> int:
        """The process that all else depends on, as the host counts.  Raises LabError where no lab runs."""
        return int(self._said()["supervisor"])

    def _said(self) -> dict[str, Any]:
        if not self.alive():
            raise LabError(f"no lab named {self.name} is running; begin one: netpersona lab up --detach")
        try:
            said: dict[str, Any] = json.loads((self.path / "state.json").read_text())
        except FileNotFoundError:
            raise LabError(f"the lab named {self.name} begins or ends just now; ask again in a moment") from None
        return said

    def _settled(self) -> bool:
        """Whether a lab is up, rather than just beginning or ending."""
        try:
            return Path("/proc", str(self.supervisor())).exists()
        except LabError:
            return False

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, exist_ok=True)
        if not self._ours():
            raise LabError(f"{self.path} is not a folder of yours alone; remove it, or use --name OTHER")

    def _ours(self) -> bool:
        """Whether the folder exists and nobody else can have laid it out for us."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022

    def _held(self) -> int | None:
        try:
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None  # swept at this moment
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        if _same(lock, self._lock):
            return lock
        os.close(lock)
        return None

    def _empty(self) -> None:
        for left in self.path.iterdir():
            if left != self._lock:
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def every() -> list[Home]:
    """The homes of all labs that left a folder, in the order of their names."""
    found = sorted(path.name.removeprefix(PREFIX) for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    return [Home(name) for name in found if _NAME.fullmatch(name)]


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
