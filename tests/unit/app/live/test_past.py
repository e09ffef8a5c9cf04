"""A running controller keeps its flows, hunts in them what is listed later, and tells its sinks."""

from __future__ import annotations

import json

from netpersona.app.history_config import HistoryPlace
from netpersona.app.outlets import Outlets
from netpersona.app.past import Past
from netpersona.app.sink_config import SinkPlace, SinkSpec, sink_place
from netpersona.flow.window import SECOND, WINDOW
from unit.app.live.rig import FINE, LISTED, Rig


def _place(tmp_path) -> SinkPlace:
    return sink_place(SinkSpec(kind="ocsf", file=str(tmp_path / "told.jsonl"), everything=True), tmp_path, "test")


def test_what_is_listed_later_is_found_in_the_past_and_told(tmp_path):
    rig = Rig(tmp_path, past=Past(HistoryPlace(tmp_path / "flows")), outlets=Outlets([_place(tmp_path)]))
    rig.sensor.flow("tap-web-1", "10.77.0.11", FINE, 443)
    rig.turns()
    rig.sensor.at += WINDOW + 90 * SECOND
    rig.sensor.flow("tap-web-1", "10.77.0.11", "192.0.2.99", 443)
    rig.turns(3)
    rig.feed.write_text(f"{LISTED}\n{FINE}\n")

    def found():
        rig.sensor.at += SECOND
        return [f for f in rig.store.findings() if f.detector == "retro_hunt"]

    rig.until(found)
    (hunted,) = found()
    assert (hunted.vm, hunted.peer) == ("web-1", FINE)
    parts = {part.name: part.well for part in rig.controller.loop.supervisor.health.at(rig.sensor.at).parts}
    assert parts["history"]
    assert parts["hunts"]
    assert [well for name, well in parts.items() if "told.jsonl" in name] == [True], parts
    rig.controller.loop.close()
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert any(FINE in json.dumps(each) for each in told)
