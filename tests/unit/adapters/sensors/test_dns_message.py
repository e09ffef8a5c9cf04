"""Hostile DNS messages cost little."""

from __future__ import annotations

import struct

from netpersona.adapters.sensors.packets import dns


def _answer_with_pointers(count: int) -> bytes:
    """An answer whose CNAME leads through so many pointers, one after the other, to a name."""
    header = struct.pack(">HHHHHH", 1, 0x8180, 1, 1, 0, 0)
    question = b"\x03www\x07example\x00" + struct.pack(">HH", 1, 1)
    start = 12 + len(question)
    chain = b"".join(struct.pack(">H", 0xC000 | (12 if n == 0 else start + 12 + 2 * (n - 1))) for n in range(count))
    record = b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 60, len(chain))
    wire = header + question + record + chain
    last = struct.pack(">H", 0xC000 | (start + 12 + 2 * (count - 1)))
    again = b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 60, 2) + last
    return wire[:6] + struct.pack(">H", 2) + wire[8:] + again


def test_a_few_pointers_are_followed() -> None:
    message = dns.read_message(_answer_with_pointers(4))
    assert message is not None
    assert message.answers[-1] == "www.example"


def test_a_long_chain_of_pointers_is_not_followed() -> None:
    message = dns.read_message(_answer_with_pointers(6_000))
    assert message is not None
    assert message.questions == (("www.example", "A"),)
    assert len(message.answers) < 2
