"""Whatever becomes of a feed on its way, reading it ends soon, in canonical indicators or in a clear refusal."""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed_samples import SAMPLES
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.formats import FormatError
from netpersona.intel.indicator import INDICATOR_SCHEMA
from netpersona.intel.odd_value import odd_value

SETTINGS = FeedSettings("fuzzed")


@st.composite
def damaged(draw):
    """The bytes of one sample, or of two run into each other, cut, shuffled, doubled, or with bytes changed."""
    content = draw(st.sampled_from(sorted(SAMPLES)).map(lambda name: SAMPLES[name][0]))
    lines = content.splitlines(keepends=True)
    how = draw(st.sampled_from(["cut", "shuffle", "double", "bytes", "mix", "separators"]))
    if how == "shuffle":
        return "".join(draw(st.permutations(lines))).encode()
    if how == "double":
        return "".join(line * draw(st.integers(0, 3)) for line in lines).encode()
    if how == "mix":
        other = SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))][0].splitlines(keepends=True)
        return "".join(draw(st.permutations(lines + other))).encode()
    if how == "separators":
        old = draw(st.sampled_from([",;", "\t,", "|,", "\"'", ": ", " \t"]))
        new = draw(st.sampled_from(["\0\0", "\r\n", '|"', "$^"]))
        return content.translate(str.maketrans(old, new)).encode()
    raw = bytearray(content.encode())
    if how == "cut":
        return bytes(raw[draw(st.integers(0, len(raw))) : draw(st.integers(0, len(raw)))])
    for _ in range(draw(st.integers(1, 8))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)


def outcome(content):
    try:
        return parse(content, SETTINGS)
    except FormatError as error:
        return error


@settings(max_examples=100, deadline=None)
@given(damaged())
def test_a_damaged_feed_gives_canonical_indicators_or_a_clear_error(content):
    found = outcome(content)
    if isinstance(found, FormatError):
        assert found.line >= 1
        assert found.wrong
        assert found.expected
        return
    assert dict(found.indicators.schema) == dict(pl.Schema(INDICATOR_SCHEMA))
    assert found.unique <= found.records
    assert len(found.refused) <= found.refused_total
    assert all(refusal.reason and refusal.value.isprintable() and refusal.line >= 1 for refusal in found.refused)
    for value, kind in found.indicators.select("value", "type").rows():
        again = odd_value(value)
        assert [(each.value, each.type.value) for each in again] == [(value, "hash" if kind == "ja3" else kind)]
    confidence = found.indicators["confidence"]
    assert confidence.null_count() == 0
    assert confidence.is_between(0.0, 1.0).all()


@settings(max_examples=60, deadline=None)
@given(damaged())
def test_reading_again_gives_the_same(content):
    first, second = outcome(content), outcome(content)
    if isinstance(first, FormatError):
        assert str(first) == str(second)
    else:
        assert first.indicators.equals(second.indicators)
        assert (first.format, first.records, first.refused) == (second.format, second.records, second.refused)


N = 3_000_000
ENORMOUS = {
    "a word": b"x" * N,
    "numbers and dots": b"1." * N,
    "colons": b":" * N,
    "quotes": b'"' * N,
    "open quotes": b"ip,x\n" + b'"a\n' * (N // 4),
    "separators": b",|;\t" * (N // 4),
    "a rule of addresses": b"alert ip [" + b"8.8.4.1," * (N // 8) + b'] any -> any any (msg:"x"; sid:1;)',
    "a rule of options": b"alert tcp any any -> any any (" + b'content:"a"; ' * (N // 12) + b"tls.sni; sid:1;)",
    "rules that go on": b"alert tcp any \\\n" * (N // 16),
    "a filter": b"||" + b"a." * N + b"^",
    "a line of hosts": b"0.0.0.0 " + b"a.example " * (N // 10),
    "an item of intelligence": b"#fields\tindicator\tindicator_type\n" + b"a\t" * N,
    "a wide table": b"ip,x\n" + b"a," * N,
    "what is nothing": b"8.8.4.1\n" + b"no thing here\n" * (N // 14),
    "distinct nonsense": b"\n".join(b"no%d thing" % n for n in range(N // 60)),
    "wide ranges": b"".join(b"0.0.%d.%d-255.255.%d.254\n" % (n >> 8 & 255, n & 255 | 1, n & 255) for n in range(5_000)),
    "names in other letters": b"".join(f"é{n}.example\n".encode() for n in range(20_000)),
    "empty lines": b"\r\n" * (N // 2),
    "response policies": b"$TTL 1\n" + b"".join(b"32.%d.%d.1.1.rpz-ip CNAME .\n" % (n >> 8 & 255, n & 255) for n in range(15_000)),
    "every byte": bytes(range(256)) * (N // 256),
    "brackets": b"[.]" * (N // 3),
}  # fmt: skip
MEASURED = """
import resource, sys, time
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.formats import FormatError
parse(b"8.8.4.1\\nno thing\\n", FeedSettings("warm"))
content = sys.stdin.buffer.read()
before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    parse(content, FeedSettings("x"))
except FormatError as error:
    assert len(str(error)) < 500
print(time.process_time() - begin, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize("name", ENORMOUS)
def test_an_enormous_feed_costs_bounded_time_and_memory(name):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], input=ENORMOUS[name], capture_output=True, timeout=600, check=True
    )
    seconds, grown = done.stdout.split()
    assert float(seconds) < 20
    assert int(grown) < 400, f"{int(grown)} MiB for {len(ENORMOUS[name]) >> 20} MiB"
