from netpersona.app.history_view import by_address, by_tap
from netpersona.flow.vm import Vm, vm_id
from netpersona.flow.window import WINDOW
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.rollup import rolled_up
from netpersona.pipeline import Fleet, Ground
from netpersona.policy.model import PolicySet
from past_traffic import AT, flow, said, traffic

WEB = Vm(vm_id("web-1"), ("10.0.0.1/24",), interface="tap-web")
DB = Vm(vm_id("db-1"), ("10.0.0.2/24",), interface="tap-db")
FLEET = Fleet({vm.name: vm for vm in (WEB, DB)})
TAPS = {vm.interface: vm.name for vm in (WEB, DB)}


def talks(view, *rows):
    seen = view(traffic(*rows))
    rolled = rolled_up(seen.flows, seen.transactions)
    told = ["vm", "peer", "flows", "source"]
    return rolled.talks.select(told).rows(), rolled.uses.select("vm", "name", "source").rows()


def live():
    return by_tap(TAPS, FLEET, Ground(IndicatorSet.merge([]), PolicySet(), window=WINDOW))


def test_recorded_flows_are_whose_address_they_have():
    view = by_address(FLEET, WINDOW)
    assert talks(view, flow(AT, "10.0.0.1", "203.0.113.7"))[0] == [("web-1", "203.0.113.7", 1, "conn.log")]


def test_a_live_flow_is_the_vms_at_whose_tap_it_was_seen_and_counts_once_for_each():
    between = [flow(AT, "10.0.0.1", "10.0.0.2", source=tap) for tap in ("tap-web", "tap-db")]
    assert talks(live(), *between)[0] == [("db-1", "10.0.0.1", 1, "tap-db"), ("web-1", "10.0.0.2", 1, "tap-web")]


def test_a_forged_address_is_nobodys_flow():
    assert talks(live(), flow(AT, "10.0.0.2", "203.0.113.7", source="tap-web"))[0] == []


def test_names_are_told_with_the_interface_too():
    question = said(AT, "10.0.0.1", "10.0.0.53", "dns", "evil.example", source="tap-web")
    assert talks(live(), question)[1] == [("web-1", "evil.example", "tap-web")]
