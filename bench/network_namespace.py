"""Being in a network namespace for a while; for the benches that make namespaces of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netpersona.app.lab.kernel import NEWNET, setns


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread is in the namespace of that name (ip-netns(8))."""
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{name}").open() as there:
        setns(there.fileno(), NEWNET)
        try:
            yield
        finally:
            setns(home.fileno(), NEWNET)
