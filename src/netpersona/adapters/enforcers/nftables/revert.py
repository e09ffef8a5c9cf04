"""A revert that fires without the controller: a process of its own holds the old rules, and waits (revert_process.py).

    arm(enforcer, earlier, 60, path)   the earlier ruleset becomes one batch, the kernel checks it, the process gets it
    confirm(path)                      disarms it, also from another process, as after a restart
    nothing                            at its time the process sends the batch, whoever is alive

It needs no file, no store and no table at the time it fires.  It lives in the network namespace in which it was armed.
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
from pathlib import Path

from netpersona.adapters.enforcers.nftables import wire
from netpersona.adapters.enforcers.nftables.enforcer import Nftables
from netpersona.adapters.enforcers.nftables.revert_process import CONFIRM, DISARMED, READY
from netpersona.errors import EnforcerError
from netpersona.ruleset.model import Ruleset

_PROGRAM = Path(__file__).with_name("revert_process.py")
_WAIT = 10.0  # seconds for the process to start, or to answer


def arm(enforcer: Nftables, earlier: Ruleset, seconds: float, path: Path) -> int:
    """From now on `earlier` comes back after so many seconds, unless `confirm(path)` is called before.

    `path`: a socket that is made for that.  Gives the id of the process, which outlives its maker.  Raises
    EnforcerError where the kernel would refuse the earlier ruleset, or a revert is armed there already: then nothing
    is armed.
    """
    if armed(path):
        raise EnforcerError(f"{path}: a revert is armed already; confirm it, or wait until it has fired")
    messages = enforcer.batch(earlier)
    enforcer.rehearse(messages)
    path.unlink(missing_ok=True)
    process = subprocess.Popen(  # noqa: S603 (this interpreter, our own file)
        [sys.executable, "-I", str(_PROGRAM), str(path), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )
    if not _started(process, wire.batch(messages)):
        process.kill()
        process.wait()
        raise EnforcerError("the process that would revert did not start; nothing was armed")
    return process.pid


def confirm(path: Path) -> bool:
    """Disarm it; false where none is armed, or it has fired already."""
    return _said(path, CONFIRM) == DISARMED


def armed(path: Path) -> bool:
    """Whether a revert waits there."""
    return _said(path, b"?\n") == READY


def _started(process: subprocess.Popen[bytes], batch: bytes) -> bool:
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout as told:
        with contextlib.suppress(BrokenPipeError), process.stdin as handed:
            handed.write(batch)
        return bool(select.select([told], [], [], _WAIT)[0]) and told.readline() == READY


def _said(path: Path, question: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_WAIT)
        try:
            asking.connect(str(path))
            asking.sendall(question)
            return asking.recv(64)
        except OSError:
            return b""
