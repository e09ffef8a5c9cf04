"""Giving findings to a delivery never waits; what fails is told later, what does not fit is counted."""

import threading
from functools import partial

import pytest

from netpersona.adapters.sinks import delivery as module
from netpersona.adapters.sinks.delivery import EVERY
from netpersona.errors import SinkError
from netpersona.flow.window import SECOND
from netpersona.ports import Told
from netpersona.risk.finding import Severity
from told_findings import AT, finding
from waiting import until

Delivery = partial(module.Delivery, pause=0)


class Paper:
    """A sink that writes down what it is told; it fails, or waits, as long as it is said to."""

    place = "paper"

    def __init__(self):
        self.told, self.fails, self.gate = [], 0, threading.Event()
        self.gate.set()

    def tell(self, news):
        self.gate.wait(60)
        if self.fails:
            self.fails -= 1
            raise SinkError("no ink")
        self.told += [(each.finding, each.again) for each in news]
        return Told(taken=len(news))


@pytest.fixture
def paper():
    return Paper()


def told(paper, delivery):
    assert delivery.stop(60)
    return paper.told


def test_a_finding_is_told_once_and_again_when_there_is_more_to_it(paper):
    delivery = Delivery(paper)
    forms = [
        finding(),
        finding(why="said otherwise", last_seen=finding().last_seen + EVERY - 1),
        finding(last_seen=finding().last_seen + EVERY),
        finding(last_seen=finding().last_seen + EVERY, severity=Severity.CRITICAL),
    ]
    for form in forms:
        delivery.give([form])
        until(lambda: not delivery.state().waiting, "nothing waits", within=60)
    assert told(paper, delivery) == [(forms[0], False), (forms[2], True), (forms[3], True)]


def test_only_alerts_are_told_unless_everything_is_wanted(paper):
    context = finding("long_connection", alert=False)
    delivery = Delivery(paper)
    delivery.give([context])
    assert told(paper, delivery) == []
    delivery = Delivery(paper, everything=True)
    delivery.give([context])
    assert told(paper, delivery) == [(context, False)]


def test_what_was_an_alert_and_is_none_any_more_is_told(paper):
    delivery = Delivery(paper)
    delivery.give([finding()])
    until(lambda: paper.told, "it is told", within=60)
    delivery.give([finding(alert=False)])
    assert told(paper, delivery)[-1] == (finding(alert=False), True)


def test_giving_does_not_wait_and_what_does_not_fit_is_dropped_the_oldest_first(paper):
    paper.gate.clear()
    delivery = Delivery(paper, most=3)
    delivery.give([finding(id="taken")])
    until(lambda: not delivery.state().waiting, "nothing waits", within=60)
    delivery.give([finding(id=str(number)) for number in range(5)])
    state = delivery.state()
    assert (state.waiting, state.dropped) == (3, 2)
    paper.gate.set()
    assert [found.id for found, _ in told(paper, delivery)] == ["taken", "2", "3", "4"]


def test_what_waits_is_told_in_its_newest_form_and_as_new(paper):
    paper.gate.clear()
    delivery = Delivery(paper)
    delivery.give([finding(id="taken")])
    until(lambda: not delivery.state().waiting, "nothing waits", within=60)
    newest = finding(last_seen=AT + 20 * EVERY)
    delivery.give([finding(), newest])
    paper.gate.set()
    assert told(paper, delivery)[1:] == [(newest, False)]


def test_what_fails_is_told_again_and_nothing_is_lost(paper):
    paper.fails = 3
    delivery = Delivery(paper, delay=0.01)
    delivery.give([finding(id="one")])
    until(lambda: delivery.state().error, "the failure is told", within=60)
    assert delivery.state().error == "no ink"
    delivery.give([finding(id="two")])
    until(lambda: len(paper.told) == 2, "both are told", within=60)
    assert [found.id for found, _ in told(paper, delivery)] == ["one", "two"]
    assert (delivery.state().error, delivery.state().taken, delivery.state().dropped) == (None, 2, 0)


def test_between_tellings_there_is_a_pause(paper):
    delivery = module.Delivery(paper, pause=60.0)
    delivery.give([finding(id="one")])
    until(lambda: paper.told, "it is told", within=60)
    delivery.give([finding(id="two"), finding(id="three")])
    assert delivery.state().waiting == 2
    assert len(told(paper, delivery)) == 3


def test_a_fault_of_ours_keeps_nothing_else_from_being_told(paper):
    tell, broken = paper.tell, [True]

    def once(news):
        if broken:
            raise KeyError(broken.pop())
        return tell(news)

    paper.tell = once
    delivery = Delivery(paper)
    delivery.give([finding(id="lost")])
    until(lambda: delivery.state().error, "the failure is told", within=60)
    assert "a fault of netpersona" in delivery.state().error
    delivery.give([finding(id="next")])
    assert [found.id for found, _ in told(paper, delivery)] == ["next"]
    assert delivery.state().dropped == 1


def test_it_ends_although_the_other_side_never_works_and_says_what_waits(paper):
    paper.fails = 1_000
    delivery = Delivery(paper, delay=60.0)
    delivery.give([finding()])
    until(lambda: delivery.state().error, "the failure is told", within=60)
    assert delivery.stop(60)
    assert (delivery.state().waiting, delivery.state().taken) == (1, 0)


def test_a_flood_of_findings_is_given_in_no_time_while_the_other_side_hangs(paper):
    paper.gate.clear()
    delivery = Delivery(paper)
    many = [finding(id=str(number), last_seen=AT + number * SECOND) for number in range(50_000)]
    delivery.give(many)
    state = delivery.state()
    assert state.waiting == 10_000
    assert state.dropped >= 39_500
    paper.gate.set()
    assert delivery.stop(60)
