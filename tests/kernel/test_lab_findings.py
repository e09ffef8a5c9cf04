"""What the lab's attacks look like to the detectors: each, captured at its tap, is found for what it is.

The beacon is not among them: a rhythm is none before 45 seconds of it.
"""

import contextlib
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from kernel.lab_net import Tap, lab, needs_lab, running
from netpersona.app.lab.layout import CONTROL, DESKTOP, DROP, RESOLVER, WEB

SO_TIMESTAMPNS = 35
ATTACKS = {
    "callback": [],
    "scan": [],
    "brute-force": ["--every", "0.01"],
    "dns-tunnel": ["--every", "0.01"],
    "exfiltration": ["--every", "0.02"],
    "lateral-movement": [],
}
FOUND = {
    ("intel_match", CONTROL.v4),
    ("intel_match", CONTROL.v6),
    ("scan_vertical", WEB.v4),
    ("scan_vertical", WEB.v6),
    ("brute_force", WEB.v4),
    ("brute_force", WEB.v6),
    ("dns_tunnel", RESOLVER.v4),
    ("dns_tunnel", RESOLVER.v6),
    ("exfiltration", DROP.v4),
    ("lateral_movement", WEB.v4),
}


def passed(wire: socket.socket) -> Iterator[tuple[int, bytes]]:
    """All frames that wait at a socket, with the nanosecond at which the kernel saw each."""
    with contextlib.suppress(BlockingIOError):
        while True:
            frame, said, _, _ = wire.recvmsg(1 << 17, 64)
            second, rest = struct.unpack("qq", said[0][2])
            yield second * 1_000_000_000 + rest, frame


def write(path: Path, frames: list[tuple[int, bytes]]) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 18, 1))
        for at, frame in frames:
            file.write(struct.pack("<IIII", *divmod(at, 1_000_000_000), len(frame), len(frame)) + frame)


@needs_lab
def test_each_attack_is_found_for_what_it_is(tmp_path: Path) -> None:
    frames: list[tuple[int, bytes]] = []
    with running("test-findings") as home:
        wire = Tap(home, DESKTOP.tap).wire
        wire.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        for name, words in ATTACKS.items():
            lab("attack", name, "--name", home.name, *words)
            frames += passed(wire)
        write(tmp_path / "tap.pcap", frames)
        words = ["replay", str(tmp_path / "tap.pcap"), "--config", str(home.path / "netpersona.yaml")]
        done = subprocess.run(
            [sys.executable, "-m", "netpersona", *words, "--store", str(tmp_path / "store.db"), "-o", "json"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    findings = [f for f in json.loads(done.stdout)["findings"] if f["vm"] == DESKTOP.name]
    found = {(f["kind"], peer) for f in findings for peer in (f["peer"], *f.get("peers", []))}
    assert found >= FOUND
    assert any(f["kind"] == "scan_horizontal" for f in findings)
