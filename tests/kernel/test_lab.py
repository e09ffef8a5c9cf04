"""The lab is real on the wire, and leaves nothing behind: every packet here was counted at a tap."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest

from netpersona.adapters.inventories.yaml_file import YamlInventory
from netpersona.app import policies
from netpersona.app.config import read_config
from netpersona.app.lab import kernel, layout
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.guest import check as check_guest
from netpersona.app.lab.home import Home
from netpersona.app.lab.keeper import check_rights
from netpersona.app.lab.layout import CONTROL, DATABASE, DESKTOP, DROP, NEIGHBOUR, RENDEZVOUS, WEB, Machine

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
        [sys.executable, "-m", "netpersona", "lab", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, f"lab {' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout if code == 0 else done.stderr


def until(true: Callable[[], object], what: str, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


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


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with running("test") as home:
        yield home


@pytest.fixture(scope="module")
def bridged() -> Iterator[Home]:
    with running("test-bridged", "--bridged", "--own-programs") as home:
        yield home


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


# --- ordinary traffic


def everybody_talks(home: Home) -> None:
    desktop, web = Tap(home, DESKTOP.tap), Tap(home, WEB.tap)
    programs = ("browser-desktop-1", "browser-desktop-2", "visitors", "updates-web-1", "updates-database-1")
    until(lambda: all(counted(home, p)["answered"] >= 1 for p in programs), "everybody fetched something")
    until(lambda: {f.source for f in opened(desktop.frames(), DESKTOP)} == both(DESKTOP), "it browsed over both")
    visits = layout.OUTSIDE_RANGES[1].rpartition(".")[0], layout.OUTSIDE_RANGES6[1].partition("::")[0]
    until(
        lambda: all(
            any(f.flags == SYN and f.port == 80 and f.source.startswith(visit) for f in web.frames())
            for visit in visits
        ),
        "the web server has visitors of both families",
    )
    until(lambda: any(f.port == 5432 for f in opened(web.frames(), WEB)), "the web server asked the database")
    assert any(f.port == 53 and f.protocol == UDP and f.source == DESKTOP.v4 for f in desktop.frames())
    assert {p: counted(home, p)["failed"] for p in programs} == dict.fromkeys(programs, 0)


@needs_lab
def test_ordinary_traffic_flows_over_both_families_and_nothing_fails(home: Home) -> None:
    everybody_talks(home)


@needs_lab
def test_the_same_with_bridged_taps_and_none_but_the_labs_own_programs(bridged: Home) -> None:
    everybody_talks(bridged)
    links = json.loads(lab("run", "--name", bridged.name, "hypervisor", "--", "ip", "-j", "link", "show"))
    assert {link["ifname"] for link in links if link.get("master") == "br-vms"} == {vm.tap for vm in layout.VMS}


@needs_lab
def test_status_tells_what_runs(home: Home) -> None:
    said = next(one for one in json.loads(lab("status", "-o", "json")) if one["name"] == home.name)
    assert set(said["namespaces"]) == set(layout.MACHINES)
    assert len(set(said["namespaces"].values())) == len(layout.MACHINES)
    assert all(program["running"] for program in said["programs"])
    assert "browser-desktop-1 runs" in lab("status", "--name", home.name)


@needs_lab
def test_netpersona_finds_all_it_reads(home: Home) -> None:
    vms = {vm.name: vm for vm in YamlInventory(home.path / "vms.yaml").vms()}
    assert set(vms) == {vm.name for vm in layout.VMS}
    shown = json.loads(lab("run", "--name", home.name, "web-1", "--", "ip", "-j", "address", "show", "eth0"))[0]
    addresses = {f"{a['local']}/{a['prefixlen']}" for a in shown["addr_info"] if a["scope"] == "global"}
    assert (vms["web-1"].mac, set(vms["web-1"].addresses)) == (shown["address"], addresses)
    config = read_config(home.path / "netpersona.yaml")
    assert config.inventory == home.path / "vms.yaml"
    assert config.api.socket == home.path / "netpersona.sock"
    assert {policy.name for policy in policies.parsed(policies.read(config.policies)).policies} == {
        "block-outbound-low-reputation",
        "isolate-command-and-control",
    }
    listed = config.feeds[0].file.read_text()
    assert all(address in listed for address in CONTROL)
    assert DROP.v4 not in listed
    taps = lab("run", "--name", home.name, "hypervisor", "--", "ls", "/sys/class/net").split()
    assert {vm.interface for vm in vms.values()} <= set(taps)


# --- attacks


@needs_lab
def test_callback_calls_the_listed_server(home: Home) -> None:
    said, frames = attack(home, "callback", "--count", "4", "--every", "0.05")
    calls = [f for f in opened(frames, DESKTOP) if f.port == 8443]
    assert Counter(f.peer for f in calls) == {CONTROL.v4: 2, CONTROL.v6: 2}
    assert any(b"\x07control\x03bad\x07example" in f.payload for f in frames if f.port == 53)
    assert (said["tried"], said["answered"]) == (4, 4)


@needs_lab
def test_beacon_calls_at_intervals(home: Home) -> None:
    began = time.monotonic()
    said, frames = attack(home, "beacon", "--count", "5", "--every", "0.3")
    assert time.monotonic() - began >= 4 * 0.3
    assert [f.peer for f in opened(frames, DESKTOP) if f.port == 4444] == [RENDEZVOUS.v4] * 5
    assert said["answered"] == 5


@needs_lab
def test_scan_tries_ports_and_hosts(home: Home) -> None:
    _, frames = attack(home, "scan", "--count", "24")
    tried = [f for f in opened(frames, DESKTOP) if f.peer in both(WEB) or f.port == 445]
    vertical = {(f.peer, f.port) for f in tried if f.peer in both(WEB)}
    assert Counter(peer for peer, _ in vertical) == {WEB.v4: 6, WEB.v6: 6}
    assert len({f.peer for f in tried if f.port == 445 and f.peer not in both(WEB)}) == 12


@needs_lab
def test_brute_force_logs_in(home: Home) -> None:
    said, frames = attack(home, "brute-force", "--count", "8")
    sessions = Counter(f.port for f in opened(frames, DESKTOP) if f.peer in both(WEB) and f.port in (21, 22))
    assert sessions == {21: 4, 22: 4}
    assert sum(f.payload.startswith(b"530") for f in frames) == 4
    assert said["answered"] == 8


@needs_lab
def test_dns_tunnel_asks_names_that_carry_data(home: Home) -> None:
    said, frames = attack(home, "dns-tunnel", "--count", "10")
    names = {f.payload[12:] for f in frames if f.port == 53 and b"\x06tunnel\x07example" in f.payload}
    assert len(names) == 10
    assert min(map(len, names)) > 120
    assert said["answered"] == 10, "the far end answered, through the resolver"


@needs_lab
def test_exfiltration_sends_what_it_says(home: Home) -> None:
    said, frames = attack(home, "exfiltration", "--count", "3", "--every", "0")
    assert sum(len(f.payload) for f in frames if f.peer == DROP.v4 and f.port == 80) >= 3_000_000
    assert said["answered"] == 3


@needs_lab
def test_lateral_movement_reaches_every_other_vm(home: Home) -> None:
    said, frames = attack(home, "lateral-movement")
    reached = {(f.peer, f.port) for f in opened(frames, DESKTOP) if f.port in (22, 445, 5985)}
    hosts = both(WEB) | both(DATABASE) | both(NEIGHBOUR)
    assert reached == {(host, port) for host in hosts for port in (22, 445, 5985)}
    assert said["answered"] == 18


@needs_lab
@pytest.mark.parametrize("attachment", ["home", "bridged"])
def test_spoofing_lies_about_addresses_and_macs(attachment: str, request: pytest.FixtureRequest) -> None:
    home = request.getfixturevalue(attachment)
    far = Tap(home, "uplink")
    _, frames = attack(home, "spoofing", "--count", "12")
    lies = Counter(f.source for f in frames if f.port == 9_999 and f.mac == DESKTOP.mac)
    assert lies == {WEB.v4: 4, WEB.v6: 4}
    assert sum(f.protocol == ARP and f.source == WEB.v4 and f.mac == WEB.mac for f in frames) >= 4
    until(
        lambda: Counter(f.source for f in far.frames() if f.port == 9_999) == lies,
        "with no rules, the lies get through",
    )


@needs_lab
def test_attacks_are_bounded_and_refused_by_name(home: Home) -> None:
    assert "beacon" in lab("attack", "--list")
    assert "there is no attack 'ddos'" in lab("attack", "ddos", code=2)
    said, _ = attack(home, "callback", "--count", "999999", "--every", "0")
    assert said["tried"] == 100


# --- a guest


def why_no_guest() -> str | None:
    """Why no QEMU guest can be started here; None: one can."""
    try:
        check_guest(Path(os.environ.get("NETPERSONA_LAB_KERNEL", "/")))
    except LabError as error:
        return str(error)
    return None


@needs_lab
@pytest.mark.skipif(why_no_guest() is not None, reason=why_no_guest() or "")
def test_a_guest_browses_attacks_and_ends_with_the_lab() -> None:
    with nothing_stays("test-guest", "--vm", "desktop-2") as home:
        assert lab("run", "--name", home.name, "desktop-2", "--", "hostname") == "desktop-2\n"
        tap = Tap(home, NEIGHBOUR.tap)
        lab("attack", "callback", "--name", home.name, "--vm", "desktop-2", "--count", "2", "--every", "0")
        assert {f.peer for f in opened(tap.frames(), NEIGHBOUR) if f.port == 8443} == both(CONTROL)
        assert "has no Python" in lab("attack", "spoofing", "--name", home.name, "--vm", "desktop-2", code=2)
        until(
            lambda: {f.source for f in opened(tap.frames(), NEIGHBOUR) if f.port == 80} == both(NEIGHBOUR), "browsing"
        )
        before = float(lab("run", "--name", home.name, "desktop-2", "--", "cat", "/proc/uptime").split()[0])
        assert before > 1, "its kernel is its own, and young"
        os.kill(home.supervisor(), signal.SIGKILL)


# --- nothing of the host is touched, nothing stays


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


@needs_lab
def test_down_leaves_nothing() -> None:
    with nothing_stays("test-down") as home:
        assert "is running" in lab("up", "--detach", "--name", home.name, code=1)
        lab("down", "--name", home.name)


@needs_lab
@pytest.mark.parametrize("who", ["keeper", "supervisor"])
def test_a_killed_lab_leaves_nothing(who: str) -> None:
    with nothing_stays(f"test-{who}") as home:
        inside = subprocess.Popen(
            [sys.executable, "-m", "netpersona", "lab", "run", "--name", home.name, "hypervisor", "--", "sleep", "600"]
        )
        supervisor = home.state().supervisor
        os.kill(supervisor if who == "supervisor" else parent(supervisor), signal.SIGKILL)
        assert inside.wait(timeout=15) != 0


@needs_lab
def test_the_next_lab_sweeps_what_was_left_where_even_the_sweeper_was_killed() -> None:
    home = Home("test-all")
    lab("up", "--detach", "--name", home.name)
    pids = processes(home)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not living(pids), "its processes ended")
    (home.path / "left").touch()
    assert "was left" in lab("status", "--name", home.name)
    lab("up", "--detach", "--name", home.name)
    assert not (home.path / "left").exists()
    lab("down", "--name", home.name)
    assert not home.path.exists()


@needs_lab
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_in_the_foreground_the_lab_ends_with_its_command(sign: signal.Signals) -> None:
    home = Home("test-foreground")
    command = subprocess.Popen(
        [sys.executable, "-m", "netpersona", "lab", "up", "--name", home.name], stdout=subprocess.DEVNULL
    )
    until((home.path / "state.json").exists, "it is up")
    pids = processes(home)
    command.send_signal(sign)
    assert command.wait(timeout=15) == (0 if sign != signal.SIGKILL else -signal.SIGKILL)
    until(lambda: not living(pids) and not home.path.exists(), "nothing is left")


@needs_lab
def test_a_folder_that_others_could_have_laid_out_is_refused() -> None:
    home = Home("test-squat")
    home.path.mkdir(mode=0o777)
    home.path.chmod(0o777)
    try:
        assert "is not a folder of yours alone" in lab("up", "--detach", "--name", home.name, code=1)
    finally:
        home.path.rmdir()


@pytest.mark.skipif(os.geteuid() == 0 and WHY_NOT is not None, reason="root without its rights")
def test_without_root_it_says_what_to_do() -> None:
    words = [sys.executable, "-m", "netpersona", "lab", "up"]
    if os.geteuid() == 0:
        words = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", *words]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the lab needs root" in done.stderr
    assert "sudo" in done.stderr
