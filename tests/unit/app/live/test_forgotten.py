"""A VM that is gone for long is let go by the store and by the judge; one that comes back begins anew."""

from netpersona.flow.window import HOUR, MINUTE
from netpersona.ports import Keep
from unit.app.live.rig import DESK, FINE, WEB, Rig


def hours(rig, count):
    for _ in range(count * 6):
        rig.sensor.at += 10 * MINUTE
        rig.sensor.flow("tap-web-1", "10.77.0.20", FINE, 443)
        rig.turns(2)


def test_a_vm_that_is_gone_for_long_is_held_nowhere_any_more(tmp_path):
    rig = Rig(tmp_path, keep=Keep(gone=3 * HOUR, past=300 * HOUR))
    rig.turns()
    rig.sensor.flow("tap-desk-1", "10.77.0.21", FINE, 443)
    hours(rig, 1)
    judge = rig.controller.loop.judge
    known = rig.controller.loop._software
    known.known = {DESK.name: (), WEB.name: ()}
    began = judge.closed.states[DESK.name].persona.first_seen
    rig.inventory.known = [WEB]
    hours(rig, 2)
    assert DESK.name in judge.closed.states
    assert DESK.name in rig.store.personas()
    hours(rig, 4)
    assert DESK.name not in judge.closed.states
    assert rig.store.personas().keys() == {WEB.name}
    assert rig.controller.loop.enforcing.rules._names.keys() == {WEB.name}
    assert known.known.keys() == {WEB.name}
    rig.inventory.known = [WEB, DESK]
    hours(rig, 1)
    rig.sensor.flow("tap-desk-1", "10.77.0.21", FINE, 443)
    hours(rig, 1)
    assert rig.store.personas()[DESK.name].first_seen > began
    assert not [p for p in rig.ask(rig.controller.health).parts if not p.well]
