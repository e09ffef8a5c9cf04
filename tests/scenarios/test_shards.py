"""Several processes judge as one does."""

import pickle
from copy import deepcopy

import pytest

from netpersona.adapters.inventories.yaml_file import YamlInventory
from netpersona.adapters.sensors.recognise import sensors
from netpersona.app.judging import Judging, Verdicts, seen_by
from netpersona.app.lots import Lots, lot_of
from netpersona.app.sample import write_sample
from netpersona.app.shards import Shards
from netpersona.app.spool import Spool
from netpersona.flow.window import HOUR
from netpersona.intel.indicators import IndicatorSet
from netpersona.pipeline import Fleet, Ground
from netpersona.policy.model import PolicySet


@pytest.fixture(scope="module")
def hours(tmp_path_factory):
    sample = write_sample(tmp_path_factory.mktemp("sample"))
    fleet = Fleet({vm.name: vm for vm in YamlInventory(sample.inventory).vms()})
    ground = Ground(IndicatorSet.merge([]), PolicySet())
    with Spool() as spool:
        for sensor in sensors([sample.logs]):
            for batch in sensor.batches():
                spool.add(batch)
        hours = [seen_by(fleet, part, ground) for part in spool.hours()]
    return ground, hours, spool.last


def judged(ground, horizon):
    return Judging(ground, horizon)


def test_equal_to_one_process(hours):
    ground, parts, last = hours
    horizon = last - last % HOUR - 6 * HOUR
    alone = judged(ground, horizon)
    with Shards(2) as shards:
        assert shards.start()
        together = shards.judged(parts, judged(ground, horizon))
    for hour in parts:
        alone.judge(hour)
    assert together.closed.outcome() == alone.closed.outcome()
    assert together.open.outcome() == alone.open.outcome()
    assert together.names == alone.names
    assert together.at == alone.at


def test_they_go_on_where_a_store_stands(hours):
    ground, parts, last = hours
    horizon = last - last % HOUR
    before = judged(ground, horizon)
    for hour in parts[:4]:
        before.judge(hour)
    alone = Judging(ground, horizon, Verdicts(dict(before.closed.states)), names=deepcopy(before.names))
    with Shards(1) as shards:
        shards.start()
        together = shards.judged(parts[4:], before)
    for hour in parts[4:]:
        alone.judge(hour)
    assert together.closed.states == alone.closed.states
    assert together.closed.findings == alone.closed.findings
    assert together.names == alone.names


@pytest.mark.parametrize("limit", [0, 1_000, 1_000_000])
def test_lots_judge_alike_here_and_there_held_and_written_down(hours, limit, tmp_path):
    ground, parts, last = hours
    alone, here, there = (judged(ground, last - last % HOUR) for _ in range(3))
    lots = Lots(tmp_path, 6, here, limit)
    for number, hour in enumerate(parts):
        alone.judge(hour)
        lots.add(hour)
        if number % 4 == 0:
            judge_there(lots, range(2), there)  # by and by
    judge_there(lots, range(2), there)
    rest = [lot for lot in lots.by_size() if lot >= 2]
    judge_there(lots, rest[:1], there)
    for lot in rest[1:]:
        lots.judge(lot, here)
    assert there.closed.states
    assert here.closed.states
    here.join(there)
    assert here.closed.outcome() == alone.closed.outcome()
    assert here.open.outcome() == alone.open.outcome()
    assert not list(tmp_path.iterdir())


def judge_there(lots, some, judging):
    """As another process does."""
    work = pickle.loads(pickle.dumps(lots.hand_over(some)))
    work.judge(judging, lots.fleets)


def test_lots_of_nothing_judge_nothing(tmp_path):
    judging = judged(Ground(IndicatorSet.merge([]), PolicySet()), None)
    lots = Lots(tmp_path, 3, judging)
    judge_there(lots, [0, 1], judging)
    lots.judge(2, judging)
    assert (judging.at, judging.closed.states) == (None, {})


def test_every_vm_has_one_lot():
    lots = [lot_of(f"vm-{i}", 3) for i in range(300)]
    assert set(lots) == {0, 1, 2}
    assert lots == [lot_of(f"vm-{i}", 3) for i in range(300)]
