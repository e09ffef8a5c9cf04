"""The filter for the ring, run by a small machine of its own and compared with its rules written plainly."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.sensors.tap.filter import DATAGRAM, HEAD, MOST_INTERFACES, PUSHED, WHOLE, packed, program
from packet_samples import A6, ACK, B6, PSH, SYN, A, B, client_hello, dns, ethernet, icmp, ip, ip6, tcp, udp


def run(steps, packet, index):  # noqa: C901
    """What a classic BPF program returns (Linux: net/core/filter.c); a load beyond the packet returns 0."""
    accumulator = other = at = 0
    for _ in range(len(steps)):
        code, true, false, k = steps[at]
        at += 1
        kind = code & 0x07
        if kind == 0x06:
            return k
        if kind in {0x00, 0x01}:
            size = {0x00: 4, 0x08: 2, 0x10: 1}[code & 0x18]
            mode = code & 0xE0
            if mode == 0x80:
                value = len(packet)
            elif mode == 0x00:
                value = k
            elif k == 0xFFFFF008:
                value = index
            else:
                place = k + (other if mode == 0x40 else 0)
                if place + (1 if mode == 0xA0 else size) > len(packet):
                    return 0
                value = int.from_bytes(packet[place : place + size], "big")
                value = (packet[place] & 15) * 4 if mode == 0xA0 else value
            accumulator, other = (value, other) if kind == 0x00 else (accumulator, value)
        elif kind == 0x04:
            value = other if code & 0x08 else k
            accumulator = {
                0x00: accumulator + value,
                0x10: accumulator - value,
                0x50: accumulator & value,
                0x70: accumulator >> value,
            }[code & 0xF0] & 0xFFFFFFFF
        elif kind == 0x05:
            test = {0x00: True, 0x10: accumulator == k, 0x30: accumulator >= k, 0x40: bool(accumulator & k)}[
                code & 0xF0
            ]
            at += k if code & 0xF0 == 0 else true if test else false
        elif kind == 0x07:
            other = accumulator
    raise AssertionError("the program does not end")


BULK = bytes(1400)
LONG = b"\x16\x03\x01\x08\x00\x01" + bytes(1400)
CASES = {
    "bulk": (tcp(A, 1, B, 443, ACK, BULK), HEAD),
    "bulk, options": (tcp(A, 1, B, 443, ACK, BULK, options=bytes(20)), HEAD),
    "bulk over IPv6": (tcp(A6, 1, B6, 443, ACK, BULK), HEAD),
    "the end of what was written": (tcp(A, 1, B, 443, ACK | PSH, BULK), PUSHED),
    "a hello's beginning": (tcp(A, 1, B, 443, ACK, LONG), WHOLE),
    "a hello's beginning behind options": (tcp(A, 1, B, 443, ACK, LONG, options=bytes(12)), WHOLE),
    "a hello's beginning over IPv6": (tcp(A6, 1, B6, 443, ACK, LONG), WHOLE),
    "DNS over TCP": (tcp(A, 1, B, 53, ACK, BULK), WHOLE),
    "an answer of DNS over TCP": (tcp(B, 53, A, 1, ACK, BULK), WHOLE),
    "DNS": (udp(B, 53, A, 1, BULK), WHOLE),
    "DNS over IPv6": (udp(A6, 1, B6, 53, BULK), WHOLE),
    "multicast DNS": (udp(A, 5353, "224.0.0.251", 5353, BULK), WHOLE),
    "a datagram": (udp(A, 1, B, 2, BULK), DATAGRAM),
    "a datagram to DNS's neighbour": (udp(A, 1, B, 54, BULK), DATAGRAM),
    "QUIC": (udp(A, 1, B, 443, BULK), HEAD),
    "QUIC back": (udp(B, 443, A, 1, BULK), HEAD),
    "ICMP": (icmp(A, B, payload=BULK), HEAD),
    "a later fragment": (ethernet(ip(A, B, 6, BULK, fragment=0x2010)), HEAD),
    "IPv6 extension headers": (ethernet(ip6(A6, B6, 17, BULK, bytes([17, 0, *bytes(6)]), 0)), WHOLE),
    "two VLAN tags": (ethernet(ip(A, B, 6, BULK), b"\x88\xa8\0\1\x81\0\0\2"), WHOLE),
    "no IP": (bytes(12) + b"\x08\x06" + bytes(300), WHOLE),
    "a short packet": (tcp(A, 1, B, 443, SYN), WHOLE),
    "nothing": (b"", WHOLE),
}
for _word in (b"GET /", b"POST ", b"HTTP/1.1 200 OK", b"SSH-2.0", b"PROPFIND /", b"OPTIONS *"):
    CASES[f"TCP that begins with {_word}"] = (tcp(A, 1, B, 80, ACK, _word + BULK), WHOLE)


@pytest.mark.parametrize("case", CASES)
def test_what_is_read_is_kept_whole_and_of_the_rest_the_headers(case):
    packet, kept = CASES[case]
    assert run(program([7]), packet, 7) == kept
    assert run(program([7]), packet, 8) == 0


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 1 << 31), max_size=300), st.data())
def test_packets_of_watched_interfaces_are_kept_and_of_others_not(indices, data):
    steps = program(sorted(indices))
    asked = data.draw(st.sampled_from(sorted(indices)) | st.integers(1, 1 << 31)) if indices else 5
    assert bool(run(steps, dns(1, "a.example"), asked)) == (asked in indices)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", b"\x08\0", b"\x86\xdd"]))
def test_no_packet_of_a_watched_interface_is_dropped_whatever_it_holds(junk, kind):
    packet = junk[:12] + kind + junk[12:]
    assert run(program([3]), packet, 3) >= HEAD


def test_as_many_interfaces_as_are_said_fit_and_no_more():
    steps = program(range(1, MOST_INTERFACES + 1))
    assert len(steps) <= 4096  # BPF_MAXINSNS
    assert all(step.true < 256 and step.false < 256 for step in steps)
    assert len(packed(steps)) == 8 * len(steps)
    assert run(steps, b"", MOST_INTERFACES) == WHOLE
    with pytest.raises(ValueError, match="interfaces"):
        program(range(1, MOST_INTERFACES + 2))


def test_a_whole_hello_in_one_segment_is_kept_whole():
    hello = tcp(A, 1, B, 443, ACK | PSH, client_hello(padding=1700))
    assert run(program([1]), hello, 1) >= len(hello)
    assert struct.calcsize("HBBI") == 8
