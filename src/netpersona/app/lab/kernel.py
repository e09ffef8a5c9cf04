"""The system calls that Python 3.11 does not offer: unshare, setns, mount, prctl.  Every one raises OSError."""

from __future__ import annotations

import ctypes
import os

NEWNS = 0x00020000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWPID = 0x20000000
NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_SLAVE = 4096, 16384, 1 << 19

SYS_ADMIN, NET_ADMIN, NET_RAW = 21, 12, 13  # capabilities

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones (NEWPID: for the children)."""
    _checked(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace behind a descriptor (NEWPID: for the children)."""
    _checked(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    """Attach a file system, or with MS_BIND a file, as the system call of that name does."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, options)]
    _checked(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), f"mount {target}")


def die_with_parent(signal: int) -> None:
    """Be sent this signal when the parent ends, however it ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl")


def capable(*capabilities: int) -> bool:
    """Whether this process has these capabilities in effect."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - one line of /proc
        effective = next((int(line.split()[1], 16) for line in status if line.startswith("CapEff:")), 0)
    return all(effective >> capability & 1 for capability in capabilities)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
