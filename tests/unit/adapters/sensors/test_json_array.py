"""JSON arrays of records are read like lines of records."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from log_samples import CONN, FLOW
from netpersona.adapters.sensors import json_array
from netpersona.adapters.sensors.recognise import sensors
from netpersona.adapters.sensors.source import open_source
from netpersona.errors import SourceError

ZEEK = [CONN, CONN | {"uid": "C2", "id.orig_p": 50821, "note": 'a "]}, [{" in\na string'}]
OTHERS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def flows_of(file):
    (sensor,) = sensors([file])
    batches = list(sensor.batches())
    skipped = {reason: n for each in batches for reason, n in each.skipped.items()}
    return sensor.format, sum(each.flows.height for each in batches), skipped


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"separators": (",", ":")}])
@pytest.mark.parametrize(("format_", "records"), [("zeek", ZEEK), ("suricata", [FLOW, FLOW | {"flow_id": 7}])])
def test_an_array_gives_what_its_lines_give(tmp_path, pack, style, format_, records):
    array, lines = tmp_path / "array", tmp_path / "lines"
    array.write_bytes(pack(b" \n" + json.dumps(records, **style).encode() + b"\n"))
    lines.write_bytes(b"".join(json.dumps(each).encode() + b"\n" for each in records))
    assert flows_of(array) == flows_of(lines) == (format_, 2, {})


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(("format_", "records"), [("zeek", ZEEK), ("suricata", [FLOW, FLOW | {"flow_id": 7}])])
def test_a_mark_of_utf_8_costs_no_record(tmp_path, pack, format_, records):
    file = tmp_path / "marked"
    file.write_bytes(pack(b"\xef\xbb\xbf" + b"".join(json.dumps(each).encode() + b"\r\n" for each in records)))
    assert flows_of(file) == (format_, 2, {})


@pytest.mark.parametrize("end", ["", "\n", ", ", ",\n{", ', {"ts": 1', "]]", "] {}", ", nonsense, {}]"])
def test_of_a_damaged_array_the_whole_elements_are_read(tmp_path, end):
    file = tmp_path / "cut.json"
    file.write_text("[" + ", ".join(json.dumps(each, indent=1) for each in ZEEK) + end)
    format_, flows, skipped = flows_of(file)
    assert (format_, flows) == ("zeek", 2)
    assert sum(skipped.values()) == (0 if end.strip(" \n,") == "" else 1)


def test_an_empty_array_is_an_empty_source(tmp_path):
    file = tmp_path / "none.json"
    file.write_text(" [\n ]\n")
    (sensor,) = sensors([file])
    assert sensor.format == "empty"


def test_an_array_too_long_says_how_to_convert_it(tmp_path, monkeypatch):
    monkeypatch.setattr(json_array, "LARGEST", 1 << 20)
    file = tmp_path / "long.json"
    file.write_bytes(b"[" + b",".join([json.dumps(CONN).encode()] * 3000) + b"]")
    with pytest.raises(SourceError, match=r"long\.json:1: a JSON array of more than 1 MB.*jq -c"):
        sensors([file])


@pytest.mark.parametrize("text", [b"[1, 2]", b'["a"]', b"[{not json", b"[Adblock]\n||x^\n", b"[[{}]]"])
def test_what_is_no_array_of_records_is_not_recognised(tmp_path, text):
    file = tmp_path / "other.json"
    file.write_bytes(text)
    with pytest.raises(SourceError, match="not recognised"):
        sensors([file])


def test_damage_below_the_array_is_not_forgotten(tmp_path):
    file = tmp_path / "cut.json.gz"
    file.write_bytes(gzip.compress(json.dumps(ZEEK * 400).encode())[:-20])
    with open_source(file) as stream:
        assert stream.read()
    _, flows, skipped = flows_of(file)
    assert flows > 100
    assert any("damaged or cut short" in reason for reason in skipped)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(), OTHERS, max_size=4), min_size=1, max_size=6), st.sampled_from([None, 1]))
def test_every_element_is_one_line(records, indent):
    text = json.dumps(records, indent=indent).encode()
    assert json_array.is_array(text)
    assert [json.loads(each) for each in json_array.lines(text).splitlines()] == records
    cut = json_array.lines(text[:-1])
    assert [json.loads(each) for each in cut.splitlines()] == records
