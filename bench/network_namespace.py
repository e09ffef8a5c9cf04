"""Network namespaces of the benches' own: to be in one from now on, or for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netpersona.app.lab.kernel import NEWNET, setns, unshare


def alone(bench: str) -> bool:
    """This process has a network of its own from now on; False, and said so, where it is not root."""
    if os.geteuid() != 0:
        print(f"{bench:11} skipped: needs root, for a network namespace of its own")
        return False
    unshare(NEWNET)
    return True


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread is in the namespace of that name (ip-netns(8))."""
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{name}").open() as there:
        setns(there.fileno(), NEWNET)
        try:
            yield
        finally:
            setns(home.fileno(), NEWNET)
