"""Each attack of the lab does on the wire what it says: every packet here was counted at a tap."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from kernel.lab_net import ARP, Tap, attack, both, lab, needs_lab, opened, running
from netpersona.app.lab.home import Home
from netpersona.app.lab.layout import CONTROL, DATABASE, DESKTOP, DROP, NEIGHBOUR, RENDEZVOUS, WEB
from waiting import until


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with running("test") as home:
        yield home


@pytest.fixture(scope="module")
def bridged() -> Iterator[Home]:
    with running("test-bridged", "--bridged", "--own-programs") as home:
        yield home


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
