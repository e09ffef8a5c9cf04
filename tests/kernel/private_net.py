"""Network namespaces of the tests' own, and sockets inside them.  Nothing outside them is read or written."""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def why_not() -> str | None:
    """Why kernel tests cannot run here; None: they can."""
    if os.geteuid() != 0:
        return "needs root, to make a network namespace of its own"
    missing = [tool for tool in ("nft", "ip", "unshare") if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    tried = subprocess.run(["unshare", "-n", "nft", "list", "tables"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no network namespace can be made: {tried.stderr.strip()}"


WHY_NOT = why_not()
needs_kernel = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


def in_new_namespace(script: str, text: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell script in a network namespace that ends with it; `text` is its standard input."""
    return subprocess.run(
        ["unshare", "-n", "sh", "-c", script], input=text, capture_output=True, text=True, check=False
    )


def run(*words: str, text: str | None = None) -> None:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}\n{text or ''}"


def own(name: str) -> str:
    """A namespace's name that no other test run has."""
    return f"np-test-{os.getpid()}-{name}"


def _sweep() -> None:
    """Namespaces of runs that were killed."""
    for left in Path("/run/netns").glob("np-test-*-*"):
        pid = left.name.split("-")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            subprocess.run(["ip", "netns", "del", left.name], capture_output=True, check=False)


@contextmanager
def namespaces(*names: str) -> Iterator[None]:
    """Namespaces of these names, which begin with np-test-; they are gone afterwards."""
    assert all(name.startswith("np-test-") for name in names)
    _sweep()
    for name in names:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    try:
        for name in names:
            run("ip", "netns", "add", name)
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread, and what it starts, is in the namespace."""
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{namespace}").open() as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def socket_in(namespace: str, family: int, kind: int) -> socket.socket:
    """A socket that lives in the namespace, whichever thread uses it later."""
    with inside(namespace):
        return socket.socket(family, kind)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
