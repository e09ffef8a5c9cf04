"""What is remembered of names is bounded: there are new ones for ever."""

from netpersona.flow.vm import vm_id
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import IndicatorSet
from netpersona.ruleset import listed_answers
from netpersona.ruleset.criteria import _KEPT, _STEMS, coverage, covered
from netpersona.ruleset.listed_answers import ListedAnswers

WEB, DB = vm_id("web"), vm_id("db")


def test_the_older_half_of_the_names_is_forgotten_and_the_answers_stay_the_same():
    below = coverage(("evil.example",))
    for number in range(2 * _KEPT):
        name = f"x{number}.{'evil' if number % 2 else 'fine'}.example"
        assert below[name] == covered(name, ("evil.example",)) == bool(number % 2)
        assert len(_STEMS) <= _KEPT
        assert len(below) <= _KEPT
        assert name in _STEMS
        assert name in below
    newest = {f"x{number}.{'evil' if number % 2 else 'fine'}.example" for number in range(_KEPT * 3 // 2, _KEPT * 2)}
    assert newest <= below.keys()


def test_a_listed_name_is_known_also_after_many_others_that_no_vm_is_answered_any_more(monkeypatch):
    monkeypatch.setattr(listed_answers, "_KEPT", 20)
    at = 1_800_000_000_000_000
    feed = parse(b"evil.example\n", FeedSettings("feodo", confidence=0.9, category="c2"))
    answers = ListedAnswers(IndicatorSet.merge([feed]), at)
    answers.put(DB, {"cdn.evil.example": ("203.0.113.9",)})
    for number in range(100):
        answers.put(WEB, {f"x{number}.fine.example": ("203.0.113.10",)})
        answers.settle()
        assert len(answers._known) <= 21
        assert "cdn.evil.example" in answers._known
        assert answers.set_of(DB, "0.3").addresses == ("203.0.113.9",)
    answers.put(WEB, {"cdn.evil.example": ("203.0.113.11",)})
    answers.settle()
    assert answers.set_of(WEB, "0.3").addresses == ("203.0.113.11",)
