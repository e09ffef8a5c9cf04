import polars as pl
import pytest

from netpersona.flow.orient import first_activity, oriented, owner_table
from netpersona.flow.table import FLOW_SCHEMA, batch
from netpersona.flow.window import SECOND, WINDOW

START = 1_760_000_100_000_000 // WINDOW * WINDOW  # µs
OWNERS = owner_table({"10.0.0.1": "a", "10.0.0.2": "b"})


def flows(*rows):
    """Flow tables of (originator, responder) and whatever else is given."""
    base = {"start": START, "transport": "tcp", "originator_port": 50000, "responder_port": 443, "state": "SF"}
    made = [base | {"originator": one, "responder": other} | more for one, other, more in rows]
    types = {name: dtype for name, dtype in FLOW_SCHEMA.items() if any(name in row for row in made)}
    return batch(pl.DataFrame(made, schema=types)).flows


def sides(table, owners=OWNERS):
    columns = ["vm", "vm_address", "peer", "direction"]
    return sorted(oriented(table, owners).select(columns).rows())


def test_a_flow_is_the_vms_that_opened_or_answered_it():
    assert sides(flows(("10.0.0.1", "9.9.9.9", {}))) == [("a", "10.0.0.1", "9.9.9.9", "outbound")]
    assert sides(flows(("9.9.9.9", "10.0.0.2", {}))) == [("b", "10.0.0.2", "9.9.9.9", "inbound")]


def test_a_flow_between_two_vms_is_a_row_of_each():
    assert sides(flows(("10.0.0.1", "10.0.0.2", {}))) == [
        ("a", "10.0.0.1", "10.0.0.2", "outbound"),
        ("b", "10.0.0.2", "10.0.0.1", "inbound"),
    ]


def test_a_flow_of_no_vm_is_nobodys():
    assert sides(flows(("9.9.9.9", "8.8.8.8", {}))) == []


def test_a_transport_without_ports_has_port_zero_and_windows_are_aligned():
    table = flows(("10.0.0.1", "9.9.9.9", {"responder_port": None, "transport": "icmp", "start": START + WINDOW - 1}))
    [row] = oriented(table, OWNERS).iter_rows(named=True)
    assert (row["port"], row["window"], row["start"]) == (0, START, START + WINDOW - 1)


def test_an_address_counts_from_the_window_in_which_it_was_first_active():
    since = START + WINDOW + SECOND
    owners = owner_table({"10.0.0.1": "a"}, {"10.0.0.1": since})
    rows = flows(*[("10.0.0.1", "9.9.9.9", {"start": at}) for at in (START, START + WINDOW, since, since + WINDOW)])
    assert sorted(oriented(rows, owners)["start"]) == [START + WINDOW, since, since + WINDOW]


def test_a_named_vm_counts_from_the_beginning_beside_inferred_ones():
    owners = owner_table({"10.0.0.1": "a", "10.0.0.2": "b"}, {"10.0.0.1": START + WINDOW})
    assert sides(flows(("10.0.0.1", "10.0.0.2", {})), owners) == [("b", "10.0.0.2", "10.0.0.1", "inbound")]


def active(*rows):
    return first_activity(flows(*rows)).rows()


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "10.255.0.1", "172.16.0.1", "172.31.255.1", "192.168.0.1", "fc00::1", "fd12:3456::1", "fdff:ffff::1"],
)
def test_private_addresses_are_vms(address):
    assert active((address, "9.9.9.9", {})) == [(address, START)]


@pytest.mark.parametrize(
    "address",
    [
        *("9.9.9.9", "172.15.0.1", "172.32.0.1", "172.1.0.1", "192.169.0.1", "11.0.0.1", "110.0.0.1", "0.0.0.0"),
        *(
            "224.0.0.1",
            "169.254.1.1",
            "127.0.0.1",
            "2001:db8::1",
            "fe80::1",
            "ff02::1",
            "::1",
            "fc::1",
            "255.255.255.255",
        ),
        *("10.0.0.255", "192.168.1.255"),
    ],
)
def test_public_local_broadcast_and_group_addresses_are_not(address):
    assert active((address, "9.9.9.9", {})) == []


def test_a_private_address_that_answers_is_a_vm():
    assert active(("9.9.9.9", "10.0.0.1", {})) == [("10.0.0.1", START)]


@pytest.mark.parametrize("more", [{"state": "S0"}, {"state": "REJ", "packets_resp": 1}, {"state": None}])
def test_one_that_only_was_asked_is_not(more):
    assert active(("9.9.9.9", "10.0.0.1", more)) == []


def test_an_answer_is_seen_by_packets_where_there_is_no_state():
    assert active(("9.9.9.9", "10.0.0.1", {"state": None, "packets_resp": 1})) == [("10.0.0.1", START)]


def counted(out, back, **more):
    """What a sensor without states counts of a flow: (packets, bytes) each way."""
    names = ("packets_orig", "bytes_orig", "packets_resp", "bytes_resp")
    return {"state": None, **dict(zip(names, (*out, *back), strict=True)), **more}


@pytest.mark.parametrize("resets", [((1, 60), (1, 40)), ((3, 180), (3, 120)), ((1, 74), (1, 60)), ((2, 88), (2, 108))])
def test_a_reset_for_each_opening_packet_is_no_answer_where_there_is_no_state(resets):
    assert active(("9.9.9.9", "10.0.0.1", counted(*resets))) == []


@pytest.mark.parametrize(
    "spoken",
    [
        counted((3, 164), (2, 112)),  # a connection opened and closed, and nothing said
        counted((1, 60), (1, 400)),
        counted((2, 300), (2, 104)),
        counted((5, 300), (5, 200)),
        counted((1, 60), (1, 40), transport="udp"),
        counted((1, 60), (1, 40), state="SF"),
    ],
)
def test_what_may_be_a_connection_is_an_answer(spoken):
    assert active(("9.9.9.9", "10.0.0.1", spoken)) == [("10.0.0.1", START)]


def test_the_first_activity_is_the_earliest_of_either_kind():
    rows = [
        ("9.9.9.9", "10.0.0.1", {"start": START + 5, "state": "S0"}),
        ("9.9.9.9", "10.0.0.1", {"start": START + 20}),
        ("10.0.0.1", "9.9.9.9", {"start": START + 10}),
    ]
    assert active(*rows) == active(*reversed(rows)) == [("10.0.0.1", START + 10)]
