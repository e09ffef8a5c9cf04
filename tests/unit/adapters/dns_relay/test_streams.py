"""Messages come out of a stream whole and in order, however its segments come."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.dns_relay.frames import Ends, Segment
from netpersona.adapters.dns_relay.streams import MOST_AHEAD, MOST_STREAMS, Streams

ENDS = Ends(b"\xc0\0\2\x35", 53, b"\x0a\x4d\1\2", 40_000)


def segment(sequence: int, payload: bytes, *, opens: bool = False, resets: bool = False, ends: Ends = ENDS) -> Segment:
    return Segment(ends, sequence % (1 << 32), opens, resets, payload)


def framed(*messages: bytes) -> bytes:
    return b"".join(len(each).to_bytes(2, "big") + each for each in messages)


@given(
    st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5),
    st.integers(0, (1 << 32) - 1),
    st.integers(1, 30),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100)
def test_segments_in_any_order_and_twice(messages: list[bytes], start: int, size: int, order: random.Random) -> None:
    whole = framed(*messages)
    pieces = [(at, whole[at : at + size + 5]) for at in range(0, len(whole), size)]  # they overlap
    pieces += order.sample(pieces, len(pieces) // 2)
    order.shuffle(pieces)
    streams, found, seen = Streams(), [], set()
    streams.of(segment(start, b"", opens=True)).take(segment(start, b"", opens=True))
    for at, piece in pieces:
        here = segment(start + 1 + at, piece)
        taken = streams.of(here).take(here)
        assert taken is not None
        found += taken
        seen |= set(range(at, at + len(piece)))
        reached = next((place for place in range(len(whole)) if place not in seen), len(whole))
        ends = [len(framed(*messages[: count + 1])) for count in range(len(messages))]
        assert len(found) == sum(end <= reached for end in ends)  # as soon as it is whole, and never later
    assert found == messages


def test_a_stream_met_midway_begins_with_what_comes_first() -> None:
    streams = Streams()
    here = segment(500, framed(b"hello"))
    stream = streams.of(here)
    assert not stream.known
    assert stream.take(here) == [b"hello"]
    assert stream.take(here) == []  # sent again


def test_the_same_ports_once_more_are_another_stream() -> None:
    streams = Streams()
    first = streams.of(segment(100, b"", opens=True))
    assert streams.of(segment(100, b"", opens=True)) is first  # its answer was lost
    assert streams.of(segment(9_000, b"", opens=True)) is not first
    streams.of(segment(9_001, b"", resets=True))
    assert not streams.of(segment(9_001, framed(b"x"))).known


def test_what_lies_too_far_ahead_must_come_again() -> None:
    streams = Streams()
    stream = streams.of(segment(0, b"", opens=True))
    assert stream.take(segment(MOST_AHEAD + 10, b"x")) is None
    for at in range(1, 200):
        stream.take(segment(1 + at * 1000, bytes(1000)))
    assert sum(map(len, stream._ahead.values())) <= MOST_AHEAD


def test_the_least_recently_used_stream_goes_first() -> None:
    streams = Streams()
    for port in range(MOST_STREAMS + 50):
        streams.of(segment(0, b"", opens=True, ends=ENDS._replace(dport=port)))
    assert len(streams._streams) == MOST_STREAMS
    assert streams.of(segment(1, b"", ends=ENDS._replace(dport=MOST_STREAMS))).known
    assert not streams.of(segment(1, b"", ends=ENDS._replace(dport=0))).known
