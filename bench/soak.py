"""24 h of traffic of a host compressed into minutes: what the controller holds, and what its store grows by.

    python bench/soak.py [--vms 200] [--hours 24] [--step 150]

A scripted sensor gives the controller reports as the taps would, one for each step of event time (s): web traffic, DNS
with addresses that rotate, now and then a name that was never asked before, a listed peer or a scan, VMs that leave and
come.  The store is SQLite on disk, the enforcer a plan.  Printed each hour: resident memory (MiB), the store's size
(MiB), how many answers, names, findings and terms are held, and the size of all personas and memories as stored.
Target: memory flat, which here means that the last quarter's mean is at most 10 % above that of the second quarter.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

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

START = 1_800_000_000 * SECOND // WINDOW * WINDOW
HOUR = 3600 * SECOND
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


def vm_of(i: int) -> Vm:
    return Vm(vm_id(f"vm-{i}"), (f"10.77.{i // 200}.{i % 200 + 11}/16",), interface=f"tap{i}")


class Script:
    """A live sensor that makes up what its VMs do; the same every time."""

    def __init__(self, count: int, step: int) -> None:
        self.taps: dict[str, VmId] = {}
        self.at, self._step = START, step * SECOND
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
                flows.append(self._flow(i))
                if self._random.random() < 0.5:
                    said.append(self._answer(i))
        return Report(batch(_table(flows, FLOW_SCHEMA), _table(said, TRANSACTION_SCHEMA), Counter()), _none(), self.at)

    def _flow(self, i: int) -> dict[str, object]:
        self._uid += 1
        chance, own = self._random.random(), str(vm_of(i).addresses[0]).split("/")[0]
        peer, port, answered = f"192.0.2.{self._random.randrange(1, 60)}", 443, True
        if chance < 0.0005:
            peer = self._random.choice(LISTED)
        elif chance < 0.01:
            peer, port = f"203.0.{self._random.randrange(256)}.{self._random.randrange(1, 255)}", 8080
        elif chance < 0.011:
            port, answered = self._random.randrange(1, 60000), False
        return {
            "start": self.at - self._random.randrange(self._step // 2),
            "duration": SECOND,
            "transport": "tcp",
            "originator": own,
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
        elif chance < 0.4:
            name = f"x{self._uid}.once.example"
        address = f"100.{self._random.randrange(64, 128)}.{self._random.randrange(256)}.{self._random.randrange(256)}"
        return {
            "start": self.at,
            "transport": "udp",
            "originator": str(vm_of(i).addresses[0]).split("/")[0],
            "responder": "10.77.0.1",
            "responder_port": 53,
            "kind": "dns",
            "name": name,
            "status": "NOERROR",
            "answers": [address],
            "ttl": self._random.choice((5, 60, 300, 3600)),
            "source": f"tap{i}",
        }


def _none() -> pl.DataFrame:
    return pl.DataFrame(schema=TRANSACTION_SCHEMA)


def _table(rows: list[dict[str, object]], schema: dict[str, Any]) -> pl.DataFrame:
    if not rows:
        return pl.DataFrame(schema=schema)
    return conform(pl.DataFrame(rows, schema={name: schema[name] for name in rows[0]}), schema)


class Vms:
    """An inventory of which one VM in fifty leaves each hour, and comes back with the next."""

    def __init__(self, count: int, sensor: Script) -> None:
        self._count, self._sensor = count, sensor

    def vms(self) -> list[Vm]:
        """Those of this hour."""
        hour = (self._sensor.at - START) // HOUR
        return [vm_of(i) for i in range(self._count) if i % 50 != hour % 50]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=200)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--step", type=int, default=150, help="s of event time for each turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="netpersona-soak-") as folder:
        soak(Path(folder), options)


def soak(folder: Path, options: argparse.Namespace) -> None:
    (folder / "bad.txt").write_text("\n".join(LISTED) + "\n")
    sensor = Script(options.vms, options.step)
    feed = FileFeed(folder / "bad.txt", FeedSettings("bad", 0.9, allow=("documentation",)))
    store = open_store(str(folder / "soak.db"))
    parts = Parts(Vms(options.vms, sensor), sensor, store, Plan(), LiveIndicators([feed]), policy_files.parsed, WINDOW)
    controller = Controller(parts, {"p.yaml": POLICIES}, START)
    began, held = time.perf_counter(), []
    for hour in range(1, options.hours + 1):
        while sensor.at < START + hour * HOUR:
            controller.turn()
            held.append(resident())
        ill = [f"{part.name}: {part.says}" for part in controller.health().parts if not part.well]
        spent = time.perf_counter() - began
        size = (folder / "soak.db").stat().st_size / 2**20
        print(
            f"{hour:3} h {held[-1]:6.1f} MiB, store {size:5.1f} MiB, {spent:5.1f} s, {holds(controller)}",
            *ill,
            flush=True,
        )
    controller.stop()
    controller.run()  # no more turn: the last checkpoint
    quarters = [statistics.mean(held[len(held) * q // 4 : len(held) * (q + 1) // 4]) for q in range(4)]
    growth = quarters[3] / quarters[1] - 1
    said = ", ".join(f"{each:.1f}" for each in quarters)
    spent = time.perf_counter() - began
    places = f"start {held[0]:.1f}, middle {held[len(held) // 2]:.1f}, end {held[-1]:.1f} MiB"
    print(f"soak        {options.hours} h of {options.vms} VMs in {spent:.0f} s; means of the quarters {said} MiB")
    print(f"soak        {places}: the last quarter's mean is {growth:+.1%} of the second's (at most +10 %)")


def resident() -> float:
    """MiB that the process has in memory."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096 / 2**20


def holds(controller: Controller) -> str:
    """How much of each kind is remembered."""
    judge, rules = controller.loop.judge, controller.loop.enforcing.rules
    answers = sum(len(known) for names in rules.answers.values() for known in names.values())
    names = sum(len(known) for found in judge.names.values() for known in found.values())
    parts = {
        "answers": answers,
        "names": names,
        "raised": len(judge._raised),  # noqa: SLF001
        "began": len(rules.began),
        "stopped": len(judge.stopped._verdicts),  # noqa: SLF001
        "states": len(judge.closed.states),
        "KiB": sum(map(_size, judge.closed.states.values())) // 1024,
    }
    return " ".join(f"{name} {count}" for name, count in parts.items())


def _size(state: VmState) -> int:
    """Bytes of a persona and its memory as they are stored: at most 8 and 64 KiB."""
    return len(encode(state.persona)) + len(encode(state.memory))


if __name__ == "__main__":
    main()
