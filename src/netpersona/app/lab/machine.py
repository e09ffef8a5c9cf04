"""One machine of the lab: its namespaces, and what its programs find in /etc, /run and /sys.

Namespaces have no names anywhere: descriptors of the supervisor hold them, and with it they are gone.  Mounts are made
in namespaces of the lab's own, from which nothing spreads to the host.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from netpersona.app.lab import kernel
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.network import settings

KINDS = {"mnt": kernel.NEWNS, "uts": kernel.NEWUTS, "net": kernel.NEWNET}
"""The namespaces that each machine has of its own, by their names in /proc/PID/ns."""


class Namespaces(NamedTuple):
    """The descriptors of one machine's namespaces."""

    mnt: int
    uts: int
    net: int

    def enter(self) -> None:
        """Bring this process onto the machine."""
        for name, kind in KINDS.items():
            kernel.setns(getattr(self, name), kind)


def become(name: str, resolver: str) -> None:
    """Leave for namespaces of our own, and furnish them as the machine `name`."""
    kernel.unshare(kernel.NEWNS | kernel.NEWUTS | kernel.NEWNET)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_SLAVE)
    socket.sethostname(name)
    kernel.mount("np-lab", "/sys", "sysfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    # What listens in /run (resolved, nscd, D-Bus) would answer from the host's network.
    resolved = os.path.realpath("/etc/resolv.conf")
    kernel.mount("np-lab", "/run", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=16m")
    Path("/run/sshd").mkdir(mode=0o755)  # where sshd wants to be able to lock itself in
    _cover(resolved, f"nameserver {resolver}\noptions timeout:2 attempts:1\n")
    for path, text in (
        ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ("/etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n"),
    ):
        if Path(path).exists():
            _cover(os.path.realpath(path), text)
    _set(settings(name))


def made(name: str, resolver: str) -> Namespaces:
    """A new machine.  Raises LabError."""
    ready, told = os.pipe()
    leave, left = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        os.close(left)
        _furnish_and_wait(name, resolver, told, leave)
    os.close(told)
    os.close(leave)
    try:
        with os.fdopen(ready) as answer:
            problem = answer.read()
        if problem != "ready":
            raise LabError(f"{name} cannot be made: {problem or 'it ended'}")
        return Namespaces(*(os.open(f"/proc/{child}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in KINDS))
    finally:
        os.close(left)
        os.waitpid(child, 0)


def run(words: Sequence[str], text: str = "", where: Namespaces | None = None) -> None:
    """Run a program to its end, here or on a machine.  Raises LabError with what it said."""
    done = subprocess.run(  # noqa: S603 - our own words, no shell
        list(words),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=where.enter if where is not None else None,
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)}: {' '.join((done.stderr or done.stdout).split())}")


def _furnish_and_wait(name: str, resolver: str, told: int, leave: int) -> None:
    try:
        become(name, resolver)
        message = "ready"
    except (OSError, LabError) as error:
        message = str(error)
    os.write(told, message.encode())
    os.close(told)
    os.read(leave, 1)  # ends when the supervisor has its descriptors
    os._exit(0)


def _cover(path: str, text: str) -> None:
    """Let the lab's programs find `text` at `path`; the host's file is not touched."""
    target = Path(path)
    if path.startswith("/run/"):  # a file of our own tmpfs
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return
    if not target.exists():
        raise LabError(f"there is no {path} to put the lab's own over; make an empty one: touch {path}")
    cover = Path("/run", path.strip("/").replace("/", "-"))
    cover.write_text(text)
    cover.chmod(0o644)
    kernel.mount(str(cover), path, None, kernel.MS_BIND)


def _set(wanted: Mapping[str, str]) -> None:
    for name, value in wanted.items():
        path = Path("/proc/sys/net", name)
        if path.exists():  # a kernel without IPv6, or without br_netfilter, lacks some
            path.write_text(value)


def python(module: str, *words: str) -> list[str]:
    """The words that run a module of ours as a program of its own."""
    return [sys.executable, "-P", "-m", module, *words]
