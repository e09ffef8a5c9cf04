from collections import Counter

import polars as pl
import pytest

from netpersona.app.spool import FAR, Spool
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA, batch
from netpersona.flow.window import DAY, HOUR

MS = 1000  # µs
START = 1_760_000_000_000_000 // HOUR * HOUR


def flow(at, source="tap", port=50000, state="SF"):
    """A flow `at` µs after START."""
    ends = {"originator": "10.0.0.1", "responder": "9.9.9.9", "originator_port": port, "responder_port": 443}
    return ends | {"start": START + at, "transport": "tcp", "state": state, "source": source}


def asked(at, name="a.example"):
    return {"start": START + at, "kind": "dns", "name": name, "answers": ["192.0.2.1"]}


def given(*rows, said=()):
    """A batch of these flows and transactions."""
    flows = pl.DataFrame(list(rows), schema={n: FLOW_SCHEMA[n] for n in flow(0)}) if rows else None
    transactions = pl.DataFrame(list(said), schema={n: TRANSACTION_SCHEMA[n] for n in asked(0)}) if said else None
    return batch(flows, transactions)


def hours(*batches, before=None, directory=None, limit=1000):
    """The hours that a spool gives of these batches, each as (flows, transactions), and the spool after it."""
    with Spool(directory, limit) as spool:
        if before is not None:
            spool.resume(before)
        for one in batches:
            spool.add(one)
        slices = [
            (
                Counter(
                    (t - START, port, state, source)
                    for t, port, state, source in part.flows.select(
                        "start", "originator_port", "state", "source"
                    ).rows()
                ),
                Counter((t - START, name) for t, name in part.transactions.select("start", "name").rows()),
            )
            for part in spool.hours()
        ]
    return slices, spool


def starts(slices):
    return [sorted(start for start, *_ in flows.elements()) for flows, _ in slices]


def test_hours_come_in_order_whatever_the_order_of_adding():
    parts = [given(flow(at)) for at in (3 * HOUR, 0, HOUR - 1, HOUR, 5)]
    expected = [[0, 5, HOUR - 1], [HOUR], [3 * HOUR]]
    assert starts(hours(*parts)[0]) == starts(hours(*reversed(parts))[0]) == expected


def test_an_hour_in_which_only_something_was_said_comes_too():
    [(flows, said)], _ = hours(given(said=[asked(5), asked(5)]))
    assert (flows, said) == (Counter(), Counter({(5, "a.example"): 2}))


