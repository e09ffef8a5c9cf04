"""Argus binetflow: columns by header, directions, states, rows that are not IP, damage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged_logs import accounted_or_refused
from netpersona.adapters.sensors.argus import ArgusSensor, looks_like
from netpersona.errors import SourceError

HEADER = "StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,SrcPkts,Label"
ROW = {
    "StartTime": "2019/04/04 16:23:00.325010",
    "Dur": "0.027947",
    "Proto": "tcp",
    "SrcAddr": "192.0.2.10",
    "Sport": "40000",
    "Dir": "   ->",
    "DstAddr": "198.51.100.5",
    "Dport": "443",
    "State": "FSPA_FSPA",
    "TotPkts": "10",
    "TotBytes": "1000",
    "SrcBytes": "300",
    "SrcPkts": "4",
}


def row(header=HEADER, separator=",", **told):
    values = ROW | told
    return separator.join(values.get(name, "") for name in header.split(separator))


def read(tmp_path, *lines):
    path = tmp_path / "x.binetflow"
    path.write_bytes("\n".join(lines).encode())
    sensor = ArgusSensor(path)
    flows = [flow for batch in sensor.batches() for flow in batch.flows.rows(named=True)]
    return flows, sensor.accounts()[0].skipped


def one(tmp_path, header=HEADER, **told):
    [flow], skipped = read(tmp_path, header, row(header, "\t" if "\t" in header else ",", **told))
    assert skipped == {}
    return flow


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoted", ["header and rows", "rows"])
def test_quoted_fields(tmp_path, separator, quoted):
    def line(values, quote='"'):
        return separator.join(f"{quote}{value}{quote}" for value in values)

    names = HEADER.split(",")
    header = line(names) if "header" in quoted else line(names, "")
    told = [ROW.get(name, "") for name in names[:-1]] + [f"flow=From{separator} or more"]
    assert looks_like(header.encode())
    [flow, plain], skipped = read(tmp_path, header, line(told), header, line([*told[:-1], "x"], ""), line(told[:5]))
    assert flow == plain
    assert (flow["originator"], flow["responder_port"], flow["bytes_orig"]) == ("192.0.2.10", 443, 300)
    assert skipped == {"row with another number of columns": 1}


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_row(tmp_path, separator):
    header = HEADER.replace(",", separator)
    assert looks_like(header.encode())
    flow = one(tmp_path, header)
    assert (flow["start"], flow["duration"], flow["transport"], flow["state"]) == (
        1_554_394_980_325_010,
        27_947,
        "tcp",
        "SF",
    )
    assert (flow["originator"], flow["originator_port"], flow["responder"], flow["responder_port"]) == (
        "192.0.2.10",
        40000,
        "198.51.100.5",
        443,
    )
    assert [flow[n] for n in ("bytes_orig", "bytes_resp", "packets_orig", "packets_resp")] == [300, 700, 4, 6]
    assert flow["sensor"] == "argus"


def test_other_columns_in_another_order(tmp_path):
    header = "dport,daddr,DstBytes,SrcBytes,DstPkts,SrcPkts,SIntPkt,LastTime,stime,sport,saddr,proto,SAppBytes"
    values = "443,198.51.100.5,700,300,6,4,1.5,1554394981.5,1554394980.325010,40000,192.0.2.10,TCP,123"
    [flow], _ = read(tmp_path, header, values)
    assert [flow[n] for n in ("bytes_orig", "bytes_resp", "packets_orig", "packets_resp")] == [300, 700, 4, 6]
    assert (flow["start"], flow["duration"], flow["payload_orig"]) == (1_554_394_980_325_010, 1_174_990, 123)
    assert flow["state"] is None


def test_packets_each_way_only_where_they_follow(tmp_path):
    told = {"SrcPkts": ""}
    assert one(tmp_path, **told)["packets_orig"] is None  # not said
    both = one(tmp_path, TotPkts="2", **told)
    assert (both["packets_orig"], both["packets_resp"]) == (1, 1)
    silent = one(tmp_path, TotPkts="7", TotBytes="300", **told)
    assert (silent["packets_orig"], silent["packets_resp"]) == (7, 0)


@pytest.mark.parametrize(
    ("arrow", "originator"),
    [
        ("->", "192.0.2.10"),
        ("<->", "192.0.2.10"),
        ("<?>", "192.0.2.10"),
        ("?>", "192.0.2.10"),
        ("<-", "198.51.100.5"),
        ("<?", "198.51.100.5"),
    ],
)
def test_directions(tmp_path, arrow, originator):
    flow = one(tmp_path, Dir=f"  {arrow}", State="SA_S")
    turned = originator != "192.0.2.10"
    assert flow["originator"] == originator
    assert flow["bytes_orig"] == (700 if turned else 300)
    assert flow["originator_port"] == (443 if turned else 40000)
    assert flow["state"] == "S1"


@pytest.mark.parametrize(
    ("proto", "state", "word"),
    [
        ("tcp", "S_", "S0"), ("tcp", "S_RA", "REJ"), ("tcp", "S_SA", "S1"), ("tcp", "SRPA_SPA", "RSTO"),
        ("tcp", "SPA_SRPA", "RSTR"), ("tcp", "FSPA_SPA", "S2"), ("tcp", "SPA_FSPA", "S3"), ("tcp", "FSA_", "SH"),
        ("tcp", "PA_PA", "OTH"), ("tcp", "FSRPA_FSPA", "SF"), ("tcp", "S0", "S0"), ("tcp", "REQ", "S0"),
        ("tcp", "CON", "S1"), ("tcp", "FIN", "SF"), ("tcp", "TIM", "S1"), ("tcp", "RST", "RSTR"), ("tcp", "???", None),
        ("udp", "CON", "SF"), ("udp", "INT", "S0"), ("udp", "URP", "REJ"), ("icmp", "ECO", "OTH"), ("igmp", "INT", "OTH"),
    ],
)  # fmt: skip
def test_states(tmp_path, proto, state, word):
    assert one(tmp_path, Proto=proto, State=state)["state"] == word


def test_ports_are_numbers_services_or_nothing(tmp_path):
    assert one(tmp_path, Dport="https")["responder_port"] == 443
    assert one(tmp_path, Dport="0x01bb")["responder_port"] == 443
    icmp = one(tmp_path, Proto="icmp", Sport="0x0303", Dport="0x7208", State="URP")
    assert (icmp["originator_port"], icmp["responder_port"]) == (None, None)
    assert (
        one(tmp_path, Proto="ipv6-icmp", SrcAddr="FE80::1", DstAddr="ff02::1", Sport="", Dport="")["originator"]
        == "fe80::1"
    )
    flows, skipped = read(tmp_path, HEADER, row(Dport="no-such-service"), row(Dport="70000"), row(Dport=""))
    assert (flows, skipped) == ([], {"unknown port": 3})


def test_rows_that_are_not_ip_are_counted(tmp_path):
    rows = [
        row(Proto="man", SrcAddr="0", DstAddr="0"),
        row(Proto="arp"),
        row(Proto="udp", SrcAddr="00:00:00:00:00:01"),
        row(),
    ]
    flows, skipped = read(tmp_path, HEADER, *rows)
    assert (len(flows), skipped) == (1, {"not IP: man": 1, "not IP: arp": 1, "not IP: no IP addresses": 1})


def test_bad_rows_are_counted_and_the_rest_is_read(tmp_path):
    rows = [
        row() + ",x",
        row(StartTime="16:23:00.5"),
        row(StartTime="noon"),
        row(Dur="-1"),
        row(TotBytes="10"),
        row(SrcPkts="-3"),
        row(),
        HEADER,
        "",
    ]
    flows, skipped = read(tmp_path, HEADER, *rows)
    assert len(flows) == 1
    assert skipped == {
        "row with another number of columns": 1,
        "a time of day without its day (ra -u prints both)": 1,
        "unreadable time": 1,
        "impossible duration": 1,
        "impossible counter": 2,
    }


@pytest.mark.parametrize("content", ["", "hello", "StartTime,Dur\n1,2", "{}"])
def test_what_has_no_header_is_refused(tmp_path, content):
    assert not looks_like(content.encode())
    with pytest.raises(SourceError, match=r"x.binetflow:1: .*expected"):
        read(tmp_path, content)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 400), st.binary(max_size=8))
def test_a_damaged_file_is_accounted_for_or_refused(tmp_path_factory, at, junk):
    whole = "\n".join([HEADER, row(), row(Dir="<-", State="S_RA")]).encode()
    path = tmp_path_factory.mktemp("fuzz") / "x"
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    accounted_or_refused(ArgusSensor(path))
