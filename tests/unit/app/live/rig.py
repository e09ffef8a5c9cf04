"""A controller on a script: taps that say what the test wrote, a plan for a kernel, a store in memory."""

from __future__ import annotations

import time
from collections import Counter

import polars as pl

from live_policies import LOW_REPUTATION, RISKY  # noqa: F401 - the tests on this rig take them from it
from netpersona.adapters.enforcers.plan import Plan
from netpersona.adapters.feeds.file import FileFeed
from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.adapters.stores.memory import MemoryStore
from netpersona.app import policies as policy_files
from netpersona.app.live.controller import Controller
from netpersona.app.live.indicators import LiveIndicators
from netpersona.app.live.parts import Parts
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA, batch, conform
from netpersona.flow.vm import Vm, vm_id
from netpersona.flow.window import SECOND, WINDOW
from netpersona.intel.feed import FeedSettings
from netpersona.policy.model import Direction
from netpersona.ruleset.verdict import Packet, verdict

START = 1_800_000_000 * SECOND // WINDOW * WINDOW
WEB = Vm(vm_id("web-1"), ("10.77.0.11/24",), interface="tap-web-1", labels={"role": "web"})
DESK = Vm(vm_id("desk-1"), ("10.77.0.21/24",), interface="tap-desk-1", labels={"role": "desktop"})
LISTED, FINE = "203.0.113.66", "192.0.2.10"


class Script:
    """A live sensor that says what it was told to say."""

    def __init__(self) -> None:
        self.taps = {}
        self.at = START
        self.uid = 0
        self.flows, self.said = [], []
        self.error = None

    def add(self, interface, vm):
        self.taps[interface] = vm

    def remove(self, interface):
        self.taps.pop(interface, None)

    def flow(self, tap, originator, responder, port, **more):
        """One answered TCP flow now."""
        self.uid += 1
        row = {
            "start": self.at,
            "duration": SECOND,
            "transport": "tcp",
            "originator": originator,
            "originator_port": 40000,
        }
        row |= {
            "responder": responder,
            "responder_port": port,
            "bytes_orig": 900,
            "bytes_resp": 4000,
            "packets_orig": 8,
        }
        row |= {"packets_resp": 8, "state": "SF", "uid": f"u{self.uid}", "part": 0, "sensor": "script", "source": tap}
        self.flows.append(row | more)

    def answer(self, tap, vm, name, addresses, ttl=30):
        """A DNS answer now."""
        row = {"start": self.at, "transport": "udp", "originator": vm, "responder": "10.77.0.1", "responder_port": 53}
        self.said.append(
            row | {"kind": "dns", "name": name, "status": "NOERROR", "answers": addresses, "ttl": ttl, "source": tap}
        )

    def poll(self, seconds):
        if self.error is not None:
            raise self.error
        self.at += int(seconds * SECOND)
        time.sleep(0.002)  # so that others get their turn
        flows, said = table(self.flows, FLOW_SCHEMA), table(self.said, TRANSACTION_SCHEMA)
        self.flows, self.said = [], []
        return Report(batch(flows, said, Counter()), said.clear(), self.at)


def table(rows, schema):
    return (
        conform(pl.DataFrame(rows, schema={k: schema[k] for k in rows[0]}), schema)
        if rows
        else pl.DataFrame(schema=schema)
    )


class Vms:
    """An inventory that the test changes."""

    def __init__(self, *vms):
        self.known, self.error = list(vms), None

    def vms(self):
        if self.error is not None:
            raise self.error
        return list(self.known)


class Rig:
    """Everything, at hand."""

    def __init__(self, tmp_path, *texts, store=None, enforcer=None, at=START, **parts):
        self.feed = tmp_path / "bad.txt"
        if not self.feed.exists():
            self.feed.write_text(f"{LISTED}\n")
        self.sensor, self.inventory = Script(), Vms(WEB, DESK)
        self.sensor.at = at
        self.store = MemoryStore() if store is None else store
        self.enforcer = Plan() if enforcer is None else enforcer
        settings = FeedSettings("bad", 0.9, allow=("documentation",))
        self.parts = Parts(
            inventory=self.inventory,
            sensor=self.sensor,
            store=self.store,
            enforcer=self.enforcer,
            indicators=LiveIndicators([FileFeed(self.feed, settings)]),
            policies=policy_files.parsed,
            window=WINDOW,
            **parts,
        )
        self.controller = Controller(self.parts, {f"{i}.yaml": text for i, text in enumerate(texts)}, at)

    def turns(self, count=1):
        """Turns, after which nothing is being written."""
        for _ in range(count):
            self.controller.turn()
            self.controller.loop.saving.finish()

    def until(self, condition):
        """Turns until it holds; what is worked out beside takes its time."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "it never came to be so"
            self.controller.turn()

    def ask(self, call):
        """What another thread is answered, while turns go on."""
        from threading import Thread

        got = []
        asking = Thread(target=lambda: got.append(outcome(call)))
        asking.start()
        while asking.is_alive():
            self.controller.turn()
        kind, value = got[0]
        if kind == "raised":
            raise value
        return value


def passes(rig, vm, peer, port=443):
    """Whether the rules in force let a packet of the VM out."""
    return verdict(rig.enforcer.in_force(), Packet(vm.name, Direction.OUTBOUND, peer, "tcp", port)).passes


def part(rig, name):
    """How a part of the controller is."""
    return next((p for p in rig.ask(rig.controller.health).parts if p.name == name), None)


def infect(rig):
    """DESK talks to what is listed, and is judged."""
    for port in (443, 8443, 4444):
        rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, port)
    rig.turns()


def outcome(call):
    try:
        return "gave", call()
    except Exception as error:  # noqa: BLE001
        return "raised", error
