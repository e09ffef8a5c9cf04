"""The parts of the lab that need no root: its plan, its programs' answers, its attacks' bounds."""

import importlib
import os
import socket
import struct
import tempfile
from ipaddress import ip_address
from itertools import islice

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.app.cli import cli
from netpersona.app.lab import layout, network
from netpersona.app.lab.attacks.brute_force import target_of
from netpersona.app.lab.attacks.catalogue import ATTACKS
from netpersona.app.lab.attacks.in_guest import LINES
from netpersona.app.lab.attacks.order import Tally, ordered
from netpersona.app.lab.attacks.spoofing import datagram
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.home import Home
from netpersona.app.lab.initramfs import archive
from netpersona.app.lab.programs import analyser, dns_server
from netpersona.app.lab.programs.fetcher import errands

ZONE = dns_server._Zone({"site-1.example": ("192.0.2.101", "2001:db8:1::101")}, "tunnel.example")


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def answer(name: str, kind: int) -> bytes | None:
    message = question(name, kind)
    asked = dns_server._asked(message)
    return None if asked is None else dns_server._answer(message, asked, ZONE)


def test_no_two_machines_share_anything_and_every_interface_has_a_name_that_the_kernel_takes() -> None:
    machines = (*layout.VMS, *layout.SERVICES)
    for field in ("name", "v4", "v6", "mac", "tap"):
        assert len({getattr(machine, field) for machine in machines}) == len(machines)
    assert max(len(machine.tap) for machine in machines) <= 15


def test_all_addresses_are_private_or_for_documentation() -> None:
    peers = (*layout.VMS, *layout.SERVICES, *layout.NAMES.values(), *layout.VISITORS, layout.DROP, layout.RENDEZVOUS)
    assert all(not ip_address(address).is_global for peer in peers for address in (peer.v4, peer.v6))
    assert all(name.endswith(".example") for name in layout.NAMES)


@pytest.mark.parametrize("bridged", [True, False])
def test_every_machine_gets_its_addresses(bridged: bool) -> None:
    lines = network.machines(bridged=bridged)
    for machine in (*layout.VMS, *layout.SERVICES):
        told = " ".join(lines[machine.name])
        assert f" {machine.v4}/" in told
        assert f" {machine.v6}/" in told
    assert set(lines) == set(layout.MACHINES) - {layout.HYPERVISOR}


def test_a_guest_has_a_tap_in_place_of_a_cable() -> None:
    ends = dict.fromkeys(layout.MACHINES, "/proc/1/fd/9")
    taps = [line for line in network.links(ends, "desktop-2") if "tap-desktop-2" in line]
    assert any(line.startswith("tuntap add") for line in taps)
    assert not any("veth" in line for line in taps)


def test_who_fetches_what_follows_from_the_seed() -> None:
    def told(seed: int) -> list[object]:
        return list(islice(errands(seed, ["http://a.example/", "http://b.example/"], ["192.0.2.1", "2001:db8::1"]), 50))

    assert told(7) == told(7) != told(8)
    assert {errand.family for errand in islice(errands(7, ["http://a.example/"], []), 50)} == {4, 6}
    assert {errand.family for errand in islice(errands(7, ["http://[fd00::1]/"], []), 9)} == {6}


def test_the_dns_server_answers() -> None:
    assert socket.inet_aton("192.0.2.101") in (answer("site-1.example", dns_server.A) or b"")
    assert socket.inet_pton(socket.AF_INET6, "2001:db8:1::101") in (answer("Site-1.example", dns_server.AAAA) or b"")
    assert b"21 taken" in (answer("abcdef.tunnel.example", dns_server.TXT) or b"")
    assert (answer("nobody.example", dns_server.A) or b"")[3] & 15 == 3


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_no_datagram_upsets_the_dns_server(message: bytes) -> None:
    asked = dns_server._asked(message)
    assert asked is None or dns_server._answer(message, asked, ZONE)[:2] == message[:2]


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_no_frame_upsets_the_analyser(frame: bytes) -> None:
    assert analyser.kind(frame) is None or len(frame) >= 34


@pytest.mark.parametrize("machine", ["10.77.0.11", "fd00:77::11"])
def test_a_spoofed_datagram_is_a_sound_one(machine: str) -> None:
    peer = layout.DROP.v4 if "." in machine else layout.DROP.v6
    packet = datagram(machine, peer)
    a, b = ip_address(machine).packed, ip_address(peer).packed
    udp = packet[20:] if len(a) == 4 else packet[40:]
    assert a + b in packet
    assert ones(a + b + struct.pack("!II", len(udp), 17) + udp) == 0xFFFF
    assert len(a) == 16 or ones(packet[:20]) == 0xFFFF
    assert struct.unpack_from("!H", udp, 4)[0] == len(udp)


def ones(data: bytes) -> int:
    """RFC 1071, the slow way: a sound checksum makes all ones."""
    total = 0
    for (word,) in struct.iter_unpack("!H", data + bytes(len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_exists_and_ends_before_it_is_broken_off(name: str) -> None:
    attack = ATTACKS[name]
    assert callable(importlib.import_module(attack.module).run)
    assert attack.count <= attack.most
    assert attack.count * attack.every < attack.limit
    assert ordered(attack, "desktop-1", 10**9, None, "both").count == attack.most
    assert ordered(attack, "desktop-1", None, 0.0, "6").families == (6,)


def test_what_a_guest_can_do_is_an_attack() -> None:
    assert set(LINES) < set(ATTACKS)
    for line, _ in LINES.values():
        assert all(isinstance(line(number, family), str) for number in range(3) for family in (4, 6))


def test_nobody_attacks_itself() -> None:
    for vm in layout.VMS:
        assert target_of(vm.name) != vm
        assert vm not in layout.others(vm.name)


def test_failures_are_told_in_few_words() -> None:
    tally = Tally()
    for why in (TimeoutError(), ConnectionResetError(104, "x"), ConnectionRefusedError(111, "Connection refused")):
        tally.failure(why)
    assert dict(tally.failed) == {"no answer": 1, "cut off": 1, "connection refused": 1}


@pytest.mark.parametrize("name", ["", "../x", "A", "-x", "x" * 25, "a b", "a\n"])
def test_a_lab_has_a_name_that_is_safe_in_a_path(name: str) -> None:
    with pytest.raises(LabError, match="cannot name a lab"):
        Home(name)


def test_an_archive_is_what_the_kernel_unpacks() -> None:
    packed = archive({"bin": (0o040755, b""), "init": (0o100755, b"#!/bin/sh\n")})
    at, found = 0, []
    while True:
        fields = [int(packed[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        assert packed[at : at + 6] == b"070701"
        name = packed[at + 110 : at + 110 + fields[11] - 1].decode()
        body = at + (110 + fields[11] + 3) // 4 * 4
        if name == "TRAILER!!!":
            break
        found.append((name, fields[1], packed[body : body + fields[6]]))
        at = body + (fields[6] + 3) // 4 * 4
    assert found == [("bin", 0o040755, b""), ("init", 0o100755, b"#!/bin/sh\n")]


def test_a_lab_that_begins_or_ends_says_so_and_hides_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held = Home("going").acquire()
    try:
        Home("left").path.mkdir(mode=0o700)
        said = CliRunner().invoke(cli, ["lab", "status"])
        assert said.exit_code == 0, said.output
        assert "the lab named going begins or ends just now" in said.output
        assert "left: over" in said.output
        with pytest.raises(LabError, match="begins or ends"):
            Home("going").state()
    finally:
        os.close(held)
