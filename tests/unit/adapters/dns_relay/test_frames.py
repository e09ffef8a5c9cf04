"""Frames are taken apart as they were made, and nothing hostile is believed."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.dns_relay.frames import Datagram, Segment, answer_in_place, dissect

LINK = bytes.fromhex("525400000102525400000101")
ENDS = {4: ("192.0.2.53", "10.77.1.2"), 6: ("2001:db8:53::53", "2001:db8:1::2")}


def checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def frame(version: int, protocol: int, body: bytes, fragment: int | None = None, before: bytes = b"") -> bytes:
    source, target = (ip_address(each).packed for each in ENDS[version])
    if version == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment or 0, 61, protocol, 0)
        return LINK + b"\x08\x00" + head + source + target + body
    if fragment is not None:
        before, protocol = struct.pack(">BBHI", protocol, 0, fragment, 9), 44
    return (
        LINK
        + b"\x86\xdd"
        + struct.pack(">IHBB", 6 << 28, len(before + body), protocol, 61)
        + source
        + target
        + before
        + body
    )


def udp(payload: bytes, length: int | None = None) -> bytes:
    return struct.pack(">HHHH", 53, 40_000, 8 + len(payload) if length is None else length, 0) + payload


def tcp(payload: bytes, flags: int = 0x18, options: bytes = b"") -> bytes:
    head = (20 + len(options)) // 4 << 4
    return struct.pack(">HHIIBBHHH", 53, 40_000, 7, 8, head, flags, 9, 0, 0) + options + payload


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_and_segments(version: int) -> None:
    found = dissect(frame(version, 17, udp(b"hello")) + bytes(9))  # padding
    assert isinstance(found, Datagram)
    assert (found.payload, found.cut, found.ends.sport, found.ends.dport) == (b"hello", False, 53, 40_000)
    assert found.ends.sender == ENDS[version][0]
    assert found.ends.back.sender == ENDS[version][1]
    found = dissect(frame(version, 6, tcp(b"hello", options=bytes(8))))
    assert isinstance(found, Segment)
    assert (found.payload, found.sequence, found.opens, found.resets) == (b"hello", 7, False, False)
    assert dissect(frame(version, 6, tcp(b"", flags=0x12))).opens
    assert dissect(frame(version, 6, tcp(b"", flags=0x14))).resets


@pytest.mark.parametrize("version", [4, 6])
def test_lengths_that_lie_are_not_believed(version: int) -> None:
    assert dissect(frame(version, 17, udp(b"hello", length=14))) is None
    assert dissect(frame(version, 17, udp(b"hello", length=7))) is None
    assert dissect(frame(version, 17, udp(b"hello"))[:-1]) is None
    assert dissect(frame(version, 6, tcp(b"")[:12] + b"\xf0" + tcp(b"")[13:])) is None
    assert dissect(frame(version, 6, tcp(b"")[:12] + b"\x40" + tcp(b"")[13:])) is None
    assert dissect(frame(version, 1, bytes(30))) is None


def test_extension_headers_are_passed_over() -> None:
    options = bytes([17, 0, 1, 4, 0, 0, 0, 0])
    assert dissect(frame(6, 60, udp(b"hello"), before=options)).payload == b"hello"
    endless = bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 50
    assert dissect(frame(6, 60, b"", before=endless)) is None


@pytest.mark.parametrize(("version", "first", "later"), [(4, 0x2000, 0x2001), (6, 1, 9)])
def test_only_the_first_fragment_is_taken(version: int, first: int, later: int) -> None:
    cut = frame(version, 17, udp(b"hello", length=3000), fragment=first)
    found = dissect(cut)
    assert isinstance(found, Datagram)
    assert found.cut
    assert dissect(frame(version, 17, udp(b"hello"), fragment=later)) is None
    instead = answer_in_place(cut, b"short")
    found = dissect(instead)
    assert (found.payload, found.cut, found.ends.sender) == (b"short", False, ENDS[version][0])
    source, target = (ip_address(each).packed for each in ENDS[version])
    datagram = instead[-13:]
    assert checksum(source + target + struct.pack(">II", 13, 17) + datagram) == 0
    if version == 4:
        assert checksum(instead[14:34]) == 0
    assert instead[:14] == cut[:14]


def carried_or_nothing(whole: bytes) -> bool:
    """Whether all that is said of a frame stands in it; of most damaged ones nothing is said."""
    found = dissect(whole)
    return found is None or all(part in whole for part in (found.payload, found.ends.source, found.ends.target))


@given(st.binary(max_size=120), st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00", b""]))
@settings(max_examples=100)
def test_any_bytes_are_taken_apart_or_not(data: bytes, kind: bytes) -> None:
    assert carried_or_nothing(LINK + kind + data)


@given(st.sampled_from([4, 6]), st.sampled_from([6, 17]), st.integers(12, 70), st.integers(0, 255))
@settings(max_examples=100)
def test_any_changed_byte_is_taken_apart_or_not(version: int, protocol: int, place: int, value: int) -> None:
    whole = bytearray(frame(version, protocol, udp(b"hello") if protocol == 17 else tcp(b"hello")))
    whole[place % len(whole)] = value
    assert carried_or_nothing(bytes(whole))
