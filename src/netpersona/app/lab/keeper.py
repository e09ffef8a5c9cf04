"""Begins a lab, keeps it, ends it: so that nothing of it stays, whichever of its processes is killed.

    keeper        on the host's side; in the foreground it is the command itself
      supervisor  process 1 of the lab: is killed by the kernel when the keeper ends, and takes all others with it
      sweeper     waits for the folder's lock, which the kernel frees when both are gone, and removes the folder

Only somebody who kills the sweeper as well leaves a folder; the next `lab up` or `lab down` removes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from netpersona.app.lab import kernel
from netpersona.app.lab.cast import installed
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.home import Home, Started, State
from netpersona.app.lab.supervisor import GRACE, Wish, supervise

_UP = "up"


def check_rights() -> None:
    """Raises LabError, saying what to do, where a lab cannot be made or entered."""
    if sys.platform != "linux":
        raise LabError("the lab needs Linux: it is made of network namespaces")
    if not kernel.capable(kernel.SYS_ADMIN, kernel.NET_ADMIN, kernel.NET_RAW):
        raise LabError(
            "the lab needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW), to make network namespaces of its own; "
            "run it with sudo, and in a container with --privileged"
        )
    if installed("ip") is None:
        raise LabError("the lab needs ip, to connect its machines: apt-get install iproute2")


def keep(wish: Wish, ready: Callable[[State], None]) -> None:
    """Build a lab, call `ready`, and stay until it is ended: by a signal, `lab down`, or its own death.

    Raises LabError where it cannot be built; then nothing of it is left.
    """
    home = Home(wish.name)
    lock = home.acquire()
    sweeper = _sweeper(home, lock)
    try:
        _keep(wish, home, ready)
    finally:
        os.close(lock)  # the supervisor is over: the sweeper may begin
        os.waitpid(sweeper, 0)
        home.swept()  # should the sweeper have been killed


def keep_detached(wish: Wish) -> State:
    """Build a lab that stays when this process ends.  Raises LabError."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        _keep_apart(wish, told)
    os.close(told)
    answer = os.read(ready, 4_096).decode()  # not to its end: the lab's processes have the other end open
    os.close(ready)
    if answer == _UP:
        return Home(wish.name).state()
    os.waitpid(child, 0)
    raise LabError(answer or "the lab was killed while it was built")


def end(name: str) -> bool:
    """End the lab of this name and remove its folder; False where there was neither.  Raises LabError."""
    home = Home(name)
    if not home.alive():
        return home.swept()
    supervisor = home.supervisor()
    try:
        handle = os.pidfd_open(supervisor)
    except ProcessLookupError:
        handle = None
    if handle is not None:
        _end(handle)
        os.close(handle)
    deadline = time.monotonic() + 10
    while home.path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    home.swept()
    if home.path.exists():
        raise LabError(f"{home.path} is still there: a process of the lab does not end")
    return True


def _keep_apart(wish: Wish, told: int) -> NoReturn:
    """Be the keeper, in a session of its own; tell through `told` that the lab is up, or why not."""
    os.setsid()
    os.chdir("/")
    _silence()
    _close_all_but(told)
    try:
        keep(wish, lambda _: _tell(told, _UP))
    except LabError as error:
        _tell(told, str(error))
    finally:
        os._exit(0)


def _tell(told: int, message: str) -> None:
    with contextlib.suppress(OSError):  # the command that wanted to know may be gone
        os.write(told, message.encode()[:4_096])


def _sweeper(home: Home, lock: int) -> int:
    child = os.fork()
    if child != 0:
        return child
    try:
        os.setsid()
        os.close(lock)
        _silence()
        _close_all_but()
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        home.sweep_when_over()
    finally:
        os._exit(0)


class _Signalled(Exception):  # noqa: N818 - a request, not an error
    """Somebody asked the keeper to end."""


def _raise_signalled(*_: object) -> NoReturn:
    raise _Signalled


def _keep(wish: Wish, home: Home, ready: Callable[[State], None]) -> None:
    before = {sign: signal.signal(sign, _raise_signalled) for sign in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    report, told = os.pipe()
    kernel.unshare(kernel.NEWPID)  # for the next child
    supervisor = os.fork()
    if supervisor == 0:
        kernel.die_with_parent(signal.SIGKILL)
        os.close(report)
        supervise(wish, home.path, told)
    os.close(told)
    handle = os.pidfd_open(supervisor)
    try:
        with os.fdopen(report) as answer:
            state = _state(wish, supervisor, answer.read())
        home.write(state)
        ready(state)
        select.select([handle], [], [])
    except _Signalled:
        pass
    finally:
        _end(handle)
        os.waitpid(supervisor, 0)
        os.close(handle)
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _state(wish: Wish, supervisor: int, answer: str) -> State:
    said: dict[str, Any] = json.loads(answer or '{"error": "it was killed while it was built"}')
    if "error" in said:
        raise LabError(f"the lab cannot be built: {said['error']}")
    programs = [Started(**{**program, "words": tuple(program["words"])}) for program in said["programs"]]
    return State(wish.name, supervisor, wish.bridged, said["namespaces"], said["inodes"], programs, wish.guest)


def _end(handle: int) -> None:
    """Ask the supervisor to end, and kill it where it does not."""
    for sign, patience in ((signal.SIGTERM, GRACE + 1.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, sign)
        if select.select([handle], [], [], patience)[0]:
            return


def _close_all_but(*kept: int) -> None:
    """Hold nothing open that the caller's caller may wait to see closed."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


def _silence() -> None:
    """Read from and write to nothing."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
