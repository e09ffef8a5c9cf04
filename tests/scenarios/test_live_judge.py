"""Judging while it happens learns what a replay of the same traffic learns, and tells of it sooner."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest

from netpersona.adapters.inventories.yaml_file import YamlInventory
from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.adapters.sensors.recognise import sensors
from netpersona.adapters.sensors.tap.open_windows import OpenWindows
from netpersona.adapters.stores.memory import MemoryStore
from netpersona.app.judging import Judging, seen_by
from netpersona.app.live.judge import LiveJudge, resumed
from netpersona.app.sample import write_sample
from netpersona.app.spool import Slice, Spool
from netpersona.flow.table import batch
from netpersona.flow.window import HOUR, MINUTE, WINDOW
from netpersona.intel.indicators import IndicatorSet
from netpersona.pipeline import Fleet, Ground
from netpersona.policy.model import PolicySet

GROUND = Ground(IndicatorSet.merge([]), PolicySet())


@pytest.fixture(scope="module")
def traffic(tmp_path_factory):
    """The sample's day: its VMs, its hours, and what each VM's tap saw of it."""
    sample = write_sample(tmp_path_factory.mktemp("sample"))
    vms = YamlInventory(sample.inventory).vms()
    with Spool() as spool:
        for sensor in sensors([sample.logs]):
            for part in sensor.batches():
                spool.add(part)
        hours = list(spool.hours())
    flows, said = (pl.concat([getattr(hour, name) for hour in hours]) for name in ("flows", "transactions"))
    return vms, hours, at_taps(flows, vms), at_taps(said, vms)


def at_taps(rows, vms):
    seen = [
        rows.filter(pl.col("originator").is_in(vm.hosts) | pl.col("responder").is_in(vm.hosts)).with_columns(
            source=pl.lit(vm.interface)
        )
        for vm in vms
    ]
    whole = pl.concat(seen)
    return whole.with_columns(
        uid=pl.col("uid") + "@" + pl.col("source"), **({"part": 0} if "part" in rows.columns else {})
    )


def reports(flows, said, begin, end, step):
    for since, until in pairwise(range(begin, end + step, step)):
        now = (pl.col("start") >= since) & (pl.col("start") < until)
        yield Report(batch(flows.filter(now), said.filter(now)), said.clear(), until), until


def test_what_is_learned_is_what_a_replay_learns(traffic):
    vms, hours, flows, said = traffic
    begin = flows["start"].min() // HOUR * HOUR
    end = begin + 10 * HOUR
    live = LiveJudge(GROUND, OpenWindows(WINDOW))
    live.follow(vms)
    for report, now in reports(flows, said, begin, end, 2 * MINUTE):
        live.take(report, now)
    fleet = Fleet({vm.name: vm for vm in vms})
    replayed = Judging(GROUND, end)
    for hour in hours:
        if hour.flows["start"].min() < end:
            part = [rows.filter(pl.col("start") < end) for rows in (hour.flows, hour.transactions)]
            replayed.judge(seen_by(fleet, Slice(hour.start, *part), GROUND))
    assert live.closed.states == replayed.closed.states
    assert live.closed.findings.keys() == replayed.closed.findings.keys()
    for key, finding in live.closed.findings.items():
        assert finding.judged_at <= replayed.closed.findings[key].judged_at


def test_the_open_window_is_judged_at_once_and_taught_nothing(traffic):
    vms, _, flows, said = traffic
    begin = flows["start"].min() // WINDOW * WINDOW
    live = LiveJudge(GROUND, OpenWindows(WINDOW))
    live.follow(vms)
    before = dict(live.closed.states)
    first = next(reports(flows, said, begin, begin + MINUTE, MINUTE))
    touched = live.take(*first)
    assert touched == {vm.name for vm in vms if vm.interface in set(first[0].batch.flows["source"])}
    assert live.closed.states == before
    assert all(live.persona(vm).last_seen is not None for vm in touched)
    assert {p.vm for p in live.personas().values()} == {vm.name for vm in vms}


def test_a_restart_goes_on_where_the_store_stands(traffic):
    vms, _, flows, said = traffic
    begin = flows["start"].min() // HOUR * HOUR
    whole, cut = LiveJudge(GROUND, OpenWindows(WINDOW)), LiveJudge(GROUND, OpenWindows(WINDOW))
    whole.follow(vms)
    cut.follow(vms)
    store = MemoryStore()
    for i, (report, now) in enumerate(reports(flows, said, begin, begin + 4 * HOUR, 2 * MINUTE)):
        whole.take(report, now)
        cut.take(report, now)
        if i % 37 == 36:
            store.commit(cut.checkpoint({}))
            cut.stored()
            cut = resumed(GROUND, store.states(), store.closed_until(), store.pending())
            cut.follow(vms)
    store.commit(cut.checkpoint({}))
    assert cut.closed.states == whole.closed.states
    assert {f.id for f in store.findings()} >= set(whole.closed.findings)


def test_a_vm_that_changes_its_address_is_followed(traffic):
    vms, *_ = traffic
    live = LiveJudge(GROUND, OpenWindows(WINDOW))
    assert live.follow(vms) == {vm.name for vm in vms}
    assert live.follow(vms) == set()
    from dataclasses import replace

    moved = [replace(vms[0], addresses=("10.77.9.9/24",)), *vms[1:-1]]
    assert live.follow(moved) == {vms[0].name, vms[-1].name}
    assert live.persona(vms[0].name).base.addresses == ("10.77.9.9/24",)
    assert live.persona(vms[0].name).version == 2
    assert vms[-1].name not in live.personas()
