"""What an hour's churn of what is listed costs, from the feed's file to the kernel's set, the kernel's part included.

    python bench/churn.py [--listed 1000000] [--feeds 1 10] [--churn 0.01]

Runs as root, in a network namespace of its own: a controller with the real nftables and one VM that is quiet.  Its
feeds list a million addresses together.  Then each is written anew, one after the other, with 1 % of its addresses
exchanged, and is read as a running controller reads it, until the kernel's set has the difference.  Counted is all
processor time, in user mode and in the kernel, of this process and of those that it starts to read feeds, with what
the controller uses anyway meanwhile.  What the netlink transactions took, in both modes, is told apart.  Target: under
2 % of a core, which is 72 s an hour.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from network_namespace import alone

from netpersona.adapters.enforcers.nftables import Nftables
from netpersona.adapters.sensors.tap.sensor import TapSensor
from netpersona.adapters.stores.memory import MemoryStore
from netpersona.app import policies as policy_files
from netpersona.app.feed_config import FeedSpec, feed_source
from netpersona.app.live.controller import Controller
from netpersona.app.live.feed_fetching import LiveFeeds
from netpersona.app.live.indicators import LiveIndicators
from netpersona.app.live.inventory import Following
from netpersona.app.live.parts import Parts
from netpersona.flow.window import WINDOW

HOUR = 3600  # s
PATIENCE = 300.0  # s
POLICY = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: low-reputation}
spec:
  mode: enforce
  order: 1
  rules: [{name: listed, direction: outbound, peers: {reputation_below: 0.5}, action: deny, existing: cut}]
"""

Numbers = npt.NDArray[np.uint32]


class Spent(NamedTuple):
    """Processor time, s."""

    user: float
    kernel: float


class Watched:
    """The enforcer, with what its transactions took and how many members its sets have."""

    def __init__(self, within: Nftables) -> None:
        self._within = within
        self.changed = 0  # members, ever
        self.spent = 0.0

    def apply(self, desired: Any) -> Any:
        """Bring it in force, and look at this thread's time."""
        before = time.thread_time()
        changes = self._within.apply(desired)
        self.spent += time.thread_time() - before
        self.changed += sum(
            len(members)
            for each in changes.sets
            for members in (each.added_addresses, each.removed_addresses, each.added_networks, each.removed_networks)
        )
        return changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._within, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listed", type=int, default=1_000_000)
    parser.add_argument("--feeds", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--churn", type=float, default=0.01)
    options = parser.parse_args()
    if not alone("churn"):
        return
    sys.setswitchinterval(0.001)  # as `netpersona up` does
    for words in ("link set lo up", "link add tap0 type veth peer name vm0", "link set tap0 up", "link set vm0 up"):
        subprocess.run(["ip", *words.split()], check=True)
    for feeds in options.feeds:
        with tempfile.TemporaryDirectory(prefix="netpersona-bench-") as folder:
            measure(Path(folder), options.listed, feeds, options.churn)


def measure(folder: Path, listed: int, feeds: int, churn: float) -> None:
    """One hour: every feed once."""
    rng = np.random.default_rng(8)
    parts = np.array_split(np.arange(listed, dtype=np.uint32) * np.uint32(7) + np.uint32(0x14000000), feeds)
    paths = [folder / f"feed-{n}.txt" for n in range(feeds)]
    for path, part in zip(paths, parts, strict=True):
        write(path, part)
    fresh = [np.where(rng.random(len(part)) < churn, part + np.uint32(1), part) for part in parts]
    expected = [2 * int((part != new).sum()) for part, new in zip(parts, fresh, strict=True)]  # gone, and new
    (folder / "vms.yaml").write_text("vms: [{name: vm, interface: tap0, addresses: [10.77.0.2/24]}]\n")
    enforcer = Watched(Nftables())
    with TapSensor() as sensor:
        sources = [feed_source(FeedSpec(file=str(path), confidence=0.95), None, "bench") for path in paths]
        indicators = LiveIndicators(LiveFeeds(sources, folder / "copies"))
        parts_of = Parts(
            Following(folder / "vms.yaml"), sensor, MemoryStore(), enforcer, indicators, policy_files.parsed, WINDOW
        )
        controller = Controller(parts_of, {"p.yaml": POLICY}, sensor.poll(0.0).until)
        thread = threading.Thread(target=controller.run)
        thread.start()
        try:
            wait(lambda: enforcer.changed >= listed)
            hour(enforcer, list(zip(paths, fresh, expected, strict=True)))
        finally:
            controller.stop()
            thread.join()
            enforcer.uninstall()
            enforcer.close()


def hour(enforcer: Watched, feeds: list[tuple[Path, Numbers, int]]) -> None:
    """Every feed is written anew, and reaches the kernel."""
    enforcer.spent = user = kernel = 0.0
    members = enforcer.changed
    for path, numbers, expected in feeds:
        write(path, numbers)
        wanted = enforcer.changed + expected
        before = spent()
        wait(partial(has_changed, enforcer, wanted))
        after = spent()
        user, kernel = user + after.user - before.user, kernel + after.kernel - before.kernel
    own = user + kernel
    name = f"{len(feeds)} feed{'s' if len(feeds) > 1 else ''} an hour"
    print(
        f"{name:20}{own:7.1f} s of processor an hour: {own / HOUR:.2%} of a core (at most 2 %); "
        f"{user:.1f} s in user mode, {kernel:.1f} s in the kernel"
    )
    print(
        f"{'':20}netlink transactions of {enforcer.changed - members:,} members: {enforcer.spent:.2f} s; "
        f"{own / len(feeds):.1f} s a refresh, so"
        f" {int(HOUR * 0.02 / (own / len(feeds)))} refreshes an hour are 2 %; load {os.getloadavg()[0]:.1f}"
    )


def has_changed(enforcer: Watched, members: int) -> bool:
    """Whether so many came and went."""
    return enforcer.changed >= members


def write(path: Path, numbers: Numbers) -> None:
    """A plain list; as a whole, under its name at once."""
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(str(ip_address(n)) for n in numbers.tolist()) + "\n")
    fresh.replace(path)


def spent() -> Spent:
    """What this process and those that it started and that ended have used."""
    own, those = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(own.ru_utime + those.ru_utime, own.ru_stime + those.ru_stime)


def wait(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            sys.exit("the kernel's set never had what the feeds say")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
