"""Zeek's TSV logs: header lines, odd layouts, and what happens to rows that are not as they must be."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from log_samples import FIELDS, ROW, header, read, row, write
from netpersona.errors import SourceError


def test_a_conn_row_becomes_a_flow_with_every_word_in_its_place(tmp_path):
    flow = read(write(tmp_path, header() + row())).flows.row(0, named=True)
    assert flow["start"] == 1655071198444458
    assert flow["duration"] == 1135424
    assert (flow["transport"], flow["originator"], flow["originator_port"]) == ("tcp", "10.0.0.5", 62771)
    assert (flow["responder"], flow["responder_port"], flow["application"]) == ("40.74.108.123", 443, "ssl")
    assert (flow["bytes_orig"], flow["bytes_resp"], flow["packets_orig"], flow["packets_resp"]) == (1016, 1226, 14, 16)
    assert (flow["payload_orig"], flow["payload_resp"], flow["state"], flow["uid"]) == (1596, 4039, "SF", "CHLX")
    assert flow["sensor"] == tmp_path.name
    assert flow["source"].endswith("conn.log")


def test_every_microsecond_survives(tmp_path):
    times = [
        f"{second}.{micro:06d}" for second in (0, 19, 1655071198, 4102444799) for micro in range(0, 1_000_000, 99_991)
    ]
    starts = read(write(tmp_path, header() + "".join(row(ts=at) for at in times))).flows["start"].to_list()
    assert starts == sorted(int(at.replace(".", "")) for at in times)


@pytest.mark.parametrize("at", ["2022-06-12T21:59:58Z", "2022-06-12T21:59:58+0000", "2022-06-13T03:44:58.000+05:45"])
def test_times_that_zeek_cut_made_readable(tmp_path, at):
    found = read(write(tmp_path, header() + row(ts=at) + row()))
    assert found.flows["start"].to_list() == [1655071198000000, 1655071198444458]
    assert found.skipped == {}


def test_names_of_fields_without_their_directive(tmp_path):
    """Zeek writes so with the filter option tsv=T."""
    with_directive = read(write(tmp_path, header() + row()))
    assert read(write(tmp_path, "\t".join(FIELDS) + "\n" + row())).flows.equals(with_directive.flows)


def test_bytes_without_headers_stand_in_where_the_others_are_missing(tmp_path):
    flow = read(write(tmp_path, header() + row(orig_ip_bytes="-", resp_ip_bytes="-"))).flows.row(0, named=True)
    assert (flow["bytes_orig"], flow["bytes_resp"]) == (1596, 4039)


def test_unset_is_null_and_zero_is_zero(tmp_path):
    text = header() + row(duration="-", orig_bytes="-", resp_bytes=0, service="-", orig_pkts=0)
    flow = read(write(tmp_path, text)).flows.row(0, named=True)
    assert (flow["duration"], flow["payload_orig"], flow["application"]) == (None, None, None)
    assert (flow["payload_resp"], flow["packets_orig"]) == (0, 0)


@pytest.mark.parametrize(("host", "transport"), [("10.0.0.5", "icmp"), ("fe80::1", "icmp6")])
def test_icmp_has_no_ports(tmp_path, host, transport):
    peer = "10.0.0.9" if "." in host else "ff02::1"
    text = header() + row(proto="icmp", id_orig_h=host, id_resp_h=peer, id_orig_p=8, id_resp_p=0)
    flow = read(write(tmp_path, text)).flows.row(0, named=True)
    assert (flow["transport"], flow["originator_port"], flow["responder_port"]) == (transport, None, None)


def test_addresses_become_canonical(tmp_path):
    text = header() + row(id_orig_h="::ffff:10.1.2.3", id_resp_h="2001:DB8:0:0::1")
    flow = read(write(tmp_path, text)).flows.row(0, named=True)
    assert (flow["originator"], flow["responder"]) == ("10.1.2.3", "2001:db8::1")


@pytest.mark.parametrize("style", ["id_", ""])
def test_other_styles_of_endpoint_names(tmp_path, style):
    fields = [name.replace("id.", style) if style else name for name in FIELDS]
    body = row(fields=FIELDS)
    assert read(write(tmp_path, header(fields) + body)).flows["originator"].to_list() == ["10.0.0.5"]


def test_columns_in_any_order_with_strangers_among_them(tmp_path):
    fields = ["_node_name", "colour", *reversed(FIELDS)]
    text = header(fields) + "\t".join(["worker-1", "red", *(ROW[name] for name in reversed(FIELDS))]) + "\n"
    flow = read(write(tmp_path, text)).flows.row(0, named=True)
    assert (flow["sensor"], flow["originator_port"], flow["bytes_resp"]) == ("worker-1", 62771, 1226)


def test_fields_that_change_mid_file(tmp_path):
    short = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "resp_bytes", "conn_state"]
    text = (
        header()
        + row(uid="C1")
        + "#close\t2022\n"
        + header(short)
        + row(fields=short, uid="C2")
        + header()
        + row(uid="C3")
    )
    flows = read(write(tmp_path, text)).flows
    assert flows["uid"].to_list() == ["C1", "C2", "C3"]
    assert flows["payload_resp"].to_list() == [4039] * 3
    assert flows["packets_orig"].to_list() == [14, None, 14]


def test_logs_of_two_kinds_in_one_file(tmp_path):
    http = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "method", "host", "uri", "status_code"]
    said = row(fields=http).replace("-\t-\t-\t-", "GET\texample.com\t/x\t200")
    found = read(write(tmp_path, header() + row() + header(http, "http") + said))
    assert found.flows.height == 1
    assert found.flows["server_name"].to_list() == ["example.com"]
    assert found.transactions.select("name", "detail", "status").rows() == [("example.com", "GET /x", "200")]


@pytest.mark.parametrize("separator", ["|", ",", ";", " "])
def test_other_separators(tmp_path, separator):
    text = header(separator=separator) + row(separator) * 2
    assert read(write(tmp_path, text)).flows["payload_resp"].to_list() == [4039, 4039]


def test_other_words_for_unset_and_empty(tmp_path):
    text = header().replace("#unset_field\t-", "#unset_field\tNIL").replace("(empty)", "[]") + row(
        service="NIL", duration="NIL"
    )
    flow = read(write(tmp_path, text)).flows.row(0, named=True)
    assert (flow["application"], flow["duration"]) == (None, None)


def test_windows_line_ends(tmp_path):
    text = (header() + row() + row(duration="-")).replace("\n", "\r\n")
    found = read(write(tmp_path, text))
    assert found.flows.height == 2
    assert not found.skipped


def test_gzip_and_no_last_newline(tmp_path):
    packed = gzip.compress((header() + row() + row()).rstrip("\n").encode())
    assert read(write(tmp_path, packed, "conn.log.gz")).flows.height == 2


def test_two_gzip_members_one_after_the_other(tmp_path):
    packed = gzip.compress((header() + row()).encode()) + gzip.compress((header() + row()).encode())
    assert read(write(tmp_path, packed)).flows.height == 2


def test_damaged_gzip_gives_what_it_can_and_says_so(tmp_path):
    rows = "".join(row(uid=f"C{number * 7919 % 100_003}") for number in range(5000))
    packed = gzip.compress((header() + rows).encode())
    found = read(write(tmp_path, packed[: len(packed) // 2]))
    assert 0 < found.flows.height < 5000
    assert found.skipped["compressed data damaged or cut short"] == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("1655071198.4\tC\n", "wrong number of fields"),
        (row().rstrip("\n") + "\textra\n", "wrong number of fields"),
        ("\x00\x01\x7f\n", "wrong number of fields"),
        (row(ts="yesterday"), "not a time"),
        (row(ts="2022-06-12T21:59:58"), "not a time"),  # of which zone?
        (row(ts="-"), "no time"),
        (row(ts="nan"), "time out of range"),
        (row(ts="-5.0"), "time out of range"),
        (row(ts="1e300"), "time out of range"),
        (row(orig_bytes="many"), "not a number"),
        (row(orig_bytes="-7"), "count out of range"),
        (row(resp_pkts="18446744073709551615"), "not a number"),
        (row(resp_pkts="9223372036854775807"), "count out of range"),
        (row(id_orig_p="70000"), "not a number"),
        (row(id_orig_h="<script>"), "not an address"),
        (row(id_orig_h="10.0.0.256"), "not an address"),
        (row(id_orig_h="fe80::1%eth0"), "not an address"),
        (row(id_resp_h="-"), "not an address"),
    ],
)
def test_a_bad_row_is_counted_and_costs_no_other(tmp_path, bad, reason):
    found = read(write(tmp_path, header() + row(uid="C1") + bad + row(uid="C2")))
    assert found.flows["uid"].to_list() == ["C1", "C2"]
    assert found.skipped == {reason: 1}


def test_a_line_too_few_and_one_too_many_do_not_cancel_out(tmp_path):
    text = header() + row(uid="C1") + "1655071198.4\tC\n" + row().rstrip("\n") + "\ta" * 19 + "\n" + row(uid="C2")
    found = read(write(tmp_path, text))
    assert found.flows["uid"].to_list() == ["C1", "C2"]
    assert found.skipped == {"wrong number of fields": 2}


def test_bytes_that_are_no_text(tmp_path):
    text = (
        header().encode()
        + row(uid="C1").encode()
        + row(uid="X").encode().replace(b"ShADdaFf", b"\xff\xfe")
        + b"\xff\xff\n"
    )
    found = read(write(tmp_path, text))
    assert found.flows.height == 2
    assert found.skipped == {"wrong number of fields": 1}


def test_a_last_line_cut_short(tmp_path):
    found = read(write(tmp_path, header() + row() + row()[:30]))
    assert found.flows.height == 1
    assert found.skipped == {"cut short": 1}


def test_a_line_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("netpersona.adapters.sensors.source.LONGEST_LINE", 5000)
    found = read(write(tmp_path, header() + row(uid="C1") + "x" * 100_000 + "\n" + row(uid="C2")))
    assert found.flows["uid"].to_list() == ["C1", "C2"]
    assert sum(found.skipped.values()) == 1


def test_rows_without_a_header_are_refused_with_the_remedy(tmp_path):
    with pytest.raises(SourceError, match=r"conn\.log:1: .*expected a '#fields' line"):
        read(write(tmp_path, row() * 3))


def test_a_header_line_that_was_pushed_in(tmp_path):
    found = read(write(tmp_path, "\t" + header() + row()))
    assert found.flows.height == 1
    assert not found.skipped


def test_junk_before_the_header_is_counted(tmp_path):
    found = read(write(tmp_path, "\x00\x01junk\n" + header() + row()))
    assert found.flows.height == 1
    assert found.skipped == {"no header": 1}


def test_header_alone_and_nothing_at_all(tmp_path):
    assert read(write(tmp_path, header())).flows.height == 0
    assert read(write(tmp_path, "")).flows.height == 0
    assert read(write(tmp_path, "\n\n")).flows.height == 0


def test_another_makers_file_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"conn\.log:1: .*begins no Zeek log"):
        read(write(tmp_path, "hello\n"))


def test_small_blocks_give_what_one_block_gives(tmp_path, monkeypatch):
    text = (
        header()
        + "".join(row(uid=f"C{n}", id_orig_h=f"10.0.0.{n % 300}") for n in range(400))
        + header(FIELDS[:12])
        + row(fields=FIELDS[:12])
    )
    file = write(tmp_path, text)
    whole = read(file)
    assert whole.skipped == {"not an address": 44}
    for size in (100, 1000, 4096):
        with monkeypatch.context() as patch:
            patch.setattr("netpersona.adapters.sensors.source.blocks.__defaults__", (size,))
            small = read(file)
        assert small.skipped == whole.skipped
        assert small.flows.equals(whole.flows)


VALUES = {
    "ts": st.sampled_from(["1655071198.444458", "19.981745", "-", "soon", "inf"]),
    "id.orig_h": st.sampled_from(["10.0.0.5", "fe80::1", "::ffff:1.2.3.4", "-", "1.2.3", "01.2.3.4"]),
    "id.orig_p": st.sampled_from(["0", "53", "65535", "65536", "-", "x"]),
    "orig_bytes": st.sampled_from(["0", "1596", "-", "9007199254740993", "-1", "1.5"]),
    "proto": st.sampled_from(["tcp", "icmp", "UDP"]),
    "conn_state": st.sampled_from(["SF", "S0", "-", "evil"]),
}


@st.composite
def lines(draw):
    row_ = ROW | {name: draw(values) for name, values in VALUES.items()}
    line = "\t".join(row_.values())
    return draw(st.sampled_from([line, line, line, line + "\tmore", line.rsplit("\t", 3)[0], "", "#close"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(lines(), max_size=12))
def test_the_columns_say_what_reading_row_by_row_says(tmp_path_factory, drawn):
    file = write(tmp_path_factory.mktemp("zeek"), header() + "".join(line + "\n" for line in drawn))
    expected = [flow for line in drawn if (flow := slowly(line)) is not None]
    found = read(file)
    assert sorted(found.flows.select(*ORACLE).rows()) == sorted(expected)
    seen = sum(1 for line in drawn if line and not line.startswith("#"))
    assert sum(found.skipped.values()) == seen - len(expected)


ORACLE = ("start", "transport", "originator", "payload_orig", "responder_port")


def slowly(line):
    """The obvious reading of one conn row; None for no row or a bad one."""
    values = line.split("\t")
    if line.startswith("#") or len(values) != len(FIELDS):
        return None
    got = dict(zip(FIELDS, values, strict=True))
    good = got["ts"] in {"1655071198.444458", "19.981745"} and got["id.orig_h"] in {
        "10.0.0.5",
        "fe80::1",
        "::ffff:1.2.3.4",
    }
    good = good and got["id.orig_p"] in {"0", "53", "65535", "-"} and got["orig_bytes"] in {"0", "1596", "-"}
    if not good:
        return None
    transport = got["proto"].lower()
    if transport == "icmp" and got["id.orig_h"] == "fe80::1":
        transport = "icmp6"
    payload = None if got["orig_bytes"] == "-" else int(got["orig_bytes"])
    port = None if transport.startswith("icmp") else 443
    return int(got["ts"].replace(".", "")), transport, got["id.orig_h"].removeprefix("::ffff:"), payload, port
