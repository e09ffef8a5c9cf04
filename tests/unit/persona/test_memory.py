import msgspec
import pytest
from msgspec.structs import replace

from netpersona.flow.window import DAY, HOUR, SECOND, WINDOW
from netpersona.persona.domains import registered_domain
from netpersona.persona.memory import (
    CONTACTS_KEPT,
    EPISODES_KEPT,
    GAPS_KEPT,
    PORTS_KEPT,
    SOURCES_KEPT,
    Episode,
    Memory,
    remember,
    with_episodes,
)
from unit.risk.detectors.windows import FAR, START, asked, probe, talk, window

KEY = ("tcp", 443, FAR)


def remembered(*observations, memory=None):
    memory = memory or Memory()
    for observation in observations:
        memory = remember(memory, observation)
    return memory


def test_a_contact_adds_up_over_windows_and_keeps_its_gaps():
    first = window([talk(flows=3, every=10 * SECOND)])
    second = window([talk(at=WINDOW, answered=0)], number=1)
    contact = remembered(first, second).contacts[KEY]
    assert (contact.flows, contact.answered, contact.bytes_out) == (4, 3, 6000)
    assert contact.gaps == (10_000, 10_000, 280_000)
    assert (contact.first, contact.last) == (START, START + WINDOW)


def test_only_the_latest_gaps_are_kept():
    contact = remembered(window([talk(flows=100, every=2 * SECOND)])).contacts[KEY]
    assert contact.gaps == (2000,) * GAPS_KEPT


def test_a_contact_idle_for_a_day_begins_anew():
    late = DAY + WINDOW
    contact = remembered(window([talk()]), window([talk(at=late)], number=late // WINDOW)).contacts[KEY]
    assert (contact.flows, contact.gaps, contact.first) == (1, (), START + late)


def test_a_contact_in_use_counts_afresh_each_day_but_keeps_its_rhythm():
    hourly = [window([talk(at=i * HOUR)], number=i * HOUR // WINDOW) for i in range(30)]
    contact = remembered(*hourly).contacts[KEY]
    assert contact.flows < 30
    assert contact.gaps == (3_600_000,) * GAPS_KEPT


def test_unanswered_inbound_flows_are_counted_by_source():
    seen = remembered(window([probe(FAR, 22), probe(FAR, 23, flows=2), talk(FAR, 80, direction="inbound")]))
    assert seen.sources[FAR].ports == (22, 23)
    assert seen.sources[FAR].flows == 3


def test_a_hostile_end_time_does_not_keep_an_entry_for_ever():
    forged = replace(talk(FAR, 22, answered=0), last=START + 10_000 * DAY)
    late = talk(FAR, 23, answered=0, at=2 * HOUR)
    assert remembered(window([forged]), window([late], number=2 * HOUR // WINDOW)).targets[FAR].ports == (23,)


def test_names_that_do_not_exist_are_kept_for_an_hour():
    one = window(names=[asked("a.nowhere-at-all.com", failed=1)])
    two = window(names=[asked("other-name.org", failed=1, at=2 * HOUR)], number=2 * HOUR // WINDOW)
    assert set(remembered(one).unresolved) == {"nowhere-at-all.com"}
    assert set(remembered(one, two).unresolved) == {"other-name.org"}


def test_a_window_is_remembered_once():
    observation = window([talk()])
    memory = remembered(observation)
    assert remember(memory, observation) is memory
    assert remember(memory, window([talk()], number=-3)) is memory


def test_remembering_changes_nothing_in_the_memory_given():
    before = remembered(window([talk(), probe(FAR, 23), talk(FAR, 25, answered=0)]))
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(before), type=Memory)
    remember(before, window([talk(at=WINDOW), probe(FAR, 24, at=WINDOW)], number=1))
    assert before == copy


def test_what_was_used_most_and_latest_stays():
    rhythm = [talk(at=0, flows=20, every=10 * SECOND)]
    crowd = [talk(f"93.185.{i // 200}.{i % 200}", at=SECOND) for i in range(3 * CONTACTS_KEPT)]
    memory = remembered(window(rhythm), window([replace(c, first=c.first + WINDOW) for c in crowd], number=1))
    assert KEY in memory.contacts
    assert len(memory.contacts) <= CONTACTS_KEPT


def test_a_source_that_comes_back_outlives_those_that_do_not():
    faithful = "45.155.205.44"
    memory = remembered(*(window([probe(faithful, 22 + i, at=i * WINDOW)], number=i) for i in range(6)))
    crowd = [probe(f"51.{i // 200}.{i % 200}.1", 23, at=6 * WINDOW) for i in range(SOURCES_KEPT + 10)]
    memory = remember(memory, window(crowd, number=6))
    assert faithful in memory.sources
    assert len(memory.sources) <= SOURCES_KEPT


def test_what_stays_does_not_depend_on_a_restart_in_between():
    windows = [
        window([probe(f"51.0.{(7 * i) % 200}.{j}", 23, at=i * WINDOW) for j in range(30)], number=i) for i in range(40)
    ]
    through, restarted = Memory(), Memory()
    for observation in windows:
        through = remember(through, observation)
        restarted = remember(restarted, observation)
        read = msgspec.msgpack.decode(msgspec.msgpack.encode(restarted), type=Memory)
        restarted = replace(read, sources=dict(sorted(read.sources.items())))
    assert through == restarted


def test_ports_are_kept_up_to_a_limit():
    memory = remembered(window([probe(FAR, port) for port in range(1000, 1100)]))
    assert len(memory.sources[FAR].ports) == PORTS_KEPT
    assert memory.sources[FAR].flows == 100


def test_episodes_are_bounded_and_the_latest_stay():
    memory = with_episodes(Memory(), {i: Episode(i, i, i) for i in range(3 * EPISODES_KEPT)})
    assert 3 * EPISODES_KEPT - 1 in memory.episodes
    assert len(memory.episodes) <= EPISODES_KEPT
    assert with_episodes(memory, {}) is memory


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("mail.example.co.uk", "example.co.uk"),
        ("example.com.", "example.com"),
        ("co.uk", None),
        ("dnscat.deadbeef", None),
        ("localhost", None),
        ("", None),
        ("..", None),
    ],
)
def test_registered_domains(name, domain):
    assert registered_domain(name) == domain
