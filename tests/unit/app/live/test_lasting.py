"""A flow that lasts over many windows is as long as it is, though each window has only a part of it."""

from dataclasses import replace

from msgspec import structs

from netpersona.app.judging import Judging, seen_by
from netpersona.app.live import lasting
from netpersona.app.live.lasting import Lasting
from netpersona.app.spool import Slice
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA
from netpersona.flow.window import DAY, HOUR, MINUTE, SECOND, WINDOW
from netpersona.intel.indicators import IndicatorSet
from netpersona.pipeline import Fleet, Ground
from netpersona.policy.model import PolicySet
from unit.app.live.rig import DESK, LOW_REPUTATION, START, Rig, table

FAR = "8.19.44.7"


def findings(rig):
    found = {f.id: f for f in rig.store.findings()} | rig.controller.loop.judge.findings()
    return {f.kind: f for f in found.values()}


def frozen(tmp_path):
    """A VM that learns nothing, so that no peer becomes familiar while a flow lasts."""
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns(2)
    now = rig.ask(rig.controller.vms)["desk-1"]
    rig.ask(
        lambda: rig.controller.edit(structs.replace(now, learning="frozen", version=now.version + 1), "ann", "frozen")
    )
    return rig


def test_a_connection_of_hours_is_found_live(tmp_path):
    rig = frozen(tmp_path)
    begin, windows = rig.sensor.at, 5 * HOUR // WINDOW
    for part in range(windows):
        rig.sensor.flow("tap-desk-1", "10.77.0.21", FAR, 8443, uid="long", part=part, duration=4 * MINUTE, state="S1")
        rig.turns(1)
        rig.sensor.at = (begin // WINDOW + part + 1) * WINDOW + SECOND
        rig.turns(1)
    found = findings(rig)["long_connection"]
    assert found.peer == FAR
    assert found.evidence["longest_s"] > 4 * 3600


def hold(rig, windows, *, at=0, beside=()):
    """One connection to FAR in parts, over so many windows, and flows beside it at these instants of the first ones."""
    begin = rig.sensor.at // WINDOW * WINDOW
    for part in range(windows):
        for after in beside[part : part + 1]:
            rig.sensor.at = begin + part * WINDOW + after
            rig.sensor.flow("tap-desk-1", "10.77.0.21", FAR, 8443)
        rig.sensor.at = begin + part * WINDOW + (0 if part else at)
        rig.sensor.flow("tap-desk-1", "10.77.0.21", FAR, 8443, uid="long", part=part, duration=4 * MINUTE, state="S1")
        rig.turns(1)
        rig.sensor.at = begin + (part + 1) * WINDOW + SECOND
        rig.turns(1)


def replayed(start, duration):
    """What a replay finds in the same connection, which is one flow there."""
    desk = replace(DESK, interface=None)
    whole = {"uid": "long", "originator": "10.77.0.21", "responder_port": 8443, "bytes_orig": 900, "bytes_resp": 4000}
    whole |= {"packets_orig": 8, "packets_resp": 8, "state": "S1", "start": start, "duration": duration}
    ground = Ground(IndicatorSet.merge([]), PolicySet())
    judging = Judging(ground, start + DAY)
    fleet = Fleet({desk.name: desk})
    judging.judge(seen_by(fleet, Slice(start // HOUR * HOUR, flows(whole), table([], TRANSACTION_SCHEMA)), ground))
    return {f.kind: f for f in judging.closed.findings.values()}


def test_what_is_learned_of_a_connection_while_it_lasts_does_not_make_its_peer_familiar(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns(2)
    begin = rig.sensor.at // WINDOW * WINDOW
    hold(rig, 5 * HOUR // WINDOW, at=2 * MINUTE)
    found = findings(rig)["long_connection"]
    same = replayed(begin + 2 * MINUTE, 5 * HOUR)["long_connection"]
    assert (found.id, found.first_seen, found.peer, found.alert) == (same.id, same.first_seen, FAR, False)
    assert 4 * HOUR < found.judged_at - begin < 4 * HOUR + 2 * WINDOW


def test_nor_do_other_calls_of_the_window_in_which_it_began(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns(2)
    hold(rig, 5 * HOUR // WINDOW, at=2 * MINUTE, beside=[MINUTE, MINUTE])
    assert "long_connection" in findings(rig)


def test_whoever_was_called_before_is_familiar(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns(2)
    rig.sensor.flow("tap-desk-1", "10.77.0.21", FAR, 8443)
    rig.turns(1)
    rig.sensor.at = (rig.sensor.at // WINDOW + 1) * WINDOW + SECOND
    rig.turns(1)
    hold(rig, 5 * HOUR // WINDOW, at=SECOND)
    assert "long_connection" not in findings(rig)


def test_short_connections_one_after_the_other_are_none(tmp_path):
    rig = frozen(tmp_path)
    begin = rig.sensor.at
    for part in range(5 * HOUR // WINDOW):
        rig.sensor.flow("tap-desk-1", "10.77.0.21", FAR, 8443, duration=4 * MINUTE)
        rig.turns(1)
        rig.sensor.at = (begin // WINDOW + part + 1) * WINDOW + SECOND
        rig.turns(1)
    assert "long_connection" not in findings(rig)


def flows(*rows):
    base = {"transport": "tcp", "originator": "10.0.0.1", "responder": FAR, "responder_port": 443, "duration": SECOND}
    return table([{**base, "start": START, "part": 0, **row} for row in rows], FLOW_SCHEMA)


def test_which_flows_may_go_on_and_how_many_are_remembered(monkeypatch):
    monkeypatch.setattr(lasting, "MOST", 3)
    kept = Lasting()
    kept.closed(
        flows(
            {"uid": "over", "state": "SF"},
            {"uid": "open", "state": "S1"},
            {"uid": "late", "state": "SF", "start": START + WINDOW - SECOND},
            {"uid": "part", "state": "SF", "part": 3},
        ),
        START + WINDOW,
    )
    later = START + HOUR
    parts = [{"uid": uid, "start": later, "part": 12, "responder_port": i} for i, uid in enumerate(("over", "open"))]
    assert kept.lengths(flows(*parts)) == {("10.0.0.1", FAR, "tcp", 1): HOUR + SECOND}
    kept.closed(flows({"uid": "open", "start": later, "part": 12}, {"uid": "more", "part": 1}), later)
    assert kept.lengths(flows(parts[1]))
    assert not kept.lengths(flows({"uid": "late", "part": 1}))
