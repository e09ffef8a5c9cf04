"""What must hold of the gate whatever feeds say: going on from what passed earlier, it decides as if it looked anew."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.warning_lists import warning_lists
from netpersona.flow.vm import Vm, VmId
from netpersona.intel.feed import FeedSettings, FeedSnapshot, parse
from netpersona.intel.gate import Admission, Protected, gated, refuse

WEB = Vm(VmId("web"), addresses=("8.8.4.11/24",), gateways=("8.8.4.1",))
VALUES = [
    "1.2.3.4", "1.2.3.5", "45.0.0.0/24", "45.0.0.0/25", "2a06:e480::1", "evil.example", "http://evil.example/x",
    "d41d8cd98f00b204e9800998ecf8427e", "10.1.2.3", "192.0.2.1", "11.0.0.0/7", "8.8.4.1", "8.8.4.0/24", "8.8.8.8",
    "52.1.2.3", "52.0.0.0/12", "http://8.8.8.8/", "google.com", "co.uk", "github.io", "0.0.0.0/0", "nonsense in words",
]  # fmt: skip
ADMITTED = [
    Admission("private", "10.1.2.3", "it is ours", "ann"),
    Admission("public-resolvers", "8.8.8.8", "known", "bob", "feed"),
]
said = st.lists(st.sampled_from(VALUES), max_size=30)
allowed = st.sampled_from([(), ("documentation",), ("fleet", "clouds")])
protections = st.builds(
    lambda vms, admitted: Protected.of(vms, lists=warning_lists(), admitted=admitted),
    st.sampled_from([[], [WEB]]),
    st.lists(st.sampled_from(ADMITTED), unique=True),
)


def feed(values, allow):
    return parse("\n".join(["7.7.7.7", *values]).encode(), FeedSettings("feed", allow=allow))


def same(one: FeedSnapshot, other: FeedSnapshot):
    assert one.indicators.equals(other.indicators)
    for each in fields(FeedSnapshot):
        if each.name != "indicators":
            assert getattr(one, each.name) == getattr(other, each.name), each.name


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(said, allowed), min_size=2, max_size=4), protections)
def test_what_stayed_in_a_feed_is_decided_as_before(versions, protected):
    before = None
    for values, allow in versions:
        before = gated(feed(values, allow), protected, before)
        same(before.snapshot, refuse(feed(values, allow), protected))


@settings(max_examples=20, deadline=None)
@given(said, protections, protections)
def test_where_anything_else_is_protected_all_is_decided_anew(values, one, other):
    before = gated(feed(values, ()), one)
    same(gated(feed(values, ()), other, before).snapshot, refuse(feed(values, ()), other))


def test_what_stayed_is_not_looked_at_again():
    class Counting:
        """The bundled lists, and how many entries they were asked of."""

        def __init__(self):
            self.lists, self.asked = warning_lists(), 0

        def of_addresses(self, points):
            self.asked += points.height
            return self.lists.of_addresses(points)

        def of_names(self, names):
            self.asked += names.height
            return self.lists.of_names(names)

    counting = Counting()
    protected = Protected(lists=counting)
    before = gated(feed(["1.2.3.4", "1.2.3.5", "evil.example", "8.8.8.8", "52.1.2.3"], ()), protected)
    counting.asked = 0
    gated(feed(["1.2.3.5", "1.2.3.6", "evil.example", "8.8.8.8", "52.1.2.3"], ()), protected, before)
    assert counting.asked == 3  # what is new, what was refused, and what is in a cloud
