from dataclasses import replace

from netpersona.flow.window import DAY, SECOND, WINDOW
from netpersona.persona.model import Persona
from netpersona.risk.signatures import KEPT, signatures
from unit.risk.detectors.windows import START, VM, judged, probe, talk, window

NOW = START + WINDOW


def scanned(count=1):
    return judged([window([probe(f"45.0.0.{i}", 20 + j) for i in range(count) for j in range(12)])])[0]


def calling(count=1):
    peers = [(f"93.184.216.{34 + i}", 4711 + i) for i in range(count)]
    return judged([window([talk(peer, port, flows=30, every=5 * SECOND) for peer, port in peers])])[0]


def with_signatures(findings, at=NOW, persona=None):
    who = persona or Persona(VM)
    return Persona(VM, signatures=signatures(who, findings, at))


def test_an_alert_of_behaviour_becomes_a_signature():
    [signature] = with_signatures(calling()).signatures
    assert (signature.name, signature.peer) == ("c2_beacon", "93.184.216.34")
    assert signature.since == START
    assert signature.why


def test_a_signature_stays_a_day_after_it_was_last_seen():
    persona = with_signatures(calling())
    last = persona.signatures[0].last
    assert signatures(persona, [], last + DAY - 1) is persona.signatures
    assert signatures(persona, [], last + DAY) == ()


def test_being_renewed_keeps_the_beginning():
    persona = with_signatures(calling())
    [later] = judged([window([talk(port=4711, flows=30, every=5 * SECOND, at=WINDOW)], number=1)])[0]
    [signature] = with_signatures([later], NOW + WINDOW, persona).signatures
    assert signature.since == START
    assert signature.last > persona.signatures[0].last


def test_what_is_done_to_the_vm_is_not_its_behaviour():
    assert scanned(3)
    assert signatures(Persona(VM), scanned(3), NOW) == ()


def test_sixteen_at_most():
    assert len(with_signatures(calling(40)).signatures) == KEPT


def test_a_flow_that_claims_to_last_for_ever_does_not_keep_a_signature_for_ever():
    [finding] = calling()
    claims = replace(finding, last_seen=NOW + 1000 * DAY)
    assert signatures(with_signatures([claims]), [], NOW + DAY) == ()


def test_the_order_of_findings_does_not_matter():
    findings = calling(40)
    assert with_signatures(findings) == with_signatures(findings[::-1])
