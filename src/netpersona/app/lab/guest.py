"""A VM of the lab that is a QEMU guest, with a kernel of its own: how it is started, and spoken to.

Its first serial line is its console, kept in the lab's log folder; its second is a shell behind a socket in the lab's
folder.  One client at a time is served; the others wait.
"""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from netpersona.app.lab import initramfs, layout
from netpersona.app.lab.cast import Program, installed
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.layout import Machine

QEMU = "qemu-system-x86_64"
CANDIDATES = (layout.DESKTOP, layout.NEIGHBOUR)
"""Which VMs may be a guest: those that serve nothing."""
BOOT = 180.0  # seconds that a guest may take; under emulation, on a busy machine
_MEMORY = 160  # MiB


def check(kernel: Path) -> None:
    """Raises LabError, saying what to do, where no guest can be started."""
    for program, package in ((QEMU, "qemu-system-x86"), ("busybox", "busybox-static")):
        if installed(program) is None:
            raise LabError(f"a guest needs {program}: apt-get install --no-install-recommends {package}")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise LabError("a guest needs /dev/net/tun, for its tap")
    initramfs.kernel_in(kernel)


def program(folder: Path, vm: Machine, kernel_folder: Path, *, bridged: bool, seed: int, pace: float) -> Program:
    """The guest as a program of the hypervisor.  Raises LabError."""
    kernel = initramfs.kernel_in(kernel_folder)
    busybox, qemu = installed("busybox"), installed(QEMU)
    if busybox is None or qemu is None:
        raise LabError("qemu or busybox is gone")
    system = folder / "guest.cpio.gz"
    system.write_bytes(initramfs.build(kernel, Path(busybox), vm, bridged=bridged, seed=seed, pace=pace))
    words = [qemu, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-m", str(_MEMORY)]
    words += ["-accel", "tcg", "-kernel", str(kernel.image), "-initrd", str(system)]
    words += ["-append", "console=ttyS0 quiet panic=-1"]
    words += ["-netdev", f"tap,id=net,ifname={vm.tap},script=no,downscript=no"]
    words += ["-device", f"virtio-net-pci,netdev=net,mac={vm.mac},romfile="]
    words += ["-serial", f"file:{folder / 'log' / f'{vm.name}.console'}"]
    words += ["-chardev", f"socket,id=shell,path={_escaped(_socket(folder))},server=on,wait=off"]
    return Program(f"guest-{vm.name}", layout.HYPERVISOR, [*words, "-serial", "chardev:shell"])


def wait_until_up(folder: Path, vm: str, within: float = BOOT) -> None:
    """Wait until the guest's shell answers.  Raises LabError."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if run(folder, ["true"], 2.0)[0] == 0:
                return
        except LabError:
            time.sleep(0.2)
    raise LabError(f"the guest does not answer after {within:.0f} s: {_console(folder, vm)}")


def _console(folder: Path, vm: str) -> str:
    """The end of what the guest wrote to its console, in one line."""
    try:
        text = (folder / "log" / f"{vm}.console").read_text(errors="replace")
    except OSError:
        return "it wrote nothing"
    return " ".join(text.split())[-500:]


def run(folder: Path, words: Sequence[str], patience: float | None = None) -> tuple[int, str]:
    """Run a program in the guest, without input; its exit code and all that it wrote.

    Raises LabError where the guest does not answer; `patience` is in seconds.
    """
    if patience is not None:
        words = ["timeout", f"{patience:.0f}", *words]  # so that the shell is free again, whatever becomes of us
    token = secrets.token_hex(8)
    begin, end = f"{token} begins\n".encode(), f"{token} ends ".encode()
    with socket.socket(socket.AF_UNIX) as shell:
        shell.settimeout(None if patience is None else patience + 5.0)
        try:
            shell.connect(str(_socket(folder)))
            shell.sendall(b"\n%s %s\n" % (token.encode(), base64.b64encode(shlex.join(words).encode())))
            said = b""
            while not (end in said and said.endswith(b"\n")):
                block = shell.recv(1 << 16)
                if not block:
                    raise LabError("the guest went away")
                said += block
        except OSError as error:
            raise LabError(f"the guest does not answer: {error.strerror or error}") from error
    output, _, code = said.partition(begin)[2].rpartition(end)
    return int(code), output.decode(errors="replace")


def _socket(folder: Path) -> Path:
    return folder / "guest.shell"


def _escaped(path: Path) -> str:
    """A path as QEMU's options want it."""
    return str(path).replace(",", ",,")
