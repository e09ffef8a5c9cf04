"""A feed that people find wrong again and again is listened to no longer, until it is right again."""

from __future__ import annotations

from msgspec.structs import replace

from netpersona.app.answers.personas import EDITS
from netpersona.app.live.trust import LiveTrust
from netpersona.flow.window import SECOND, WINDOW
from unit.app.live.rig import LOW_REPUTATION, WEB, Rig

PEERS = tuple(f"203.0.113.{host}" for host in range(60, 68))


def _acquitted(rig) -> None:
    persona = rig.controller.vms()[WEB.name]
    edited = replace(persona, **EDITS["acquit"][0], version=persona.version + 1)
    rig.ask(lambda: rig.controller.edit(edited, "the operator", EDITS["acquit"][1]))


def test_a_feed_that_is_found_wrong_is_log_only(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.feed.write_text("\n".join(PEERS) + "\n")
    rig.turns(3)
    rig.until(lambda: any(members.holds(PEERS[0]) for members in rig.enforcer.in_force().sets.values()))
    for peer in PEERS:
        rig.sensor.flow("tap-web-1", "10.77.0.11", peer, 443)
    rig.turns(2)
    rig.sensor.at += WINDOW + 90 * SECOND
    rig.turns(3)
    _acquitted(rig)

    def free():
        rig.sensor.at += SECOND
        return not any(members.holds(PEERS[0]) for members in rig.enforcer.in_force().sets.values())

    rig.until(free)
    parts = {part.name: part.says for part in rig.controller.loop.supervisor.health.at(rig.sensor.at).parts}
    assert "log" in parts["precision of bad"]
    rig.turns()
    again = LiveTrust(None, rig.controller.loop.supervisor)
    again.resume(rig.controller.loop.threats.trust.context()["precision"])
    assert again.context() == rig.controller.loop.threats.trust.context()
