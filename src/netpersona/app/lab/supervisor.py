"""The first process inside a lab: builds it, starts its programs, watches over them.

It is process 1 of a process namespace.  When it ends, however it ends, the kernel ends every other process of the lab,
and with the last descriptor the namespaces, their interfaces, routes and rules are gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from netpersona.app.lab import guest, kernel, layout, material, network
from netpersona.app.lab.cast import Program, cast, found
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.home import Started
from netpersona.app.lab.machine import KINDS, Namespaces, become, made, run

READY_WITHIN = 20.0  # seconds for all servers to listen
GRACE = 2.0  # seconds for programs to end by themselves
_LISTENING = "0A"


@dataclass(frozen=True, slots=True)
class Wish:
    """What lab is wanted."""

    name: str
    bridged: bool = False
    seed: int = 7
    pace: float = 1.0  # 2 halves every pause of the ordinary traffic
    own_programs: bool = False  # use none but the lab's own
    guest: str | None = None  # a VM that is to be a QEMU guest
    kernel: Path = Path("/")  # where its kernel is


class _AskedToEnd(Exception):  # noqa: N818 - a request, not an error
    """Somebody sent SIGTERM."""


def supervise(wish: Wish, folder: Path, told: int) -> NoReturn:
    """Be the lab, in a process that was forked to be process 1; say so, or what went wrong, in JSON through `told`."""
    code = 1
    signal.signal(signal.SIGTERM, _ask_to_end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _tell(told, _build(wish, folder))
        _watch()
    except _AskedToEnd:
        _end_programs()
        code = 0
    except (LabError, OSError) as error:
        _tell(told, {"error": str(error)})
    except Exception as error:  # noqa: BLE001 - the keeper waits for an answer, and this process ends without a word
        _tell(told, {"error": f"{type(error).__name__}: {error}"})
    finally:
        sys.stdout.flush()
        os._exit(code)


def _ask_to_end(*_: object) -> NoReturn:
    raise _AskedToEnd


def _tell(told: int, message: object) -> None:
    with os.fdopen(told, "w") as report:
        json.dump(message, report)


def _build(wish: Wish, folder: Path) -> dict[str, object]:
    """Make everything; what there is now, for the state.  Raises LabError, OSError."""
    tools = {} if wish.own_programs else found()
    material.write(folder, tools, bridged=wish.bridged)
    os.setsid()
    kernel.unshare(kernel.NEWNS | kernel.NEWIPC)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_SLAVE)
    kernel.mount("np-lab", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    become(layout.HYPERVISOR, layout.RESOLVER.v4)
    here = Namespaces(*(os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in KINDS))
    machines = {layout.HYPERVISOR: here}
    others = [name for name in layout.MACHINES if name not in (layout.HYPERVISOR, wish.guest)]
    machines |= {name: made(name, layout.RESOLVER.v4) for name in others}
    _connect(wish, machines)
    programs = [p for p in cast(folder, tools, seed=wish.seed, pace=wish.pace) if p.machine != wish.guest]
    vm = layout.vm(wish.guest) if wish.guest is not None else None
    if vm is not None:
        programs.append(guest.program(folder, vm, wish.kernel, bridged=wish.bridged, seed=wish.seed, pace=wish.pace))
    started = _start(programs, machines, folder)
    if vm is not None:
        guest.wait_until_up(folder, vm.name)
    return {
        "namespaces": {name: namespaces._asdict() for name, namespaces in machines.items()},
        "inodes": {name: os.fstat(namespaces.net).st_ino for name, namespaces in machines.items()},
        "programs": [asdict(program) for program in started],
    }


def _connect(wish: Wish, machines: dict[str, Namespaces]) -> None:
    ends = {name: f"/proc/1/fd/{namespaces.net}" for name, namespaces in machines.items()}
    _ip(network.links(ends, wish.guest))
    for name, lines in network.machines(bridged=wish.bridged).items():
        if name != wish.guest:
            _ip(lines, machines[name])
    _ip(network.hypervisor(bridged=wish.bridged))


def _ip(lines: Iterable[str], where: Namespaces | None = None) -> None:
    run(["ip", "-batch", "-"], "".join(f"{line}\n" for line in lines), where)


def _start(programs: Sequence[Program], machines: dict[str, Namespaces], folder: Path) -> list[Started]:
    """Start the servers, wait until they listen, then start the clients."""
    servers = [program for program in programs if program.listens]
    clients = [program for program in programs if not program.listens]
    running = [(program, _started(program, machines[program.machine], folder)) for program in servers]
    deadline = time.monotonic() + READY_WITHIN
    for program, process in running:
        _wait_until_ready(program, process, _log(program, folder), deadline)
    running += [(program, _started(program, machines[program.machine], folder)) for program in clients]
    return [Started(p.name, p.machine, process.pid, tuple(p.words), p.wants) for p, process in running]


def _log(program: Program, folder: Path) -> Path:
    return folder / "log" / f"{program.machine}.{program.name}"


def _started(program: Program, where: Namespaces, folder: Path) -> subprocess.Popen[bytes]:
    with _log(program, folder).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own words, no shell
            program.words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin", **_python_path()},
            start_new_session=True,
            preexec_fn=where.enter,  # noqa: PLW1509 - the supervisor has one thread
        )


def _python_path() -> dict[str, str]:
    return {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}


def _wait_until_ready(program: Program, process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    while not _listens(process.pid, program.listens):
        if process.poll() is not None:
            said = " ".join(log.read_text(errors="replace").split())[-300:]
            raise LabError(
                f"{program.name} on {program.machine} ended with {process.returncode}: {said} "
                "(lab up --own-programs does without programs of the host)"
            )
        if time.monotonic() > deadline:
            raise LabError(f"{program.name} on {program.machine} does not listen after {READY_WITHIN:.0f} s")
        time.sleep(0.02)


def _listens(pid: int, wanted: Sequence[tuple[str, int]]) -> bool:
    """Whether every port is open in the network namespace of a process."""
    open_ports = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue  # it just ended, or the kernel has no IPv6
        for line in lines:
            words = line.split()
            if table.startswith("udp") or words[3] == _LISTENING:
                open_ports.add((table[:3], int(words[1].rpartition(":")[2], 16)))
    return open_ports.issuperset(wanted)


def _watch() -> None:
    """Bury the dead, ours and those left to us, until asked to end."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            signal.pause()


def _end_programs() -> None:
    """Let every process of the lab end by itself, for a moment; the kernel ends those that do not."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and _others():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.02)


def _others() -> bool:
    return any(name.isdecimal() and name != "1" for name in os.listdir("/proc"))  # noqa: PTH208 - names, not paths
