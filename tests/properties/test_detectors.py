"""What holds of memory and detectors for any observation."""

from __future__ import annotations

import msgspec
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields

from netpersona.flow.window import SECOND, WINDOW, Window
from netpersona.intel.indicator import Indicator, IndicatorType
from netpersona.observation.model import (
    Conversation,
    NameUse,
    Observation,
    Probe,
    Sighting,
    conversation_order,
    name_order,
)
from netpersona.persona.memory import Memory, remember
from netpersona.persona.model import Completeness, Persona, TrafficProfile
from netpersona.persona.profile import BINS
from netpersona.risk.detectors import DETECTORS, Context, judge_all, settle
from netpersona.risk.finding import KINDS
from netpersona.risk.signatures import KEPT, signatures
from unit.risk.detectors.windows import START, VM, judged, probe, talk, window

LIMIT = 64 * 1024
FEW = settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
counts = st.one_of(st.integers(0, 40), st.integers(0, 2**62))
sizes = st.one_of(st.integers(0, 10**7), st.integers(0, 2**62))
texts = st.one_of(
    st.text(max_size=300), st.sampled_from(["a" * 60 + ".evil.com", "x.co.uk", "dnscat." + "ab" * 60, ""])
)


@st.composite
def conversations(draw, start):
    begun = tuple(sorted(draw(st.lists(st.integers(start, start + WINDOW - 1), min_size=1, max_size=30))))
    flows = len(begun)
    direction = draw(st.sampled_from(["inbound", "outbound"]))
    answered = flows if direction == "inbound" else draw(st.integers(0, flows))
    return Conversation(
        direction=direction,
        transport=draw(st.sampled_from(["tcp", "udp", "icmp", "icmp6", "sctp", "17"])),
        port=draw(st.one_of(st.sampled_from([0, 22, 53, 80, 443, 445, 3333, 5985, 18080]), st.integers(0, 65535))),
        peer=draw(addresses),
        vm_address=draw(addresses),
        flows=flows,
        answered=answered,
        refused=draw(st.integers(0, flows - answered)),
        bytes_out=draw(sizes),
        bytes_in=draw(sizes),
        payload_out=draw(sizes),
        payload_in=draw(sizes),
        packets_out=draw(counts),
        packets_in=draw(counts),
        first=begun[0],
        last=begun[-1] + draw(counts),
        longest=draw(counts),
        starts=begun,
        logins_failed=draw(st.integers(0, flows)),
        logins_ok=draw(st.integers(0, flows)),
        application=draw(st.sampled_from([None, "ssl", "ssh", "http"])),
        server_name=draw(st.one_of(st.none(), texts)),
        tls_fingerprint=None,
    )


@st.composite
def names(draw, start):
    at = start + draw(st.integers(0, WINDOW - 1))
    kind = draw(st.sampled_from(["dns", "tls", "http", "alert"]))
    return NameUse(kind, draw(texts), draw(addresses), None, None, 1, draw(st.integers(0, 1)), at, at, ())


@st.composite
def sightings(draw, start):
    listed = Indicator(
        draw(texts),
        IndicatorType.DOMAIN,
        draw(st.none() | texts),
        None,
        draw(st.floats(0, 1)),
        None,
        None,
        draw(texts),
        1,
    )
    via, direction = draw(st.sampled_from(["address", "dns", "tls"])), draw(st.sampled_from(["inbound", "outbound"]))
    return Sighting(listed, via, draw(addresses), direction, "tcp", 443, 1, draw(st.integers(0, 1)), 1, 1, start, start)


@st.composite
def probes(draw, start):
    ports = tuple(sorted(draw(st.sets(st.integers(0, 65535), max_size=30))))
    first, last = sorted(draw(st.tuples(*[st.integers(start, start + WINDOW - 1)] * 2)))
    flows = len(ports) + draw(counts) if ports else 0
    return Probe(draw(addresses), draw(addresses), draw(st.sampled_from(["tcp", "udp"])), ports, flows, 1, first, last)


@st.composite
def observations(draw, number=0):
    start = START + number * WINDOW
    talks = {conversation_order(c): c for c in draw(st.lists(conversations(start), max_size=12))}
    said = {name_order(n): n for n in draw(st.lists(names(start), max_size=12))}
    return Observation(
        vm=VM,
        window=Window(start, start + WINDOW),
        conversations=tuple(talks[k] for k in sorted(talks)),
        probes=tuple({p.peer: p for p in draw(st.lists(probes(start), max_size=8))}.values()),
        names=tuple(said[k] for k in sorted(said)),
        sightings=tuple(draw(st.lists(sightings(start), max_size=3))),
    )


