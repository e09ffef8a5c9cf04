"""What an answer tells is read whole or not at all, and always in bounded time."""

import struct
import time
from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.dns_relay import message
from netpersona.adapters.dns_relay.message import LONGEST_LIFE, DamagedError, Told, question, read, truncated
from netpersona.adapters.sensors.packets.dns import read_message
from netpersona.flow.vm import canonical_address
from packet_samples import dns_name

A, NS, CNAME, MX, TXT, AAAA, SVCB, HTTPS, AXFR = 1, 2, 5, 15, 16, 28, 64, 65, 252


def record(owner: str | bytes, kind: int, data: bytes, ttl: int = 60) -> bytes:
    name = owner if isinstance(owner, bytes) else dns_name(owner)
    return name + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def answer(asked: str, *records: bytes, kind: int = A, more: tuple[bytes, ...] = (), flags: int = 0x8180) -> bytes:
    head = struct.pack(">HHHHHH", 77, flags, 1, len(records), 0, len(more))
    return head + dns_name(asked) + struct.pack(">HH", kind, 1) + b"".join(records) + b"".join(more)


def packed(address: str) -> bytes:
    return ip_address(address).packed


def told(wire: bytes) -> dict[str, dict[str, int]]:
    return {each.name: dict(each.addresses) for each in read(wire).told}


def test_a_name_and_all_that_lead_to_it_are_told_the_address() -> None:
    wire = answer(
        "www.shop.example",
        record("www.shop.example", CNAME, dns_name("edge.cdn.example")),
        record("edge.cdn.example", CNAME, dns_name("e7.cdn.example")),
        record("e7.cdn.example", A, packed("192.0.2.7"), ttl=30),
    )
    expected = {"192.0.2.7": 30}
    assert told(wire) == dict.fromkeys(("www.shop.example", "edge.cdn.example", "e7.cdn.example"), expected)


def test_a_loop_of_aliases_ends() -> None:
    wire = answer(
        "a.example",
        record("a.example", CNAME, dns_name("b.example")),
        record("b.example", CNAME, dns_name("a.example")),
        record("b.example", A, packed("192.0.2.7")),
    )
    assert told(wire).keys() == {"a.example", "b.example"}


def test_what_is_asked_stands_for_every_address_of_the_answer_but_not_of_what_is_added() -> None:
    wire = answer(
        "mail.example",
        record("mail.example", MX, b"\0\1" + dns_name("mx.other.example")),
        record("stranger.example", A, packed("192.0.2.9")),
        kind=MX,
        more=(record("mx.other.example", AAAA, packed("2001:db8::25")),),
    )
    assert told(wire) == {
        "mail.example": {"192.0.2.9": 60},
        "stranger.example": {"192.0.2.9": 60},
        "mx.other.example": {"2001:db8::25": 60},
    }


def test_hints_of_a_service_are_addresses() -> None:
    hints = struct.pack(">HH", 4, 8) + packed("192.0.2.1") + packed("192.0.2.2")
    hints += struct.pack(">HH", 6, 16) + packed("2001:db8::1")
    alpn = struct.pack(">HH", 1, 3) + b"\2h2"
    wire = answer("shop.example", record("shop.example", HTTPS, b"\0\1\0" + alpn + hints), kind=HTTPS)
    assert set(told(wire)["shop.example"]) == {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
    other = answer("shop.example", record("shop.example", SVCB, b"\0\1" + dns_name("t.example") + hints), kind=SVCB)
    assert told(other).keys() == {"shop.example", "t.example"}


def test_compressed_names_mapped_addresses_and_lives() -> None:
    wire = answer(
        "X.Example",
        record(b"\xc0\x0c", A, packed("192.0.2.1"), ttl=1 << 31),
        record(b"\xc0\x0c", A, packed("192.0.2.2"), ttl=(1 << 31) - 1),
        record(b"\xc0\x0c", AAAA, packed("::ffff:192.0.2.3"), ttl=5),
    )
    assert told(wire) == {"x.example": {"192.0.2.1": 0, "192.0.2.2": 7 * 86_400, "192.0.2.3": 5}}


def test_a_zone_transfer_is_told_apart_and_tells_nothing() -> None:
    said = read(answer("example", record("a.example", A, packed("192.0.2.1")), kind=AXFR))
    assert said.transfer
    assert said.told == ()


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        bytes(11),
        answer("a.example", record("a.example", A, b"\1\2\3")),
        answer("a.example", record("a.example", A, packed("192.0.2.1")))[:-1],
        answer("a.example", record(b"\xc0\xff", A, packed("192.0.2.1"))),
        answer("a.example", record(b"\x40" + b"a" * 64 + b"\0", A, packed("192.0.2.1"))),
        answer("a.example", record("a.example", HTTPS, b"\0\1\0" + struct.pack(">HH", 4, 5) + bytes(5))),
        answer("a.example", *[record(b"\xc0\x0c", A, bytes([10, 0, n >> 8, n & 255])) for n in range(600)]),
    ],
)
def test_what_cannot_be_read_to_its_end_tells_nothing(wire: bytes) -> None:
    with pytest.raises(DamagedError):
        read(wire)


