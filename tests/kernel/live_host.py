"""A host of its own with two VMs and an outside, `netpersona up` on it as a process, and traffic that is counted.

A (10.77.0.11) --- tap-a HOST uplink --- OUT (GOOD, BAD, OTHER)
B (10.77.0.12) --- tap-b
"""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from kernel.private_net import inside, namespaces, own, run, socket_in
from live_policies import LOW_REPUTATION, RISKY
from netpersona.adapters.enforcers.nftables import revert
from netpersona.app import client
from netpersona.app.client import Controller
from netpersona.errors import NetpersonaError
from waiting import until

client._SOON = 120.0  # s: the machine may be busy
A, B, HOST, OUT = own("lf-a"), own("lf-b"), own("lf-host"), own("lf-out")
_SO_RCVBUFFORCE = 33
_WITH_US = ("setpriv", "--pdeathsig", "KILL")  # it ends with the tests, though they are killed
OWN = {A: "10.77.0.11", B: "10.77.0.12"}
TAPS = {A: "tap-a", B: "tap-b", OUT: "uplink"}
GOOD, BAD, OTHER = "203.0.113.8", "203.0.113.7", "203.0.113.9"
INVENTORY = "vms:\n" + "".join(
    f"  - {{name: {name[-1]}, interface: {TAPS[name]}, addresses: [{address}/24]}}\n" for name, address in OWN.items()
)
ENFORCED = {"listed.yaml": LOW_REPUTATION, "risky.yaml": RISKY}
CONFIG = """
store: {store}
inventory: vms.yaml
feeds: [{{file: bad.txt, name: bad, confidence: 0.95, allow: [documentation]}}]
policies: [policies/]
api: {{socket: api.sock}}
"""


