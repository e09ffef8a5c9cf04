"""24 h of traffic of a host compressed into minutes: what the controller holds, and what its store grows by.

    python bench/soak.py [--vms 200] [--hours 24] [--step 150] [--flows 10] [--warm 6]

A scripted sensor gives the controller reports as the taps would, one for each step of event time (s): web traffic, DNS
with addresses that rotate, now and then a name that was never asked before, a stranger, a listed peer or a scan.  Each
hour one VM in fifty is another one, which never comes back.  What is learned of a VM is bounded; the traffic is dense
enough to fill it within the warm-up (h).  The store is SQLite on disk, the enforcer a plan.  What is gone or past is
kept for hours instead of months, so that a day shows whether it goes.

Printed each hour: resident memory (MiB, the median of the hour's turns), the store's size (MiB), how many answers,
names, findings and states are held, and the size of all personas and memories as stored.  In the end a line is fitted
to the hours after the warm-up by least squares, with its interval at 95 %, for which hours that are like the ones
before count less.  Flat: the interval reaches down to zero, and so far up only as FLAT allows, in MiB an hour; else the
memory grows, or too much noise hides whether it does.  Exit code 1: not flat.

What polars frees stays resident for a moment, unless ALLOCATOR says otherwise; so a machine that gets faster meanwhile
seems to hold more: 11 MiB for each turn in a second (36 h, 200 VMs, the hours' medians, r = 0.90).  With an empty
variable, `_RJEM_MALLOC_CONF= python bench/soak.py`, the bench tells what `up` has: some 6 MiB more, up and down.

Measured on two busy cores, 36 h.  100 VMs: 201.0 MiB at 6 h, 204.4 at 12 h, 205.2 at 36 h; +0.07 MiB/h (-0.02 to +0.16)
from 6 h on, +0.015 (-0.015 to +0.044) from 12 h on.  200 VMs, the variable empty: 232.8, 235.4 and 235.0 MiB, and
+0.13 (+0.01 to +0.25) as the machine got faster; +0.06 (+0.03 to +0.09) with the turns in a second fitted beside.
Python's objects took 84.2 MiB at 12 h and 84.7 at 24 h, the C library's heap 36.4 and 36.1 (200 VMs).  The last table
to be full, after 12 h, is that of the names that `why` knows: a name that is asked seldom is cut when it is asked.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from netpersona.adapters.enforcers.plan import Plan
from netpersona.adapters.feeds.file import FileFeed
from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.adapters.stores import open_store
from netpersona.app import policies as policy_files
from netpersona.app.live.controller import Controller
from netpersona.app.live.indicators import LiveIndicators
from netpersona.app.live.parts import Parts
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA, batch, conform
from netpersona.flow.vm import Vm, VmId, vm_id
from netpersona.flow.window import SECOND, WINDOW
from netpersona.intel.feed import FeedSettings
from netpersona.persona.codec import encode
from netpersona.persona.state import VmState
from netpersona.ports import Keep

START = 1_800_000_000 * SECOND // WINDOW * WINDOW
HOUR = 3600 * SECOND
FLAT = 0.25  # MiB an hour: 6 MiB a day
ALLOCATOR = "_RJEM_MALLOC_CONF", "dirty_decay_ms:0"  # of polars, read when it is imported
KEEP = Keep(gone=2 * HOUR, past=4 * HOUR)
SITES, OTHERS = 40, 0.4  # web servers that all VMs call; how often a step of a VM has a stranger
LISTED = [f"198.51.100.{i}" for i in range(1, 40)]
POLICIES = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: low-reputation}
spec:
  mode: enforce
  order: 100
  rules: [{name: listed, direction: outbound, peers: {reputation_below: 0.5}, action: deny, existing: cut}]
---
apiVersion: netpersona/v1
kind: Policy
metadata: {name: names}
spec:
  mode: enforce
  order: 90
  rules: [{name: pools, direction: outbound, peers: {domains: [pool.example]}, action: deny}]
---
apiVersion: netpersona/v1
kind: Policy
metadata: {name: risky}
spec:
  mode: enforce
  order: 50
  rules: [{name: nothing-out, when: persona.risk_score > 0.6, direction: outbound, action: deny, for: 30m}]
"""


def vm_of(i: int, hour: int) -> Vm:
    """The VM in this place: one in fifty is another one in each hour."""
    name = f"guest-{hour}-{i}" if i % 50 == hour % 50 else f"vm-{i}"
    return Vm(vm_id(name), (f"10.77.{i // 200}.{i % 200 + 11}/16",), interface=f"tap{i}")


