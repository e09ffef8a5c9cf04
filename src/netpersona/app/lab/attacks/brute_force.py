"""Guesses passwords: FTP log-ins with USER and PASS, and refused SSH log-ins, by turns.

With an sshd on the VMs these are real ones, made by ssh; else sessions that look like them on the wire.
"""

from __future__ import annotations

import socket
import subprocess

from netpersona.app.lab.attacks.order import PATIENCE, Order, Tally, connected
from netpersona.app.lab.layout import WEB, Machine, others
from netpersona.app.lab.programs.login_server import SSH_EXCHANGE

_WORDS = ("123456", "password", "letmein", "admin", "welcome", "dragon", "monkey", "master")
_ALONE = (
    *("-F", "none", "-l", "root", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
    *("-o", "IdentitiesOnly=yes", "-o", "IdentityFile=none", "-o", f"ConnectTimeout={PATIENCE:.0f}"),
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null"),
)
"""Options of ssh: nothing of the person who runs the lab is read, written or offered."""


def target_of(vm: str) -> Machine:
    """Whom this VM attacks: the web server, and the web server its neighbour."""
    return next(machine for machine in others(vm)) if vm == WEB.name else WEB


def run(order: Order, tally: Tally) -> str:
    """Guess; what was done, in words.  A log-in that is refused was answered."""
    target = target_of(order.vm)
    for number, family in order.turns():
        address = target.address(family)
        try:
            if number % (2 * len(order.families)) < len(order.families):
                _guess_ftp(address, f"{_WORDS[number % len(_WORDS)]}{number}")
            else:
                log_in(address, order.ssh)
            tally.answer()
        except OSError as error:
            tally.failure(error)
    return f"log-ins to {target.name}, ports 21 and 22"


def _guess_ftp(address: str, password: str) -> None:
    with connected(address, 21) as line, line.makefile("rwb") as lines:
        lines.readline()
        for said in (b"USER root\r\n", f"PASS {password}\r\n".encode(), b"QUIT\r\n"):
            lines.write(said)
            lines.flush()
            if not lines.readline():
                raise ConnectionResetError


def log_in(address: str, ssh: str | None) -> None:
    """Try to log in at port 22, in vain.  Raises OSError where nobody refuses it."""
    if ssh is None:
        _look_like_ssh(address)
        return
    done = subprocess.run(  # noqa: S603 - our own words, no shell
        [ssh, *_ALONE, address, "true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if "ermission denied" not in done.stderr:
        raise OSError(done.stderr.strip().rpartition(": ")[2])


def _look_like_ssh(address: str) -> None:
    """One session with an ssh-like server; its sizes are those of a refused password."""
    with connected(address, 22) as line:
        line.sendall(b"SSH-2.0-np_lab_client\r\n")
        _take(line, 16)
        for asked, answered in SSH_EXCHANGE:
            line.sendall(bytes(asked))
            _take(line, answered)


def _take(line: socket.socket, size: int) -> None:
    while size > 0:
        block = line.recv(size)
        if not block:
            raise ConnectionResetError
        size -= len(block)