@pytest.mark.parametrize("limit", [0, 1, 3, 7])
def test_a_spool_on_disk_gives_what_one_in_memory_gives(limit, tmp_path):
    parts = [given(flow(i * HOUR // 3, port=50000 + i % 4), said=[asked(i * HOUR // 2)]) for i in range(12)]
    assert hours(*parts, directory=tmp_path, limit=limit)[0] == hours(*parts)[0]
    assert not list(tmp_path.iterdir())


def test_what_was_on_the_disk_has_all_columns_in_their_types(tmp_path):
    sights = [given(flow(at), said=[asked(at)]) for at in (0, 5, HOUR)]
    tables = []
    for limit in (1000, 0):
        with Spool(tmp_path, limit) as spool:
            for sight in sights:
                spool.add(sight)
            tables.append([(part.start, part.flows.rows(), part.transactions.rows()) for part in spool.hours()])
            assert spool.total == 6
    assert tables[0] == tables[1]
    with Spool(tmp_path, 0) as spool:
        spool.add(sights[0])
        [part] = spool.hours()
    assert (part.flows.schema, part.transactions.schema) == (FLOW_SCHEMA, TRANSACTION_SCHEMA)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_rows_of_one_batch_go_to_their_hours_whatever_their_order(order):
    rows = [flow(5), flow(HOUR - 1), flow(HOUR), flow(3 * HOUR + 7)]
    assert starts(hours(given(*(rows[i] for i in order)))[0]) == [[5, HOUR - 1], [HOUR], [3 * HOUR + 7]]


def test_files_go_when_the_work_is_broken_off(tmp_path):
    def broken_off():
        with Spool(tmp_path, limit=0) as spool:
            spool.add(given(flow(0)))
            assert list(tmp_path.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert not list(tmp_path.iterdir())


def test_a_flow_seen_by_two_sensors_comes_once_also_over_an_hours_border():
    sights = [flow(0), flow(12 * MS, "agent"), flow(HOUR - 5 * MS), flow(HOUR + 7 * MS, "agent")]
    for limit in (1000, 0):
        slices, spool = hours(*(given(sight) for sight in sights), limit=limit)
        assert starts(slices) == [[0, HOUR - 5 * MS], []]
        assert (spool.total, spool.repeated) == (4, 2)


def test_what_one_sensor_saw_over_an_hours_border_stays():
    slices, spool = hours(given(flow(HOUR - 5 * MS), flow(HOUR + 7 * MS)))
    assert starts(slices) == [[HOUR - 5 * MS], [HOUR + 7 * MS]]
    assert spool.repeated == 0


def test_what_was_left_open_and_is_given_again_counts_once():
    open_ = given(flow(5), flow(HOUR), said=[asked(5)])
    again = given(flow(5), flow(HOUR), flow(HOUR + 1, port=50001), said=[asked(5), asked(6)])
    slices, spool = hours(again, before=open_)
    assert starts(slices) == [[5], [HOUR, HOUR + 1]]
    assert slices[0][1] == Counter({(5, "a.example"): 1, (6, "a.example"): 1})
    assert spool.repeated == 2


def test_what_was_left_open_stays_when_nothing_comes():
    slices, spool = hours(before=given(flow(5), said=[asked(5)]))
    assert starts(slices) == [[5]]
    assert (spool.first, spool.last) == (START + 5, START + 5)


def test_a_flow_that_a_log_holds_twice_counts_once():
    slices, spool = hours(given(flow(5), flow(5)), given(flow(5)))
    assert (starts(slices), spool.repeated) == ([[5]], 2)


def test_flows_of_one_log_that_differ_at_all_count_each():
    rows = [flow(5), flow(6), flow(5, state="S0"), flow(5, port=50001)]
    assert starts(hours(given(*rows))[0]) == [[5, 5, 5, 6]]


def test_first_and_last_are_of_all_that_came():
    _, spool = hours(given(flow(7)), given(said=[asked(9 * HOUR)]), given(flow(3)))
    assert (spool.first, spool.last, spool.total) == (START + 3, START + 9 * HOUR, 3)


def test_nothing_gives_no_hours():
    slices, spool = hours(given())
    assert (slices, spool.first, spool.last, spool.total) == ([], None, None, 0)


def test_times_before_the_epoch_have_their_hour():
    assert starts(hours(given(flow(-START - 1)))[0]) == [[-START - 1]]


def left(rows, known=None):
    """How many rows are left out for their clock, and how many remain."""
    with Spool(None, 10_000) as spool:
        spool.add(given(*rows))
        astray = spool.discard_astray(known)
        return astray, sum(part.flows.height for part in spool.hours())


TRAFFIC = [flow(i * HOUR // 100, port=i) for i in range(2000)]


@pytest.mark.parametrize("away", [2 * FAR, -2 * FAR])
def test_a_few_rows_years_away_are_a_wrong_clock(away):
    assert left([*TRAFFIC, *(flow(away + i, port=i) for i in range(50))]) == (50, 2000)


def test_a_recording_of_another_time_before_the_rest_stays():
    assert left([*TRAFFIC, *(flow(-2 * FAR + i, port=i) for i in range(150))]) == (0, 2150)


def test_many_rows_after_the_rest_would_close_a_store_for_years():
    assert left([*TRAFFIC, *(flow(2 * FAR + i, port=i) for i in range(150))]) == (150, 2000)
    both = [*(flow(-2 * FAR + i, port=i) for i in range(101)), *(flow(2 * FAR + i, port=i) for i in range(50))]
    assert left([*TRAFFIC, *both]) == (50, 2101)


def test_rows_scattered_over_the_years_are_no_recording():
    assert left([*TRAFFIC, *(flow(-2 * FAR - i * 30 * DAY, port=i) for i in range(150))]) == (150, 2000)


def test_what_lies_years_before_what_a_store_holds_is_left_out_as_before():
    earlier = [flow(-2 * FAR + i, port=i) for i in range(150)]
    assert left([*TRAFFIC, *earlier], known=START) == (150, 2000)
    assert left(earlier, known=START) == (0, 150)
