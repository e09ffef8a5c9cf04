"""Replay: recorded traffic through the whole pipeline, into a store.

    sensors -> Spool (hours, in order) -> pipeline -> closed windows | open windows -> one checkpoint

The last LATENESS of event time stays open: its flows are kept with the checkpoint and judged again when a later replay
into the same store brings more of them.  So two runs over two halves end where one run over the whole ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from netpersona.adapters.sensors.recognise import Recognised
from netpersona.adapters.software import evidence
from netpersona.app import software
from netpersona.app.collector import no_collector
from netpersona.app.history_view import by_address
from netpersona.app.judging import Judging, Seen, Verdicts, seen_by
from netpersona.app.progress import Meter
from netpersona.app.readable import Readable
from netpersona.app.report import Intake
from netpersona.app.shard import Shard, processors
from netpersona.app.shards import Shards
from netpersona.app.spool import Slice, Spool
from netpersona.flow.account import SourceAccount
from netpersona.flow.table import FlowBatch, batch
from netpersona.flow.window import HOUR, window_of
from netpersona.pipeline import Fleet, Ground, exempted
from netpersona.ports import Checkpoint, History, Sensor, Store

ALONE = 400_000  # rows; more are judged by several processes, where there are processors for them
LATENESS = HOUR  # µs of event time for which a flow may come late
ASTRAY = "its time is years away from all other traffic: a clock was wrong"
LEARNED = "its window was learned by an earlier replay into this store"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one replay read and judged; the store holds the rest."""

    intake: Intake
    fleet: Fleet
    at: int | None  # µs: the end of the last window judged
    memory_beside: int = 0  # bytes: the sum of the peaks of the processes that judged beside this one


def replay(
    found: Recognised,
    fleet: Fleet,
    ground: Ground,
    store: Store,
    context: Mapping[str, bytes],
    meter: Meter,
    history: History | None = None,
    started: Sequence[Shard] = (),
) -> Replayed:
    """Read every sensor found to its end, judge what it saw, and write one checkpoint into the store.

    The history takes what it does not have yet.  `started` are processes that may help.  Interrupted at any point
    before the last, the store is as it was.  Raises SourceError and StoreError.
    """
    with Spool() as spool, Shards(processors() - 1, started) as shards:
        readable = Readable(found.given)
        accounts = _read(found.sensors, readable, spool, shards, store, meter)
        unread = [*((str(path), reason) for path, reason in found.unread), *readable.unread(accounts)]
        runs = software.joined(ground.software, software.heard(spool.banners, fleet))
        with no_collector():
            passed = _passed(spool, shards, fleet, replace(ground, software=runs), store, meter, history)
        intake = _intake(accounts, unread, spool, passed, fleet)
    store.commit(passed.checkpoint({**context, "software": evidence.to_bytes(runs)}))
    return Replayed(intake, passed.fleet, passed.judging.at, passed.memory_beside)


def _read(
    sensors: Sequence[Sensor], readable: Readable, spool: Spool, shards: Shards, store: Store, meter: Meter
) -> list[SourceAccount]:
    """Everything that the sensors have to say, into the spool, with the flows that a former run left open."""
    meter.stage("reading flows")
    spool.resume(store.pending())
    accounts: list[SourceAccount] = []
    for sensor in sensors:
        for part in readable.parts(sensor):
            spool.add(FlowBatch(_of_source(part.flows, sensor.path), part.transactions, banners=part.banners))
            meter.advance(part.flows.height)
            if spool.total > ALONE:
                shards.start()  # they are ready when everything is read
        accounts.extend(sensor.accounts())
    return accounts


def _of_source(flows: pl.DataFrame, path: str) -> pl.DataFrame:
    """The flows, each with a source: where the sensor names none, that is its path."""
    return flows.with_columns(pl.col("source").fill_null(path)) if flows["source"].null_count() else flows


