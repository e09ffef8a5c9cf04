"""A DNS answer that waits for rules to be resolved waits for no turn of the controller: not even for its judging."""

from contextlib import contextmanager

from netpersona.adapters.dns_relay import HoldHealth
from unit.app.live.rig import LISTED, LOW_REPUTATION, Rig


class Hold:
    """Answers that wait for a settling, and what had been judged when they went."""

    waiting = False

    def __init__(self):
        self.asked, self.went, self.judged = False, [], []

    def wait(self, _):
        asked, self.asked = self.asked, False
        return asked

    def follow(self, taps):
        pass

    def health(self):
        return HoldHealth(well=True, says="held", figures={})

    @contextmanager
    def settling(self):
        yield []
        self.went.append(list(self.judged))

    quiet = settling

    def publish(self, *_):
        pass


def test_what_waits_goes_before_the_report_is_judged_and_what_came_meanwhile_after_it(tmp_path):
    hold = Hold()
    rig = Rig(tmp_path, LOW_REPUTATION, hold=hold)
    rig.turns(3)
    loop = rig.controller.loop
    take, hold.went = loop._take, []

    def judging(report):
        hold.asked = True  # an answer comes now
        hold.judged.append(report.until)
        return take(report)

    loop._take = judging
    hold.asked = True
    rig.controller.turn()
    first, *later = hold.went
    assert first == []
    assert later
    assert len(later[-1]) == 1
    assert not hold.asked


def test_where_the_kernel_refuses_it_is_written_down_and_judging_goes_on(tmp_path):
    hold = Hold()
    rig = Rig(tmp_path, LOW_REPUTATION, hold=hold)
    rig.turns(3)

    @contextmanager
    def failing():
        raise RuntimeError("no")
        yield

    hold.settling, hold.asked = failing, True
    rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, 443)
    rig.turns(1)
    assert any(f.peer == LISTED for f in rig.controller.loop.judge.findings().values())