class Script:
    """A live sensor that makes up what its VMs do; the same every time."""

    def __init__(self, count: int, step: int, flows: int) -> None:
        self.taps: dict[str, VmId] = {}
        self.at, self._step, self._flows = START, step * SECOND, flows
        self._count, self._uid = count, 0
        self._random = random.Random(1)  # the same every time

    def add(self, interface: str, vm: VmId) -> None:
        """Watch it."""
        self.taps[interface] = vm

    def remove(self, interface: str) -> None:
        """Watch it no longer."""
        self.taps.pop(interface, None)

    def poll(self, seconds: float) -> Report:
        """What the VMs did in one step, however short the time."""
        if seconds:
            self.at += self._step
        flows, said = [], []
        chosen = min(self._count, self._count * self._step // (100 * SECOND))
        for i in self._random.sample(range(self._count), max(1, chosen)):
            if f"tap{i}" in self.taps:
                flows += [self._other(i), *(self._flow(i, f"192.0.2.{site}") for site in self._sites())]
                said.append(self._answer(i))
        return Report(batch(_table(flows, FLOW_SCHEMA), _table(said, TRANSACTION_SCHEMA), Counter()), _none(), self.at)

    def _sites(self) -> list[int]:
        return self._random.choices(range(1, SITES + 1), k=self._flows - 1)

    def _other(self, i: int) -> dict[str, object]:
        """A flow to a listed peer, a stranger, or a port that does not answer; mostly one as all the others."""
        chance = self._random.random()
        if chance < 0.0005:
            return self._flow(i, self._random.choice(LISTED))
        if chance < 0.001:
            return self._flow(i, "192.0.2.1", self._random.randrange(1, 60000), answered=False)
        if chance < OTHERS:
            return self._flow(i, f"203.0.{self._random.randrange(256)}.{self._random.randrange(1, 255)}", 8080)
        return self._flow(i, "192.0.2.1")

    def _flow(self, i: int, peer: str, port: int = 443, *, answered: bool = True) -> dict[str, object]:
        self._uid += 1
        return {
            "start": self.at - self._random.randrange(self._step // 2),
            "duration": SECOND,
            "transport": "tcp",
            "originator": _address(i),
            "originator_port": self._random.randrange(32768, 60000),
            "responder": peer,
            "responder_port": port,
            "bytes_orig": self._random.randrange(200, 4000),
            "bytes_resp": self._random.randrange(200, 90000) if answered else 0,
            "packets_orig": 8,
            "packets_resp": 8 if answered else 0,
            "state": "SF" if answered else "S0",
            "uid": f"u{self._uid}",
            "part": 0,
            "sensor": "script",
            "source": f"tap{i}",
        }

    def _answer(self, i: int) -> dict[str, object]:
        chance = self._random.random()
        name = f"site-{self._random.randrange(200)}.example"
        if chance < 0.3:
            name = "pool.example"
        elif chance < 0.5:
            name = f"x{self._uid}.once.example"
        address = f"100.{self._random.randrange(64, 128)}.{self._random.randrange(256)}.{self._random.randrange(256)}"
        return {
            "start": self.at,
            "transport": "udp",
            "originator": _address(i),
            "responder": "10.77.0.1",
            "responder_port": 53,
            "kind": "dns",
            "name": name,
            "status": "NOERROR",
            "answers": [address],
            "ttl": self._random.choice((5, 60, 300, 3600)),
            "source": f"tap{i}",
        }


def _address(i: int) -> str:
    return vm_of(i, 0).addresses[0].partition("/")[0]


def _none() -> pl.DataFrame:
    return pl.DataFrame(schema=TRANSACTION_SCHEMA)


def _table(rows: list[dict[str, object]], schema: dict[str, Any]) -> pl.DataFrame:
    if not rows:
        return pl.DataFrame(schema=schema)
    return conform(pl.DataFrame(rows, schema={name: schema[name] for name in rows[0]}), schema)


class Vms:
    """An inventory of which one VM in fifty is another one each hour."""

    def __init__(self, count: int, sensor: Script) -> None:
        self._count, self._sensor = count, sensor

    def vms(self) -> list[Vm]:
        """Those of this hour."""
        hour = (self._sensor.at - START) // HOUR
        return [vm_of(i, hour) for i in range(self._count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=200)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--step", type=int, default=150, help="s of event time for each turn")
    parser.add_argument("--flows", type=int, default=10, help="of each VM in a step")
    parser.add_argument("--warm", type=int, default=6, help="h that are not counted")
    options = parser.parse_args()
    if ALLOCATOR[0] not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], dict([*os.environ.items(), ALLOCATOR]))
    with tempfile.TemporaryDirectory(prefix="netpersona-soak-") as folder:
        began = time.perf_counter()
        held, stored = soak(Path(folder), options)
        spent = time.perf_counter() - began
    print(f"soak        {options.hours} h of {options.vms} VMs in {spent:.0f} s")
    flat = told("memory", held, options.warm)
    told("store", stored, options.warm)
    sys.exit(not flat)


def soak(folder: Path, options: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Resident memory and the size of the store, MiB, of each hour."""
    (folder / "bad.txt").write_text("\n".join(LISTED) + "\n")
    sensor = Script(options.vms, options.step, options.flows)
    feed = FileFeed(folder / "bad.txt", FeedSettings("bad", 0.9, allow=("documentation",)))
    store = open_store(str(folder / "soak.db"))
    vms, indicators = Vms(options.vms, sensor), LiveIndicators([feed])
    parts = Parts(vms, sensor, store, Plan(), indicators, policy_files.parsed, WINDOW, keep=KEEP)
    controller = Controller(parts, {"p.yaml": POLICIES}, START)
    began, held, stored = time.perf_counter(), [], []
    for hour in range(1, options.hours + 1):
        turns = []
        while sensor.at < START + hour * HOUR:
            controller.turn()
            turns.append(resident())
        held.append(statistics.median(turns))
        stored.append((folder / "soak.db").stat().st_size / 2**20)
        ill = [f"{part.name}: {part.says}" for part in controller.health().parts if not part.well]
        spent = time.perf_counter() - began
        said = f"{hour:3} h {held[-1]:6.1f} MiB, store {stored[-1]:5.1f} MiB, {spent:5.1f} s, {holds(controller)}"
        print(said, *ill, flush=True)
    controller.stop()
    controller.run()  # no more turn: the last checkpoint
    return held, stored


def resident() -> float:
    """MiB that the process has in memory."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096 / 2**20


class Slope(NamedTuple):
    """What a series grows by with each step, and the interval in which that lies at 95 %."""

    slope: float
    low: float
    high: float


def told(what: str, hours: Sequence[float], warm: int) -> bool:
    """Say how a series of hours goes on after the warm-up; whether it is flat."""
    if len(hours) < warm + 4:
        print(f"soak        {what}: too few hours after the warm-up to say whether it is flat")
        return False
    found = fitted(hours[warm:])
    flat = found.low <= 0.0 and found.high <= FLAT
    verdict = "flat" if flat else "grows" if found.low > 0.0 else "too noisy to say"
    at = ", ".join(f"{hours[hour - 1]:.1f} at {hour} h" for hour in (1, warm, 12, len(hours)) if hour <= len(hours))
    print(f"soak        {what}: {at} (MiB)")
    print(
        f"soak        {what}: from {warm} h on {found.slope:+.3f} MiB/h, 95 %: {found.low:+.3f} to {found.high:+.3f}"
        f" (flat: reaches zero, and at most {FLAT:+.2f}): {verdict}"
    )
    return flat


def fitted(values: Sequence[float]) -> Slope:
    """The line through the values, one for each step, by least squares.

    Of n values as many are counted for the interval as would tell as much if none were like the one before:
    n (1 - r) / (1 + r), where r is the correlation of neighbouring residuals, if positive (G. Bayley, J. Hammersley,
    JRSS Suppl. 8 (1946)).
    """
    count, times = len(values), range(len(values))
    slope, first = statistics.linear_regression(times, values)
    rest = [value - first - slope * at for at, value in zip(times, values, strict=True)]
    squares = math.fsum(each * each for each in rest)
    pairs = math.fsum(a * b for a, b in pairwise(rest))
    alike = max(0.0, pairs / squares) if squares > 0.0 else 0.0
    free = max(2.0, count * (1 - alike) / (1 + alike) - 2)
    around = math.fsum((at - (count - 1) / 2) ** 2 for at in times)
    margin = student(free) * math.sqrt(squares / free / around)
    return Slope(slope, slope - margin, slope + margin)


def student(free: float) -> float:
    """The two-sided 95 % quantile of Student's t (Abramowitz and Stegun 26.7.5)."""
    z = 1.959964
    return z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)


def holds(controller: Controller) -> str:
    """How much of each kind is remembered."""
    judge, rules = controller.loop.judge, controller.loop.enforcing.rules
    parts = {
        "answers": sum(len(known) for names in rules.answers.values() for known in names.values()),
        "names": sum(len(known) for found in judge.names.values() for known in found.values()),
        "findings": len(judge._raised),  # noqa: SLF001
        "states": len(judge.closed.states),
        "KiB": sum(map(_size, judge.closed.states.values())) // 1024,
    }
    return " ".join(f"{name} {count}" for name, count in parts.items())


def _size(state: VmState) -> int:
    """Bytes of a persona and its memory as they are stored: at most 8 and 64 KiB."""
    return len(encode(state.persona)) + len(encode(state.memory))


if __name__ == "__main__":
    main()
