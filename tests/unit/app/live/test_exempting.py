"""Allow-lists win over what was known before them: at once, with all that follows, and no longer than they hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from msgspec import structs

from netpersona.app.answers.ask import Answered
from netpersona.app.answers.known import InService
from netpersona.app.answers.personas import EDITS
from netpersona.flow.window import HOUR, MINUTE, SECOND, WINDOW
from netpersona.intel.precision import Record
from unit.app.live.rig import DESK, FINE, LISTED, RISKY, WEB, Rig, passes

HELD = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: hold}
spec:
  mode: enforce
  order: 50
  rules:
    - {name: still, when: persona.risk_score > 0.3, until: persona.risk_score < 0.2, for: 8h, action: deny}
"""


def allowing(until=None):
    end = "" if until is None else f", until: {datetime.fromtimestamp(until / SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"
    entry = f"{{value: {LISTED}, comment: our mirror, author: lena{end}}}"
    return f"apiVersion: netpersona/v1\nkind: AllowList\nmetadata: {{name: ours}}\nspec: {{entries: [{entry}]}}\n"


def risky(tmp_path, text=RISKY, **more):
    """A rig whose desk talked to what is listed, in a window that is over."""
    rig = Rig(tmp_path, text, **more)
    rig.turns(2)
    for port in (443, 8443, 4444):
        rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, port)
    rig.turns()
    rig.sensor.at += WINDOW + 90 * SECOND
    rig.turns(2)
    assert not passes(rig, DESK, FINE)
    return rig


def explained(rig, at=None):
    return rig.ask(lambda: Answered(InService(rig.controller)).risk("desk-1", at, ()))


def test_an_allow_entry_takes_earlier_risk_out_at_once_and_gives_it_back_at_its_end(tmp_path):
    rig = risky(tmp_path)
    before = rig.sensor.at - SECOND
    known = explained(rig, before)["risk"]
    assert known > 0.3
    end = (rig.sensor.at + 20 * MINUTE) // SECOND * SECOND
    rig.ask(lambda: rig.controller.apply({"0.yaml": RISKY, "allow.yaml": allowing(end)}, "ann", "ours"))
    rig.turns(2)
    assert passes(rig, DESK, FINE)
    told = explained(rig)
    assert (told["risk"], told["contributions"]) == (0.02, [])
    assert told["exempt"][0]["now"] > 1.0
    assert all(word in told["exempt"][0]["exempt_because"] for word in (LISTED, "our mirror", "lena"))
    assert explained(rig, before)["risk"] == known  # as it was known then
    assert not explained(rig, before)["exempt"]
    [*_, version] = rig.ask(lambda: Answered(InService(rig.controller)).history("desk-1"))
    assert "to low, by what is allowed" in version["why"]
    rig.sensor.at += 25 * MINUTE
    rig.turns(2)
    assert not passes(rig, DESK, FINE)
    assert explained(rig)["risk"] > 0.3


def test_a_mitigation_ends_with_the_risk_it_rests_on(tmp_path):
    rig = risky(tmp_path, HELD)
    assert rig.ask(rig.controller.vms)["desk-1"].mitigations
    rig.ask(lambda: rig.controller.apply({"0.yaml": HELD, "allow.yaml": allowing()}, "ann", "ours"))
    rig.turns(2)
    assert not rig.ask(rig.controller.vms)["desk-1"].mitigations
    assert passes(rig, DESK, FINE)
    rig.ask(lambda: rig.controller.apply({"0.yaml": HELD}, "ann", "not ours"))
    rig.turns(2)
    assert rig.ask(rig.controller.vms)["desk-1"].mitigations
    assert not passes(rig, DESK, FINE)


def test_a_restart_keeps_what_is_exempt_and_since_when(tmp_path):
    rig = risky(tmp_path)
    before = rig.sensor.at - SECOND
    texts = {"0.yaml": RISKY, "allow.yaml": allowing()}
    rig.ask(lambda: rig.controller.apply(texts, "ann", "ours"))
    rig.turns(2)
    rig.controller.loop.close()
    again = Rig(tmp_path, store=rig.store, at=rig.sensor.at)
    again.turns(2)
    assert passes(again, DESK, FINE)
    assert explained(again)["risk"] == 0.02
    assert explained(again, before)["risk"] > 0.3
    again.ask(lambda: again.controller.apply({"0.yaml": RISKY}, "ann", "not ours"))
    again.turns(2)
    assert not passes(again, DESK, FINE)


def test_what_rests_on_a_feed_that_was_demoted_counts_no_more(tmp_path):
    rig = risky(tmp_path)
    trust = rig.controller.loop.threats.trust._trust
    trust.ledger = replace(trust.ledger, feeds={"bad": Record(log_only_since=rig.sensor.at)})
    rig.until(lambda: passes(rig, DESK, FINE))
    assert "log-only" in explained(rig)["exempt"][0]["exempt_because"]
    trust.ledger = replace(trust.ledger, feeds={})
    rig.until(lambda: not passes(rig, DESK, FINE))


def test_what_a_person_refutes_by_acquitting_one_vm_speaks_against_no_other(tmp_path):
    rig = risky(tmp_path)
    for port in (443, 8443, 4444):
        rig.sensor.flow("tap-web-1", "10.77.0.11", LISTED, port)
    rig.turns()
    rig.sensor.at += WINDOW + 90 * SECOND
    rig.turns(3)
    assert not passes(rig, WEB, FINE)
    persona = rig.controller.vms()["web-1"]
    clean = structs.replace(persona, **EDITS["acquit"][0], version=persona.version + 1)
    rig.ask(lambda: rig.controller.edit(clean, "ada", EDITS["acquit"][1]))
    rig.until(lambda: passes(rig, DESK, FINE))
    assert "a person refuted" in explained(rig)["exempt"][0]["exempt_because"]
    rig.sensor.at += HOUR
    rig.turns(2)
    for port in (443, 8443, 4444):  # what a VM does afterwards counts: a person spoke of what was
        rig.sensor.flow("tap-web-1", "10.77.0.11", LISTED, port)
    rig.turns(2)
    assert not passes(rig, WEB, FINE)
