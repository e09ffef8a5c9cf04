"""The process that reverts: run by its path with nothing of netpersona loaded, so it is small and cannot break with it.

    python revert_process.py SOCKET SECONDS < BATCH

It says "ready" on its standard output, and waits.  "confirm" on the socket ends it; at its time it sends the batch.
"""

import contextlib
import os
import select
import socket
import sys
import time

READY, CONFIRM, DISARMED = b"ready\n", b"confirm\n", b"disarmed\n"
NETFILTER, SO_SNDBUFFORCE = 12, 32


def main(path: str, seconds: float) -> None:
    """Take the batch, wait, and send it unless somebody confirms."""
    deadline = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds  # a clock that nobody can set
    batch = sys.stdin.buffer.read()
    to_kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
    to_kernel.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, max(2 * len(batch), 1 << 20))
    to_kernel.bind((0, 0))
    os.umask(0o177)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        os.write(1, READY)
        for inherited in (0, 1, 2):  # nobody who started the starter waits for us
            os.dup2(os.open(os.devnull, os.O_RDWR), inherited)
        try:
            if not confirmed(listening, deadline):
                to_kernel.send(batch)
        finally:
            os.unlink(path)  # noqa: PTH108 (as little as possible is imported)


def confirmed(listening: socket.socket, deadline: float) -> bool:
    """Whether somebody said so in time."""
    while (left := deadline - time.clock_gettime(time.CLOCK_BOOTTIME)) > 0:
        if not select.select([listening], [], [], min(left, 1.0))[0]:  # at most a second late after a sleep
            continue
        with contextlib.suppress(OSError):
            asking, _ = listening.accept()
            with asking:
                asking.settimeout(1.0)
                said = asking.recv(64) == CONFIRM
                asking.sendall(DISARMED if said else READY)
            if said:
                return True
    return False


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
