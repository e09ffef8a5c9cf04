"""Names that are too long keep their end."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.sensors.long_name import LONGEST, MARK, shortened
from netpersona.adapters.sensors.packets.tls import host_name
from netpersona.adapters.sensors.zeek_shape import host_name as column


@settings(max_examples=100, deadline=None)
@given(st.text("ab.-", min_size=1, max_size=300), st.integers(0, 3))
def test_both_readers_of_names_agree(part, times):
    name = f"{part}{'x' * 200 * times}.evil.example"
    short = shortened(name)
    assert len(short) <= LONGEST
    assert (short == name) is (len(name) <= LONGEST)
    assert short.endswith(name[-186:])
    in_column = pl.DataFrame({"name": [name]}).select(column("name")).item()
    assert in_column == short


@pytest.mark.parametrize("size", [253, 254, 255, 16_000])
def test_a_hello_that_pads_its_name_is_still_read(size):
    name = "x" * (size - 13) + ".evil.example"
    said = host_name(name)
    assert said is not None
    assert said.endswith(".evil.example")
    assert (MARK in said) is (size > LONGEST)
