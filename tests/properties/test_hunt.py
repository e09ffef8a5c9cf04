"""Hunting in roll-ups finds what looking at every flow, one by one, finds; however days were cut and put together."""

from collections import defaultdict
from ipaddress import ip_address, ip_network
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from netpersona.adapters.history.memory import MemoryHistory
from netpersona.flow.window import DAY, HOUR
from netpersona.intel.allow import AllowEntry, AllowList
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.hunt import Hunt, quarry
from past_traffic import AT, OWNERS, as_seen, flow, said, traffic

PEERS = ["203.0.113.7", "203.0.113.8", "198.51.100.9", "2001:db8::66", "2001:db8:1::1", "192.0.2.66"]
NAMES = ["evil.example", "a.evil.example", "b.a.evil.example", "notevil.example", "good.example"]
LISTED = ["203.0.113.7", "203.0.113.0/28", "2001:db8::/48", "evil.example", "a.evil.example", "http://evil.example/x"]
_own, _peer, _name = (  # the first ones oftener, so that rows have to do with each other
    st.sampled_from([*each[:few] * 6, *each]) for each, few in ((sorted(OWNERS), 1), (PEERS, 2), (NAMES, 1))
)
_at = st.integers(0, 3 * 24 * 4).map(lambda quarter: AT + quarter * (HOUR // 4))
_named = st.sampled_from([None, None, *NAMES])
_flow = st.builds(
    lambda at, own, peer, port, name, out, size: [
        flow(at, *((own, peer) if out else (peer, own)), port, server_name=name, bytes_orig=size)
    ],
    _at, _own, _peer, st.sampled_from([80, 443]), _named, st.booleans(), st.integers(0, 9),
)  # fmt: skip
_followed = st.builds(  # a question, and a flow to what was answered, before or after it
    lambda at, own, name, peer, other, later, named: [
        said(at, own, "10.0.0.53", "dns", name, answers=[peer, other]),
        flow(at + later * HOUR + 1, own, peer, server_name=named),
    ],
    _at, _own, _name, _peer, _peer, st.integers(-30, 50), _named,
)  # fmt: skip
_rows = st.lists(_flow | _followed | _followed, min_size=1, max_size=6).map(
    lambda parts: [row for part in parts for row in part]
)


def one_by_one(rows, listed, allow):
    """(indicator, vm, via, name, peer, port) -> (flows, bytes out, first): from every row in turn."""
    found = defaultdict(lambda: [0, 0, None])

    def add(key, size, at):
        entry = found[key]
        entry[0], entry[1] = entry[0] + 1, entry[1] + size
        entry[2] = at if entry[2] is None else min(entry[2], at)

    for row in rows:
        for own, other, outbound in (("originator", "responder", True), ("responder", "originator", False)):
            vm, peer = OWNERS.get(row[own]), row[other]
            if vm is None:
                continue
            for value in listed:
                for via, name in met(row, vm, peer, outbound, value, rows, allow):
                    size = 0 if "kind" in row else row["bytes_orig" if outbound else "bytes_resp"]
                    add((value, vm, via, name, peer, row["responder_port"]), size, row["start"])
    return {key: tuple(entry) for key, entry in found.items()}


def met(row, vm, peer, outbound, value, rows, allow):
    """How this row met the indicator: (via, name) of each way."""
    if "kind" in row:
        if stands_for(value, row["name"]) and not allow.covers_name(row["name"], AT):
            yield "dns", row["name"]
        return
    if allow.covers_address(peer, AT):
        return
    name = row["server_name"]
    if covers(value, peer):
        yield "address", name if name is not None else answered(rows, vm, peer, row)
    if name is not None and stands_for(value, name) and not allow.covers_name(name, AT):
        yield "name", name
    if name is None and outbound:
        for asked in sorted({each["name"] for each in earlier(rows, vm, peer, row, value, allow)}):
            yield "answer", asked


def earlier(rows, vm, peer, row, value, allow):
    """The questions of the day or the day before whose answer this flow may have followed, as days know it."""
    day = row["start"] // DAY
    last = max(r["start"] + r["duration"] for r in rows if alike(r, row) and r["start"] // DAY == day)
    for each in rows:
        if "kind" in each and OWNERS.get(each["originator"]) == vm and peer in each["answers"]:
            near = each["start"] // DAY in (day, day - 1) and each["start"] <= last
            if near and stands_for(value, each["name"]) and not allow.covers_name(each["name"], AT):
                yield each


def alike(one, other):
    """Whether both are in one row of a roll-up."""
    if "kind" in one:
        return False
    ends = all(OWNERS.get(one[e], one[e]) == OWNERS.get(other[e], other[e]) for e in ("originator", "responder"))
    return ends and all(one[key] == other[key] for key in ("responder_port", "server_name"))


def answered(rows, vm, peer, row):
    day = row["start"] // DAY
    asked = [
        each["name"]
        for each in rows
        if "kind" in each and OWNERS.get(each["originator"]) == vm and peer in each["answers"]
        and each["start"] // DAY == day
    ]  # fmt: skip
    return min(asked, default=None)


def covers(value, peer):
    try:
        return ip_address(peer) in ip_network(value)
    except ValueError:
        return False


def stands_for(value, name):
    if value.startswith("http://"):
        return name == value.split("/")[2]
    return name == value or name.endswith(f".{value}")


@given(
    rows=_rows.filter(lambda rows: len({row["start"] for row in rows}) == len(rows)),
    listed=st.lists(st.sampled_from(LISTED), min_size=1, unique=True),
    allowed=st.lists(st.sampled_from(["203.0.113.8", "198.51.100.0/24", "b.a.evil.example"]), unique=True),
    cuts=st.randoms(use_true_random=False),
)
@example(  # no day lies between, and the last day that there is is none of the day before
    rows=[
        said(AT + 23 * HOUR, "10.0.0.1", "10.0.0.53", "dns", "evil.example", answers=["203.0.113.7"]),
        flow(AT + 2 * DAY, "10.0.0.1", "203.0.113.7", server_name=None),
    ],
    listed=["evil.example"],
    allowed=[],
    cuts=Random(1),
)
@example(  # the name stands for another address later on
    rows=[
        said(AT, "10.0.0.1", "10.0.0.53", "dns", "evil.example", answers=["203.0.113.8"]),
        flow(AT + HOUR, "10.0.0.1", "203.0.113.7", server_name=None),
        said(AT + 2 * HOUR, "10.0.0.1", "10.0.0.53", "dns", "evil.example", answers=["203.0.113.7"]),
    ],
    listed=["evil.example"],
    allowed=[],
    cuts=Random(1),
)
@settings(max_examples=60, deadline=None)
def test_a_hunt_finds_what_looking_at_every_flow_finds(rows, listed, allowed, cuts):
    allow = AllowList(tuple(AllowEntry(value, None, "ours") for value in allowed))
    history = MemoryHistory()
    for row in cuts.sample(rows, len(rows)):
        history.add(traffic(row), as_seen)
        if cuts.random() < 0.5:
            history.close(AT + 3 * DAY)
    history.close(AT + 3 * DAY + HOUR)
    hunt = Hunt(quarry(parse("\n".join(listed).encode(), FeedSettings("news")).indicators), allow, AT)
    for day in history.days():
        hunt.day(day)
    values = hunt.quarry.listed["value"]
    found = {
        (values[r["quarry"]], r["vm"], r["via"], r["name"], r["peer"], r["port"], r["direction"]): r
        for r in hunt.traces().iter_rows(named=True)
    }
    together = defaultdict(lambda: (0, 0, None))
    for (*key, _), r in found.items():
        flows, size, first = together[tuple(key)]
        together[tuple(key)] = (
            flows + r["flows"], size + (r["bytes_out"] or 0), r["first"] if first is None else min(first, r["first"])
        )  # fmt: skip
    assert dict(together) == one_by_one(rows, listed, allow)
