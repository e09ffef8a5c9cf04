import polars as pl

from netpersona.flow.distinct import distinct, union
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA, batch

MS = 1000  # µs
START = 1_760_000_100_000_000


def flow(at, source, port=50000, **more):
    """A TCP flow that was answered, `at` ms after START."""
    base = {"transport": "tcp", "originator": "10.0.0.1", "responder": "9.9.9.9", "responder_port": 443, "state": "SF"}
    return base | {"start": START + at * MS, "source": source, "originator_port": port} | more


def table(*rows):
    types = {name: dtype for name, dtype in FLOW_SCHEMA.items() if any(name in row for row in rows)}
    return batch(pl.DataFrame(list(rows), schema=types)).flows


def left(*rows):
    """When (ms after START) and by which source the flows that remain were seen; the order of the rows is no matter."""
    found = {
        tuple(sorted(((start - START) // MS, source) for start, source in distinct(t).select("start", "source").rows()))
        for t in (table(*rows), table(*reversed(rows)))
    }
    [answer] = found
    return list(answer)


def ping(at, source, **more):
    return flow(at, source, None, transport="icmp", responder_port=None, state=None) | {"packets_resp": 1} | more


def test_two_sensors_some_milliseconds_apart_see_one_flow():
    assert left(flow(0, "tap"), flow(12, "agent")) == [(0, "tap")]


def test_three_sensors_see_one_flow():
    assert left(flow(0, "tap"), flow(12, "agent"), flow(20, "mirror")) == [(0, "tap")]


def test_what_two_sensors_saw_half_a_second_apart_are_two_flows():
    assert left(flow(0, "tap"), flow(500, "agent")) == [(0, "tap"), (500, "agent")]


def test_retries_stay():
    rows = [flow(at, source, state="S0") for at, source in ((0, "tap"), (500, "tap"), (12, "agent"), (512, "agent"))]
    assert len(left(*rows)) == 4  # nothing proves yet that the two watch the same traffic
    proof = [flow(9000, "tap"), flow(9012, "agent")]
    assert left(*rows, *proof) == [(0, "tap"), (500, "tap"), (9000, "tap")]


def test_parts_of_one_sensors_log_give_no_proof_and_nothing_is_taken_from_them():
    parts = [flow(at, f"conn.{at // 40 % 2}.log", state="S0") for at in range(0, 400, 40)]
    assert len(left(*parts)) == len(parts)


def knocks(source, late=0, ports=range(12)):
    """Flows to many ports that nobody answers, `late` ms after the other sensors."""
    return [flow(100 * i + late, source, responder_port=1000 + i, state="S0") for i in ports]


def test_where_nobody_answers_it_is_proof_that_most_is_seen_twice():
    assert len(left(*knocks("tap"), *knocks("agent", 12))) == 12
    assert len(left(*knocks("tap"), *knocks("agent", 12, range(1, 11)))) == 12
    assert len(left(*knocks("tap", ports=range(9)), *knocks("agent", 12, range(9)))) == 18  # nine are no proof


def test_twins_that_fell_into_two_parts_of_a_log_are_no_proof():
    twins = [row for i in range(60) for row in (*knocks("a", 0, [i]), *knocks("a", 20, [i]))]
    parts = [row | {"source": "ab"[i * 7919 // 64 % 2]} for i, row in enumerate(twins)]
    assert len(left(*parts)) == 120


def test_within_one_source_every_row_counts():
    assert len(left(flow(0, "tap"), flow(1, "tap"), flow(2, "tap"))) == 3


def test_another_five_tuple_is_another_flow():
    others = [
        flow(5, "agent", 50001),
        flow(5, "agent", transport="udp"),
        flow(5, "agent", responder="9.9.9.8"),
        flow(5, "agent", originator="10.0.0.2"),
        flow(5, "agent", responder_port=80),
    ]
    assert len(left(flow(0, "tap"), *others)) == 6


def test_pings_are_one_only_where_their_counters_agree():
    assert left(ping(0, "tap", packets_orig=3), ping(12, "agent", packets_orig=3)) == [(0, "tap")]
    assert len(left(ping(0, "tap", packets_orig=3), ping(12, "agent", packets_orig=4))) == 2


def test_the_hidden_flow_does_not_depend_on_the_order_of_rows():
    tied = [flow(0, "agent"), flow(0, "tap", bytes_orig=1), flow(0, "tap", bytes_orig=2)]
    kept = {
        tuple(sorted(distinct(table(*rows)).select("source", "bytes_orig").rows(), key=str))
        for rows in (tied, tied[::-1], [tied[0], tied[2], tied[1]])
    }
    assert len(kept) == 1


def test_few_rows_are_left_alone():
    assert distinct(table(flow(0, "tap"))).height == 1
    assert distinct(batch().flows).height == 0


def times(rows):
    return sorted((start - START) // MS for start in rows["start"])


def test_the_union_holds_each_row_as_often_as_the_table_that_has_it_more_often():
    one = table(flow(0, "tap"), flow(0, "tap"), flow(1, "tap"))
    other = table(flow(0, "tap"), flow(1, "tap"), flow(1, "tap"), flow(2, "tap"))
    assert times(union(one, other)) == times(union(other, one)) == [0, 0, 1, 1, 2]


def test_the_union_with_nothing_and_with_itself_is_the_table():
    one = table(flow(0, "tap"), flow(0, "tap"))
    assert times(union(one, one)) == times(union(one, one.clear())) == times(union(one.clear(), one)) == [0, 0]


def test_transactions_unite_too():
    said = {"start": START, "kind": "dns", "name": "a.example", "answers": ["192.0.2.1"]}
    types = {name: TRANSACTION_SCHEMA[name] for name in said}
    one = batch(transactions=pl.DataFrame([said], schema=types)).transactions
    assert union(one, one).rows() == one.rows()