@contextmanager
def net() -> Iterator[None]:
    with namespaces(A, B, HOST, OUT):
        run("ip", "-n", HOST, "link", "set", "lo", "up")
        for name in TAPS:
            attach(name)
        run("ip", "netns", "exec", HOST, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield


def attach(name: str) -> None:
    tap = TAPS[name]
    run("ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", tap, "netns", HOST)
    run("ip", "-n", HOST, "link", "set", tap, "up")
    for setting in (f"conf.{tap}.proxy_arp=1", f"neigh.{tap}.proxy_delay=0"):
        run("ip", "netns", "exec", HOST, "sysctl", "-qw", f"net.ipv4.{setting}")
    run("ip", "-n", name, "link", "set", "eth0", "up")
    for address in (OWN[name],) if name in OWN else (GOOD, BAD, OTHER):
        run("ip", "-n", name, "address", "add", f"{address}/32", "dev", "eth0")
        run("ip", "-n", HOST, "route", "add", f"{address}/32", "dev", tap)
    run("ip", "-n", name, "route", "add", "default", "dev", "eth0")


def detach(name: str) -> None:
    run("ip", "-n", HOST, "link", "del", TAPS[name])


def nft(*words: str) -> str:
    whole = ["ip", "netns", "exec", HOST, "nft", *words]
    return subprocess.run(whole, capture_output=True, text=True, check=True).stdout


def rules() -> str:
    """The rules in the kernel in an order of their own, without what was counted and which flows were told of."""
    text = re.sub(r"counter packets \d+ bytes \d+", "counter", nft("list", "ruleset"))
    text = re.sub(r"(flags dynamic[a-z,]*\n)\s*elements = \{[^}]*\}\n", r"\1", text)
    text = re.sub(
        r"\{([^{}]*)\}", lambda found: "{" + ",".join(sorted(found[1].replace("\n", " ").split(","))) + "}", text
    )
    return "\n".join(sorted(line.strip() for line in text.splitlines()))


def rule_of(comment: str) -> tuple[str, str]:
    """The chain in which a rule with this comment stands, the first one, and its handle."""
    chain = ""
    for line in nft("-a", "list", "table", "inet", "netpersona").splitlines():
        begins = re.match(r"\s*chain (\S+) \{", line)
        chain = begins[1] if begins else chain
        if f'comment "{comment}' in line:
            return chain, line.split()[-1]
    raise AssertionError(f"no rule has the comment {comment}")


class Up:
    """`netpersona up` in the host, again and again over one store."""

    def __init__(self, folder: Path, store: str = "netpersona.db", before: tuple[str, ...] = ()) -> None:
        self.folder, self._before = folder, before
        self.socket, self.log = folder / "api.sock", folder / "log"
        self.inventory, self.feed = folder / "vms.yaml", folder / "bad.txt"
        (folder / "policies").mkdir()
        for name, text in ENFORCED.items():
            (folder / "policies" / name).write_text(text)
        self.inventory.write_text(INVENTORY)
        self.feed.write_text(f"{BAD}\n")
        (folder / "netpersona.yaml").write_text(CONFIG.format(store=store))
        self.process: subprocess.Popen[bytes] | None = None
        self.ask = Controller(self.socket)

    def start(self) -> None:
        words = ["-P", "-m", "netpersona", "up", "--config", str(self.folder / "netpersona.yaml")]
        with self.log.open("ab") as said, inside(HOST):
            self.process = subprocess.Popen(
                [*_WITH_US, *self._before, sys.executable, *words], stdout=said, stderr=said
            )

    def ready(self) -> Up:
        """Wait until its rules are in the kernel."""
        until(self._is_ready, "the controller is up", within=300.0)
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def close(self) -> None:
        """Nothing of it stays: neither the process nor a revert that it armed."""
        if self.process is not None:
            self.kill()
        revert.confirm(self.socket.with_name(f"{self.socket.name}.revert"))

    def part(self, name: str) -> dict[str, Any]:
        """What status shows of a part."""
        found = [part for part in self.ask.health()["parts"] if part["name"] == name]
        return found[0] if found else {"well": None, "says": "", "failures": 0}

    def risk(self, vm: str) -> float:
        return float(self.ask.personas([vm])[0]["risk_score"])

    def told(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What the command line says."""
        whole = [sys.executable, "-P", "-m", "netpersona", *words, "--socket", str(self.socket)]
        return subprocess.run(whole, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self.part("enforcer")["well"])
        except NetpersonaError:
            return False


@contextmanager
def up(folder: Path, **more: Any) -> Iterator[Up]:
    running = Up(folder, **more)
    try:
        running.start()
        yield running.ready()
    finally:
        running.close()


class Datagrams:
    """Numbered datagrams of a VM to a peer, each once, as long as the block lasts."""

    def __init__(self, vm: str, peer: str, port: int, every: float = 0.004) -> None:
        self._every, self.got, self.sent = every, set[int](), 0
        self._over = threading.Event()
        self._in = socket_in(OUT, socket.AF_INET, socket.SOCK_DGRAM)
        self._in.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 24)
        self._in.bind((peer, port))
        self._in.settimeout(0.2)
        self._out = socket_in(vm, socket.AF_INET, socket.SOCK_DGRAM)
        self._out.bind((OWN[vm], 0))
        self._out.connect((peer, port))
        self._threads = [threading.Thread(target=each) for each in (self._send, self._receive)]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, after what is under way."""
        self._over.set()
        for each in self._threads:
            each.join()
        self._in.close()
        self._out.close()

    @property
    def lost(self) -> int:
        """How many never arrived; of all that were sent, once it is over."""
        return self.sent - len(self.got)

    def stands(self) -> bool:
        """Whether of what is sent now nothing arrives."""
        sent, got = self.sent, len(self.got)
        time.sleep(0.3)
        return self.sent > sent and len(self.got) == got

    def _send(self) -> None:
        while not self._over.is_set():
            try:
                self._out.send(struct.pack("!I", self.sent))
                self.sent += 1
            except OSError:
                time.sleep(0.05)  # a VM without an interface
            time.sleep(self._every)

    def _receive(self) -> None:
        while True:
            try:
                self.got.add(struct.unpack("!I", self._in.recv(64))[0])
            except TimeoutError:
                if self._over.is_set():
                    return


class Stream:
    """A TCP connection of a VM that sends and is answered without end."""

    def __init__(self, vm: str, peer: str, port: int) -> None:
        listening = socket_in(OUT, socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((peer, port))
        listening.listen()
        self._client = socket_in(vm, socket.AF_INET, socket.SOCK_STREAM)
        self._client.settimeout(20)
        self._client.connect((peer, port))
        self._server, _ = listening.accept()
        self._server.settimeout(20)
        listening.close()
        self.rounds = 0
        self.error: OSError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()
        self._server.close()

    def _run(self) -> None:
        try:
            while not self._over.wait(0.01):
                self._client.sendall(b"x" * 4000)
                left = 4000
                while left:
                    left -= len(self._server.recv(left))
                self._server.sendall(b"y")
                self._client.recv(1)
                self.rounds += 1
        except OSError as error:
            self.error = error


def reaches(vm: str, peer: str) -> bool:
    """Whether one of ten datagrams arrives."""
    with Datagrams(vm, peer, 9009, every=0.02) as sent:
        until(lambda: sent.got or sent.sent >= 10, "ten are sent")
    return bool(sent.got)


def infect(vm: str, ports: tuple[int, ...] = (443, 8443, 4444)) -> None:
    """The VM gets answers of what is listed: from before it was listed, or where no rule denies it."""
    for port in ports:
        listening = socket_in(OUT, socket.AF_INET, socket.SOCK_STREAM)
        client = socket_in(vm, socket.AF_INET, socket.SOCK_STREAM)
        with listening, client:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((OTHER, port))
            listening.listen()
            client.settimeout(20)
            client.connect((OTHER, port))
            served, _ = listening.accept()
            with served:
                client.sendall(b"x" * 500)
                served.recv(500)
                served.sendall(b"y" * 3000)
                client.recv(3000)
