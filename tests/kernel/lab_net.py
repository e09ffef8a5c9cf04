"""A lab that runs, its taps, and what passed at them; and that nothing of it stays."""

import contextlib
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest

from netpersona.app.lab import kernel, layout
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.home import Home
from netpersona.app.lab.keeper import check_rights
from netpersona.app.lab.layout import DESKTOP, Machine
from waiting import until

ETH_P_ALL, SO_RCVBUFFORCE = 3, 33
TCP, UDP, ARP = 6, 17, 0x0806
SYN, ACK = 2, 16


def why_not() -> str | None:
    """Why no lab can be made here; None: it can."""
    try:
        check_rights()
    except LabError as error:
        return str(error)
    tried = subprocess.run(["unshare", "-nmp", "--fork", "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no namespaces can be made: {tried.stderr.strip()}"


WHY_NOT = why_not()
needs_lab = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


def lab(*words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "netpersona", "lab", *words], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == code, f"lab {' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout if code == 0 else done.stderr


class Frame(NamedTuple):
    """What a test asks of a packet."""

    mac: str
    source: str
    peer: str
    protocol: int
    port: int
    flags: int  # of TCP, SYN and ACK
    payload: bytes


def read(raw: bytes) -> Frame | None:
    mac = raw[6:12].hex(":")
    if raw[12:14] == b"\x08\x00":
        source, peer, protocol, at = raw[26:30], raw[30:34], raw[23], 14 + (raw[14] & 15) * 4
    elif raw[12:14] == b"\x86\xdd":
        source, peer, protocol, at = raw[22:38], raw[38:54], raw[20], 54
    elif raw[12:14] == b"\x08\x06":
        return Frame(mac, str(ip_address(raw[28:32])), str(ip_address(raw[38:42])), ARP, 0, 0, b"")
    else:
        return None
    port = struct.unpack_from("!H", raw, at + 2)[0] if protocol in (TCP, UDP) else 0
    flags = raw[at + 13] & (SYN | ACK) if protocol == TCP else 0
    body = at + (raw[at + 12] >> 4) * 4 if protocol == TCP else at + 8
    return Frame(mac, str(ip_address(source)), str(ip_address(peer)), protocol, port, flags, raw[body:])


class Tap:
    """Listens at an interface of the hypervisor."""

    def __init__(self, home: Home, interface: str) -> None:
        state = home.state()
        path = Path(f"/proc/{state.supervisor}/fd/{state.namespaces[layout.HYPERVISOR]['net']}")
        with Path("/proc/thread-self/ns/net").open() as ours, path.open() as there:
            kernel.setns(there.fileno(), kernel.NEWNET)
            try:
                self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            finally:
                kernel.setns(ours.fileno(), kernel.NEWNET)
        self.wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self.wire.bind((interface, 0))
        self.wire.settimeout(0)
        self.seen: list[Frame] = []

    def frames(self) -> list[Frame]:
        """All that passed since it began to listen."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = read(self.wire.recv(1 << 17))
                if frame is not None:
                    self.seen.append(frame)
        return self.seen


@contextlib.contextmanager
def running(name: str, *words: str) -> Iterator[Home]:
    home = Home(name)
    lab("up", "--detach", "--name", name, "--pace", "5", *words)
    try:
        yield home
    finally:
        lab("down", "--name", name)


def counted(home: Home, program: str) -> dict[str, int]:
    path = home.path / "counts" / f"{program}.json"
    return json.loads(path.read_text()) if path.exists() else {"asked": 0, "answered": 0, "failed": 0}


def opened(frames: list[Frame], vm: Machine) -> list[Frame]:
    """The connections that a VM asked for."""
    return [f for f in frames if f.flags == SYN and f.source in (vm.v4, vm.v6)]


def attack(home: Home, name: str, *words: str) -> tuple[dict, list[Frame]]:
    """What an attack of desktop-1 says of itself, and what passed its tap meanwhile."""
    tap = Tap(home, DESKTOP.tap)
    said = json.loads(lab("attack", name, "--name", home.name, "-o", "json", *words))
    return said, tap.frames()


def both(peer: layout.Peer | Machine) -> set[str]:
    return {peer.v4, peer.v6}


def host() -> dict[str, str]:
    """What of the host a lab could have changed."""
    shown = {
        " ".join(words): subprocess.run(words, capture_output=True, text=True, check=False).stdout
        for words in (
            ("ip", "-o", "link"),
            ("ip", "-o", "address"),
            ("ip", "route", "show", "table", "all"),
            ("ip", "-6", "route", "show", "table", "all"),
            ("ip", "rule"),
            ("nft", "list", "tables"),
        )
    }
    files = [*Path("/etc").glob("*.conf"), Path("/etc/hosts"), *Path("/proc/sys/net/ipv4").glob("ip_*")]
    shown |= {str(path): path.read_text(errors="replace") for path in sorted(files) if path.is_file()}
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    names = sorted(path.name for path in Path("/etc").iterdir())
    return {**shown, "mounts": "\n".join(line for line in mounts if "np-lab" in line), "/etc": " ".join(names)}


def processes(home: Home) -> set[int]:
    """Every process of a running lab, as the host counts them: those inside, the keeper, the sweeper."""
    supervisor = home.state().supervisor
    inside = Path(f"/proc/{supervisor}/ns/pid").stat().st_ino
    keeper = parent(supervisor)
    found = {keeper}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "ns/pid").stat().st_ino == inside or parent(int(process.name)) == keeper:
                found.add(int(process.name))
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def living(pids: set[int]) -> set[int]:
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.add(pid)
    return found


def network_namespaces() -> set[int]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.add((process / "ns/net").stat().st_ino)
    return found


@contextlib.contextmanager
def nothing_stays(name: str, *words: str) -> Iterator[Home]:
    """A lab, up; whatever ends it, nothing of it is there a moment later, and the host is as it was throughout."""
    before, home = host(), Home(name)
    lab("up", "--detach", "--name", name, *words)
    try:
        state, pids = home.state(), processes(home)
        assert len(pids) > 15
        assert host() == before
        yield home
    except BaseException:
        lab("down", "--name", name)
        raise
    until(lambda: not living(pids), "its processes ended")
    until(lambda: not home.path.exists(), "its folder is gone")
    until(lambda: not network_namespaces() & set(state.inodes.values()), "its namespaces are gone")
    assert host() == before
