import random
from itertools import pairwise

import pytest

from netpersona.flow.window import HOUR, SECOND, WINDOW
from netpersona.persona.domains import registered_domain
from netpersona.risk.detectors.bigrams import STRANGE, strangeness
from shared_data import CAPTURES, needs_shared
from unit.risk.detectors.windows import asked, judged, kinds, talk, window

WORDS = ("river", "music", "paper", "green", "light", "house", "stone", "cloud", "forest", "market", "garden", "silver")


def generated(count, seed=1, length=12):
    chance = random.Random(seed)
    return ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=length)) + ".com" for _ in range(count)]


def lookups(names, *, at=0, failed=1):
    return [asked(name, at=at + i * SECOND, failed=failed) for i, name in enumerate(names)]


def test_a_burst_of_generated_names_is_found_and_names_who_was_asked():
    [findings] = judged([window([talk("10.77.0.1", 53, transport="udp")], names=lookups(generated(20)))])
    [finding] = findings
    assert (finding.kind, finding.alert, finding.peer, finding.peers) == ("dga", True, None, ("10.77.0.1",))
    assert finding.confidence >= 0.8
    assert "20" in finding.why


def test_names_trickling_over_windows_add_up_within_the_hour():
    names = generated(12)
    windows = [window(names=lookups([name], at=i * WINDOW), number=i) for i, name in enumerate(names)]
    results = judged(windows)
    assert [bool(r) for r in results] == [i >= 7 for i in range(12)]
    assert len({f.id for r in results for f in r}) == 1


def test_names_an_hour_apart_do_not_add_up():
    step = 2 * HOUR
    windows = [window(names=lookups([n], at=i * step), number=i * step // WINDOW) for i, n in enumerate(generated(20))]
    assert judged(windows) == [[]] * 20


def test_names_that_exist_and_typing_errors_are_no_alarm():
    typos = [f"{a}{b}.com" for a, b in pairwise(WORDS)]
    assert judged([window(names=lookups(generated(30), failed=0)), window(names=lookups(typos), number=1)]) == [[], []]


def test_names_of_words_take_more_of_them():
    many = [f"{a}{b}{i}.com".replace("0", "") for i, a in enumerate(WORDS) for b in WORDS]
    [findings] = judged([window(names=lookups(sorted(set(many))))])
    assert kinds(findings) == ["dga"]


def test_many_failures_below_one_domain_are_one_domain():
    below = [f"{name.partition('.')[0]}.internal.example.com" for name in generated(50)]
    assert judged([window(names=lookups(below))]) == [[]]


@needs_shared
@pytest.mark.parametrize(
    ("family", "least", "most"),
    [
        ("cryptolocker_1000", 0.95, 1.0),
        ("zeus_1000", 0.95, 1.0),
        ("tinba_1000", 0.95, 1.0),
        ("ramdo_1000", 0.95, 1.0),
        ("conficker_1000", 0.8, 1.0),
        ("pushdo_1000", 0.5, 1.0),
        ("matsnu_1000", 0.0, 0.05),  # made of words: found by their number alone
        ("rovnix_1000", 0.0, 0.05),
        ("alexa_1000", 0.0, 0.2),
        ("benign-opendns-top-domains", 0.0, 0.2),
    ],
)
def test_measured_strangeness_of_real_names(family, least, most):
    names = [
        line.split()[-1].lower()
        for line in (CAPTURES / "dga-andrewaeva" / f"{family}.txt").read_text().splitlines()
        if line
    ]
    strange = [strangeness((registered_domain(n) or n).partition(".")[0]) >= STRANGE for n in names]
    assert least <= sum(strange) / len(strange) <= most