def test_names_that_point_on_and_on_are_refused_at_once() -> None:
    """A chain of 7,000 pointers, and 3,000 records whose names begin at its end."""
    start = 12 + 11  # behind the first record's head
    chain = b"\0\0" + b"".join(struct.pack(">H", 0xC000 | (start + 2 * place - 2)) for place in range(1, 7000))
    last = struct.pack(">H", 0xC000 | (start + 2 * 6999))
    wire = (
        struct.pack(">HHHHHH", 1, 0x8180, 0, 3001, 0, 0) + record(b"\0", TXT, chain) + record(last, A, bytes(4)) * 3000
    )
    before = time.thread_time()
    with pytest.raises(DamagedError, match="on and on"):
        read(wire)
    assert time.thread_time() - before < 0.5


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=100)
def test_any_bytes_are_read_or_refused(data: bytes, answers: bool) -> None:
    wire = struct.pack(">HHHHHH", 1, 0x8180 if answers else 0x100, 1, 2, 0, 1) + data
    with suppress(DamagedError):
        message = read(wire)
        assert (message.ident, message.response) == (1, answers)
        assert all(0 <= ttl <= LONGEST_LIFE for told in message.told for _, ttl in told.addresses)
        assert all(canonical_address(address) == address for told in message.told for address, _ in told.addresses)
    with suppress(DamagedError):
        assert question(wire)[1] in wire.lower()
    again = truncated(wire)
    assert again is None or again[12:] == wire[12 : len(again)]


LABELS = st.binary(min_size=1, max_size=20).map(lambda b: bytes([len(b)]) + b)


@given(st.lists(LABELS, min_size=1, max_size=6), st.lists(st.ip_addresses(), min_size=1, max_size=5))
@settings(max_examples=100)
def test_a_name_is_spelled_as_the_sensors_spell_it(labels: list[bytes], addresses: list) -> None:
    name = b"".join(labels) + b"\0"
    records = b"".join(record(b"\xc0\x0c", A if a.version == 4 else AAAA, a.packed) for a in addresses)
    wire = struct.pack(">HHHHHH", 1, 0x8180, 1, len(addresses), 0, 0) + name + struct.pack(">HH", A, 1) + records
    seen = read_message(wire)
    (found,) = read(wire).told
    assert found.name == seen.questions[0][0]
    assert {address for address, _ in found.addresses} == set(seen.answers)


def test_a_question_and_the_answer_that_asks_for_tcp() -> None:
    wire = answer("Big.Example", record("big.example", TXT, b"\3abc" * 500), kind=TXT)
    short = truncated(wire[:600])
    assert short is not None
    assert short[2] & 2
    assert len(short) == 12 + len(dns_name("big.example")) + 4
    assert read(short).question == read(wire).question
    assert read(short).told == ()
    assert truncated(wire[:20]) is None
    asked = struct.pack(">HHHHHH", 9, 0x100, 1, 0, 0, 0) + dns_name("bIG.example") + struct.pack(">HH", TXT, 1)
    assert question(asked) == (9, read(wire).question)
    with pytest.raises(DamagedError):
        question(wire)


def test_many_aliases_of_many_addresses_are_refused() -> None:
    """A small message must not become much work for those who hear it."""
    hints = struct.pack(">HH", 4, 4 * 400) + b"".join(bytes([10, 0, n >> 8, n & 255]) for n in range(400))
    aliases = [record(f"n{n}.example", CNAME, dns_name("a.example")) for n in range(100)]
    with pytest.raises(DamagedError):
        read(answer("a.example", *aliases, record("a.example", HTTPS, b"\0\1\0" + hints), kind=HTTPS))
    assert len(told(answer("a.example", record("a.example", HTTPS, b"\0\1\0" + hints), kind=HTTPS))["a.example"]) == 400
    few = [record("a.example", A, bytes([10, 0, 0, n])) for n in range(16)]
    assert len(told(answer("a.example", *aliases, *few))) == 101


def test_a_message_is_bounded_in_what_it_keeps() -> None:
    wire = answer("a.example", *[record(b"\xc0\x0c", A, packed("192.0.2.1"))] * message.MOST_RECORDS)
    assert read(wire).told == (Told("a.example", (("192.0.2.1", 60),)),)
