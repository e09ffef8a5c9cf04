"""What differs between two personas, in the words of the resource."""

from __future__ import annotations

from hypothesis import given, settings
from msgspec.structs import replace

from netpersona.flow.vm import VmId
from netpersona.persona.difference import Change, difference
from netpersona.persona.model import BehavioralSignature, Kind, Persona, TrafficProfile, Usage
from netpersona.persona.resource import resource
from properties.personas import personas

WEB = Persona(VmId("web-1"), labels={"role": "web"})


def shown(persona: Persona) -> dict[str, object]:
    return resource(persona, 0, 0.02)


def using(*uses: tuple[str, float]) -> Persona:
    kinds = {Kind("outbound", "tcp", 443, peer): Usage(flows, 0, 0, 0, 0) for peer, flows in uses}
    return replace(WEB, profile=TrafficProfile(kinds=kinds))


def test_equal_personas_do_not_differ():
    assert difference(shown(WEB), shown(WEB)) == []


def test_a_changed_field_is_named_by_its_path():
    frozen = replace(WEB, version=2, learning="frozen")
    assert difference(shown(WEB), shown(frozen)) == [
        Change("metadata.version", 1, 2),
        Change("spec.learning.state", "learning", "frozen"),
    ]


def test_entries_are_told_apart_by_what_they_are_about():
    before, after = using(("203.0.113.7", 3.0), ("203.0.113.8", 1.0)), using(("203.0.113.8", 1.0))
    changes = {change.path: change for change in difference(shown(before), shown(after))}
    gone = changes["status.traffic_profile.peers[203.0.113.7 tcp/443]"]
    assert (gone.before["share"], gone.after) == (0.75, None)
    assert changes["status.traffic_profile.peers[203.0.113.8 tcp/443].share"][1:] == (0.25, 1.0)


def test_something_new_was_absent_before():
    signature = BehavioralSignature("c2_beacon", 0, 1_000_000, "203.0.113.7", 0.9, "it calls back")
    (change,) = difference(shown(WEB), shown(replace(WEB, signatures=(signature,))))
    assert change.path == "status.behavioral_signatures[c2_beacon 203.0.113.7]"
    assert change.before is None
    assert change.after["why"] == "it calls back"


def test_two_entries_about_the_same_thing_are_two():
    first = BehavioralSignature("scan", 0, 2, None, 0.9, "one")
    second = replace(first, why="two", last=1)
    (change,) = difference(shown(replace(WEB, signatures=(first,))), shown(replace(WEB, signatures=(first, second))))
    assert change.path == "status.behavioral_signatures[scan #2]"


@settings(max_examples=40, deadline=None)
@given(personas, personas)
def test_back_is_the_same_way_the_other_way_round(one, two):
    there, back = difference(shown(one), shown(two)), difference(shown(two), shown(one))
    assert sorted((c.path, repr(c.after), repr(c.before)) for c in back) == sorted(
        (c.path, repr(c.before), repr(c.after)) for c in there
    )
    assert [c.path for c in there] == sorted(c.path for c in there)


@settings(max_examples=40, deadline=None)
@given(personas)
def test_a_persona_does_not_differ_from_itself(persona):
    assert difference(shown(persona), shown(persona)) == []
