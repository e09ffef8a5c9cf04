"""Runs a program on a machine of a running lab.  It becomes one of the lab's processes, and ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from netpersona.app.lab import kernel, layout
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.home import Home, State
from netpersona.app.lab.machine import Namespaces


def spawn(home: Home, machine: str, words: Sequence[str], **more: Any) -> subprocess.Popen[Any]:
    """Start a program on a machine; `more` goes to Popen.  Raises LabError."""
    state = home.state()
    if machine not in state.namespaces:
        raise LabError(f"there is no machine {machine!r} in the lab; there are {', '.join(layout.MACHINES)}")
    opened = _opened(state, machine)
    processes = _open(f"/proc/{state.supervisor}/ns/pid")
    ours = _open("/proc/self/ns/pid")
    try:
        if not home.alive():  # else the process id might be another's by now
            raise LabError(f"the lab named {home.name} has just ended")
        kernel.setns(processes, kernel.NEWPID)  # for the child
        return subprocess.Popen(  # noqa: S603 - what the caller wants run, no shell
            list(words),
            preexec_fn=lambda: _arrive(opened),  # noqa: PLW1509 - a command has one thread here
            env=more.pop("env", environment(os.environ)),
            **more,
        )
    except FileNotFoundError as error:
        raise LabError(f"{words[0]}: there is no such program") from error
    except OSError as error:
        raise LabError(f"{machine} cannot be entered: {error.strerror or error}") from error
    finally:
        kernel.setns(ours, kernel.NEWPID)
        for descriptor in (*opened, processes, ours):
            os.close(descriptor)


def run(home: Home, machine: str, words: Sequence[str]) -> int:
    """Run a program on a machine, with our own terminal; its exit code, or 128 and the signal that ended it."""
    process = spawn(home, machine, words)
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda number, _: process.send_signal(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the program as well
    code = process.wait()
    return code if code >= 0 else 128 - code


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Our environment without proxies: inside the lab there is no way to them."""
    return {name: value for name, value in ours.items() if not name.lower().endswith("_proxy")}


def _opened(state: State, machine: str) -> Namespaces:
    return Namespaces(
        **{
            kind: _open(f"/proc/{state.supervisor}/fd/{descriptor}")
            for kind, descriptor in state.namespaces[machine].items()
        }
    )


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(f"the lab cannot be entered: {path}: {error.strerror}") from error


def _arrive(machine: Namespaces) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    here = os.getcwd()  # noqa: PTH109 - entering a mount namespace goes to its root
    machine.enter()
    try:
        os.chdir(here)
    except OSError:
        os.chdir("/")