runs = st.integers(1, 5).flatmap(lambda n: st.tuples(*(observations(i) for i in range(n))))
personas = st.builds(
    lambda windows, seen: Persona(
        VM,
        profile=TrafficProfile(windows=windows, volumes_out=(1,) * BINS, volumes_in=(1,) * BINS),
        completeness=Completeness(1 - seen, 0.0, 1.0),
    ),
    st.sampled_from([0, 24, 1000]),
    st.sampled_from([0.0, 0.99]),
)


@FEW
@given(runs, personas, st.sampled_from([None, START, START + 3 * WINDOW]))
def test_any_observations_are_judged_and_findings_are_sound(run, persona, learn_until):
    for findings, observation in zip(judged(run, persona, Context(learn_until)), run, strict=True):
        for f in findings:
            assert f.kind in KINDS
            assert 0.0 <= f.confidence <= 1.0
            assert f.weight >= 0.0
            assert f.half_life > 0
            assert f.judged_at <= observation.window.end
            assert f.first_seen <= f.last_seen
            assert f.why.isascii()
            assert f.why.isprintable()
            assert list(f.peers) == sorted(set(f.peers))
            assert len(f.peers) <= 1000
            assert f.peer is None or f.peers == (f.peer,)
        assert len({f.id for f in findings}) == len(findings)
        assert len(signatures(persona, findings, observation.window.end)) <= KEPT


def shuffled(memory):
    """The memory as a codec might give it back: written, read, and every table in another order."""
    back = msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=Memory)
    tables = {f.name: getattr(back, f.name) for f in fields(Memory) if f.name != "until"}
    return Memory(
        **{name: dict(sorted(table.items(), reverse=True)) for name, table in tables.items()}, until=back.until
    )


@FEW
@given(runs)
def test_the_same_windows_give_the_same_findings_whatever_restarts_lie_between(run):
    straight = judged(run)
    memory, restarted = Memory(), []
    for observation in run:
        memory = remember(memory, observation)
        findings = judge_all(observation, Persona(VM), memory, Context())
        memory = shuffled(settle(memory, findings))
        restarted.append(findings)
    assert restarted == straight


@FEW
@given(runs)
def test_memory_stays_small(run):
    memory = Memory()
    for observation in run:
        memory = remember(memory, observation)
        memory = settle(memory, judge_all(observation, Persona(VM), memory, Context()))
        assert len(msgspec.msgpack.encode(memory)) <= LIMIT


def test_memory_stays_small_under_a_flood_from_everywhere():
    memory, names_asked = Memory(), []
    for number in range(40):
        start = START + number * WINDOW
        crowd = []
        for i in range(300):
            far = f"2001:db8:aaaa:bbbb:cccc:dddd:{number:x}:{i + 0x1000:x}"
            at = number * WINDOW + i * SECOND // 4
            crowd += [probe(far, 40000 + i, at=at), talk(far, 50000 + i, at=at, flows=30, every=SECOND // 100)]
            crowd += [
                talk(far, 60000, at=at, answered=0),
                talk(far, 22, at=at, direction="inbound", flows=40, failed=40),
            ]
        mess = ["x" * 60 + f"{number}-{i}." + "y" * 50 + f"{i}.com" for i in range(100)]
        names_asked = [NameUse("dns", n, "10.0.0.1", None, None, 1, 1, start, start, ()) for n in mess]
        observation = window(crowd, number=number, names=names_asked)
        memory = remember(memory, observation)
        memory = settle(memory, judge_all(observation, Persona(VM), memory, Context()))
        assert len(msgspec.msgpack.encode(memory)) <= LIMIT


@FEW
@given(st.integers(10, 120), st.integers(1, 60))
def test_more_probes_never_lower_a_scans_confidence(ports, more):
    peer = "45.155.205.44"

    def confidence(count, **how):
        [findings] = judged([window([how["make"](peer, 1 + i) for i in range(count)])])
        return max(f.confidence for f in findings if f.kind == "scan_vertical")

    for make in (probe, lambda p, port: talk(p, port, answered=0, back=0)):
        assert confidence(ports, make=make) <= confidence(ports + more, make=make)


@FEW
@given(st.lists(st.integers(1, 30), min_size=2, max_size=8))
def test_more_failed_logins_never_lower_confidence(batches):
    windows = [
        window([talk(port=22, direction="inbound", at=i * WINDOW, flows=n, failed=n, out=100, back=100)], number=i)
        for i, n in enumerate(batches)
    ]
    found = [f.confidence for r in judged(windows) for f in r if f.kind == "brute_force"]
    assert found == sorted(found)


def test_every_detector_is_named_once():
    assert len({d.name for d in DETECTORS}) == len(DETECTORS)