@dataclass(slots=True)
class _Passed:
    """The spool's hours after they were judged."""

    fleet: Fleet
    judging: Judging
    pending: list[FlowBatch] = field(default_factory=list)
    flows: int = 0
    memory_beside: int = 0
    astray: int = 0  # rows left out for their clock
    pending_before: int = 0  # flows that an earlier replay left open
    learned_before: int = 0  # flows of windows that an earlier replay closed

    def checkpoint(self, context: Mapping[str, bytes]) -> Checkpoint:
        """The store's next step."""
        return Checkpoint(
            closed_until=self.judging.horizon,
            closed=self.judging.closed.outcome(),
            open=self.judging.open.outcome(),
            pending=_joined(self.pending),
            vms=[self.fleet.vms[vm] for vm in sorted(self.fleet.vms)],
            names=self.judging.names,
            context=context,
        )


def _passed(
    spool: Spool,
    shards: Shards,
    fleet: Fleet,
    ground: Ground,
    store: Store,
    meter: Meter,
    history: History | None,
) -> _Passed:
    """Every hour judged, by this process alone or, where there is much, by several."""
    astray = spool.discard_astray(store.closed_until())
    horizon = _horizon(spool.last, store.closed_until(), ground.window)
    since = store.closed_until() or 0
    states = {vm: exempted(state, since, ground) for vm, state in store.states().items()}
    judging = Judging(ground, horizon, Verdicts(states), names=store.names())
    done = _Passed(fleet, judging, astray=astray, pending_before=store.pending().flows.height)
    meter.stage("judging flows", spool.total)
    hours = _hours(spool, done, store.closed_until(), history, meter)
    if spool.total <= ALONE or not shards.start():
        for seen in hours:
            judging.judge(seen)
        return done
    done.judging = shards.judged(hours, judging)
    done.memory_beside = shards.memory
    return done


def _hours(spool: Spool, done: _Passed, before: int | None, history: History | None, meter: Meter) -> Iterator[Seen]:
    """What is new in each of the spool's hours, as the VMs see it; `done` takes account of it."""
    ground = done.judging.ground
    for part in spool.hours():
        flows, late = _after(part.flows, before, ground.window)
        transactions, _ = _after(part.transactions, before, ground.window)
        done.fleet = done.fleet.joined(flows)
        done.flows += flows.height
        done.learned_before += late
        done.pending.append(_open_part(flows, transactions, done.judging.horizon))
        yield seen_by(done.fleet, Slice(part.start, flows, transactions), ground)
        if history is not None:
            history.add(FlowBatch(part.flows, part.transactions), by_address(done.fleet, ground.window))
        meter.advance(part.flows.height)
    if history is not None and spool.last is not None:
        history.close(spool.last)


def _horizon(last: int | None, before: int | None, length: int) -> int | None:
    """Where the open windows begin: LATENESS before the last flow, and never earlier than they began before."""
    if last is None:
        return before
    horizon = window_of(last - LATENESS, length).start
    return horizon if before is None else max(before, horizon)


def _after(table: pl.DataFrame, before: int | None, length: int) -> tuple[pl.DataFrame, int]:
    """The rows of windows that are not closed yet, and how many were left out."""
    if before is None:
        return table, 0
    rest = table.filter(pl.col("start") - pl.col("start") % length >= before)
    return rest, table.height - rest.height


def _open_part(flows: pl.DataFrame, transactions: pl.DataFrame, horizon: int | None) -> FlowBatch:
    since = pl.lit(horizon) if horizon is not None else pl.col("start")
    return FlowBatch(flows.filter(pl.col("start") >= since), transactions.filter(pl.col("start") >= since))


def _joined(parts: Sequence[FlowBatch]) -> FlowBatch:
    if not parts:
        return batch()
    return FlowBatch(pl.concat([p.flows for p in parts]), pl.concat([p.transactions for p in parts]))


def _intake(
    accounts: Sequence[SourceAccount], unread: Sequence[tuple[str, str]], spool: Spool, passed: _Passed, fleet: Fleet
) -> Intake:
    skipped = {reason: count for reason, count in ((LEARNED, passed.learned_before), (ASTRAY, passed.astray)) if count}
    for account in accounts:
        for reason, count in account.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
    starts = [at for account in accounts for at in (account.first, account.last) if at is not None]
    sound = [
        at for at in starts if spool.first is not None and spool.last is not None and spool.first <= at <= spool.last
    ]
    first, last = (min(sound), max(sound)) if sound else (spool.first, spool.last)
    flows = passed.flows - passed.pending_before
    return Intake(accounts, flows, spool.repeated, skipped, first, last, fleet.inferred, unread)
