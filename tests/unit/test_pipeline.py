"""What each tap saw of its VM."""

import polars as pl

from netpersona.flow.table import FLOW_SCHEMA, no_transactions
from netpersona.flow.vm import Vm, vm_id
from netpersona.intel.indicators import IndicatorSet
from netpersona.pipeline import Fleet, Ground, at_taps
from netpersona.policy.model import PolicySet

KNOWN = Vm(vm_id("known"), ("10.77.0.11/24",), interface="tap-known", mac="52:54:00:00:00:11")
UNKNOWN = Vm(vm_id("unknown"), (), interface="tap-unknown", mac="52:54:00:00:00:12")
TAPS = {"tap-known": KNOWN.name, "tap-unknown": UNKNOWN.name}


def seen(*rows):
    """(tap, originator, its MAC, responder) -> (vm, direction, vm_address, peer), sorted."""
    names = ("source", "originator", "originator_mac", "responder")
    more = {"start": 1_800_000_000_000_000, "transport": "tcp", "responder_port": 443, "packets_resp": 1}
    table = pl.DataFrame([dict(zip(names, row, strict=True)) | more for row in rows], schema=FLOW_SCHEMA)
    ground = Ground(IndicatorSet.merge([]), PolicySet())
    fleet = Fleet({vm.name: vm for vm in (KNOWN, UNKNOWN)})
    flows, _ = at_taps(table, no_transactions(), TAPS, fleet, ground)
    return sorted(flows.select("vm", "direction", "vm_address", "peer").iter_rows())


def test_a_flow_between_two_vms_is_one_of_each():
    row = ("10.77.0.11", KNOWN.mac, "192.0.2.1")
    assert seen(("tap-known", *row)) == [("known", "outbound", "10.77.0.11", "192.0.2.1")]
    assert seen(("tap-unknown", *row)) == []  # forged, or passing by: no flow of that VM


def test_a_vm_of_unknown_address_is_told_by_its_hardware_address_at_its_own_tap():
    assert seen(("tap-unknown", "10.77.0.99", UNKNOWN.mac, "192.0.2.1")) == [
        ("unknown", "outbound", "10.77.0.99", "192.0.2.1")
    ]
    assert seen(("tap-unknown", "10.77.0.99", "52:54:00:00:00:66", "192.0.2.1")) == []
    assert seen(("tap-unknown", "10.77.0.11", UNKNOWN.mac, "192.0.2.1")) == []  # another VM's address
