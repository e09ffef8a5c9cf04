"""What a controller keeps and hunts: windows at taps, and indicators that come later."""

from netpersona.app.history_config import HistoryPlace
from netpersona.app.past import Past
from netpersona.flow.vm import Vm, vm_id
from netpersona.flow.window import WINDOW
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import IndicatorSet
from netpersona.pipeline import Fleet, Ground
from netpersona.policy.model import PolicySet
from past_traffic import AT, flow, traffic
from waiting import until

WEB = Vm(vm_id("web-1"), ("10.0.0.1/24",), interface="tap-web")
FLEET, TAPS = Fleet({WEB.name: WEB}), {"tap-web": WEB.name}
NOTHING = IndicatorSet.merge([])
GROUND = Ground(NOTHING, PolicySet(), window=WINDOW)


def close(past, number):
    start = AT + number * WINDOW
    rows = traffic(flow(start, "10.0.0.1", "203.0.113.7", source="tap-web"))
    past.closed(rows, TAPS, FLEET, GROUND, start + WINDOW)


def listed(text):
    return IndicatorSet.merge([parse(text, FeedSettings("news", category="c2"))])


def test_what_is_listed_anew_is_hunted_in_the_window_that_has_just_closed(tmp_path):
    past = Past(HistoryPlace(tmp_path / "flows"))
    past.know(NOTHING, AT)
    for number in range(3):
        close(past, number)
    past.know(listed(b"203.0.113.7"), AT + 3 * WINDOW)
    until(lambda: past.states()[1].figures["found"], "the hunt finds it", within=60)
    (found,) = past.notices()
    assert (found.vm, found.evidence["flows"], found.evidence["first_source"]) == ("web-1", 3, "tap-web")
    assert [state.well for state in past.states()] == [True, True]
    past.stop()
    again = Past(HistoryPlace(tmp_path / "flows"))
    again.know(listed(b"203.0.113.7"), AT + 4 * WINDOW)
    until(lambda: again.states()[1].says == "", "the hunt is over", within=60)
    assert again.notices() == []
    again.stop()


def test_a_disk_that_fails_is_told_and_nothing_waits(tmp_path):
    (tmp_path / "flows").write_text("in the way")
    past = Past(HistoryPlace(tmp_path / "flows"))
    close(past, 0)
    past.know(listed(b"203.0.113.7"), AT + WINDOW)
    until(lambda: not past.states()[0].well, "the history is told to fail", within=60)
    assert past.states()[0].figures["flows_dropped"] == 1
    past.stop()
