"""What every History owes its callers, wherever it keeps the flows."""

import pytest

from netpersona.adapters.history.memory import MemoryHistory
from netpersona.adapters.history.parquet import ParquetHistory
from netpersona.flow.table import FLOW_SCHEMA
from netpersona.flow.window import DAY, HOUR, MINUTE
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.hunt import Hunt, quarry
from past_traffic import AT, a_day, as_seen, flow, rolled, traffic

NEWS = quarry(parse(b"203.0.113.0/24\nevil.example", FeedSettings("news")).indicators)


@pytest.fixture(params=["parquet", "memory"])
def history_of(request, tmp_path):
    def made(**bounds):
        return ParquetHistory(tmp_path / "flows", **bounds) if request.param == "parquet" else MemoryHistory(**bounds)

    return made


def given(history, *days):
    for rows in days:
        history.add(traffic(*rows), as_seen)
    history.close(AT + DAY)
    return history


def hunted(history, since=None, until=None):
    hunt = Hunt(NEWS)
    for day in history.days(since, until):
        hunt.day(day)
    return hunt.traces()


def in_one_go(*days):
    hunt = Hunt(NEWS)
    for rows in days:
        hunt.day(rolled(*rows))
    return hunt.traces()


def test_what_was_added_is_hunted_and_given_back(history_of):
    history = given(history_of(), a_day(), a_day(AT + DAY))
    assert hunted(history).equals(in_one_go(a_day(), a_day(AT + DAY)))
    flows = history.flows(AT, AT + 3 * MINUTE).collect()
    assert (dict(flows.schema), flows["responder"].to_list()) == (FLOW_SCHEMA, ["203.0.113.7", "198.51.100.9"])
    extent = history.extent()
    assert (extent.first, extent.last, extent.flows) == (AT + MINUTE, AT + DAY + 9 * MINUTE, 18)
    assert extent.octets > 0
    assert extent.let_go == {}


def test_how_it_was_cut_means_nothing(history_of):
    history = history_of()
    for row in a_day():
        history.add(traffic(row), as_seen)
        history.close(row["start"])
    assert hunted(history).equals(in_one_go(a_day()))


def test_days_are_asked_for_by_time(history_of):
    history = given(history_of(), a_day(), a_day(AT + DAY), a_day(AT + 2 * DAY))
    assert [len(list(history.days(*span))) for span in ((None, None), (AT + DAY, None), (AT, AT + DAY))] == [3, 2, 1]
    assert hunted(history, AT + DAY, AT + 2 * DAY).equals(in_one_go(a_day(AT + DAY)))


def test_what_is_given_again_counts_once(history_of):
    history = given(history_of(), a_day())
    again = [{**row, "source": "elsewhere"} for row in a_day()]
    new = flow(AT + HOUR, "10.0.0.1", "203.0.113.7")
    assert history.add(traffic(*again, new), as_seen) == 1
    history.close(AT + DAY)
    assert hunted(history).equals(in_one_go([*a_day(), new]))


def test_equal_flows_of_one_batch_all_count_and_again_once(history_of):
    same = [flow(AT, "10.0.0.1", "203.0.113.7")] * 3
    history = given(history_of(), same)
    assert history.add(traffic(*same, same[0]), as_seen) == 1


def test_nothing_is_read_before_it_is_closed(history_of):
    history = history_of()
    history.add(traffic(*a_day()), as_seen)
    assert not list(history.days())
    assert history.extent().first is None


def test_what_is_too_old_goes_and_is_counted(history_of):
    history = given(history_of(keep=2 * DAY), a_day(), a_day(AT + DAY), a_day(AT + 2 * DAY))
    assert history.extent().let_go == {}
    history.close(AT + 2 * DAY + HOUR)
    assert history.extent().let_go == {"older than is kept": 9}
    assert history.extent().first == AT + DAY + MINUTE


def test_what_is_too_much_goes_the_oldest_first_and_is_counted(history_of):
    history = given(history_of(most=1), a_day(), a_day(AT + DAY))
    assert history.extent().let_go == {"more than may be kept": 18}
    assert not hunted(history).height


def test_a_row_of_the_past_does_not_push_out_what_is_newer(history_of):
    history = given(history_of(keep=2 * DAY), a_day(AT + 9 * DAY))
    given(history, a_day())
    assert history.extent().let_go == {"older than is kept": 9}
    assert history.extent().first == AT + 9 * DAY + MINUTE


def test_an_empty_one_says_so(history_of):
    history = history_of()
    assert not list(history.days())
    assert history.flows(0, AT).collect().is_empty()
    assert history.add(traffic(), as_seen) == 0
    history.close(AT)
    assert (history.extent().first, history.extent().flows) == (None, 0)
