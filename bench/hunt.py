"""Speed of a hunt through the stored flows, and its slope: 30 days of 100 M flows are the figure, some are measured.

    write   flows of whole days (3.33 M a day, 200 VMs; of 20 flows one goes to a peer that is met once) into a history
    hunt    1,000 indicators (700 addresses, 100 networks, 200 domains; a third of them were met) through 1, 2, 3 days
    plain   the same addresses looked for in the flows themselves, the obvious way: reading their two address columns

Run: .venv/bin/python bench/hunt.py [days] [flows a day] [share of flows to a peer met once]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from netpersona.adapters.history.parquet import ParquetHistory
from netpersona.flow.orient import oriented, owner_table
from netpersona.flow.table import FlowBatch, batch
from netpersona.flow.window import DAY, HOUR
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.hunt import Hunt, quarry

AT = 1_760_000_000_000_000 // DAY * DAY
VMS, PEERS, NAMES = 200, 300, 2_000  # peers of each VM
FIGURE = 30  # days
OWNERS = owner_table({f"10.0.{n // 250}.{n % 250 + 1}": f"vm-{n}" for n in range(VMS)})


def main() -> None:
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:2]))
    given, default = sys.argv[1:], ["3", "3333333", "0.05"]
    days, count, once = (float(text) for text in given + default[len(given) :])
    rng = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder:
        history = ParquetHistory(Path(folder))
        write(history, rng, int(days), int(count), once)
        hunted = indicators(rng)
        spent = [hunt(history, hunted, day + 1, int(count)) for day in range(int(days))]
        for name, measured in zip(("wall time", "CPU time"), zip(*spent, strict=True), strict=True):
            slope = (measured[-1] - measured[0]) / (days - 1) if days > 1 else measured[0]
            total = measured[0] + slope * (FIGURE - 1)
            print(f"{name}: {slope:.2f} s a day more; {FIGURE} days, {FIGURE * count / 1e6:.0f} M flows: {total:.1f} s")
        plain(history, hunted, int(days))
    print(f"load {os.getloadavg()[0]:.1f}")


def write(history: ParquetHistory, rng: np.random.Generator, days: int, count: int, once: float) -> None:
    spent = 0.0
    for day in range(days):
        for hour in range(24):
            rows = flows(rng, AT + day * DAY + hour * HOUR, count // 24, once)
            begun = time.process_time()
            history.add(rows, view)
            spent += time.process_time() - begun
        begun = time.process_time()
        history.close(AT + (day + 1) * DAY)
        spent += time.process_time() - begun
    extent = history.extent()
    rolled = sum(each.rows("talks").select(pl.len()).collect().item() for each in history.days())
    print(
        f"write {extent.flows:,} flows of {days} days in {spent:.1f} CPU s ({spent / extent.flows * 1e6:.1f} µs each,"
        f" {extent.octets / extent.flows:.0f} bytes); {rolled / days:,.0f} rows of roll-up a day"
    )


def hunt(history: ParquetHistory, hunted: pl.DataFrame, days: int, count: int) -> tuple[float, float]:
    """Seconds of wall time and of CPU time."""
    begun, cpu = time.perf_counter(), time.process_time()
    search = Hunt(quarry(hunted))
    for day in history.days(AT, AT + days * DAY):
        search.day(day)
    traces = search.traces()
    spent, worked = time.perf_counter() - begun, time.process_time() - cpu
    met = traces["quarry"].n_unique()
    print(
        f"hunt {hunted.height:,} indicators in {days} days, {days * count / 1e6:.1f} M flows: {spent:.2f} s,"
        f" {worked:.2f} CPU s; {met} were met, {traces.height:,} traces"
    )
    return spent, worked


def plain(history: ParquetHistory, hunted: pl.DataFrame, days: int) -> None:
    begun, cpu = time.perf_counter(), time.process_time()
    values = hunted.filter(pl.col("type") == "address")["value"].implode()
    ends = pl.col("originator").is_in(values) | pl.col("responder").is_in(values)
    found = history.flows(AT, AT + days * DAY).filter(ends).select(pl.len()).collect().item()
    print(
        f"plain look for the addresses alone in the flows of {days} days: {time.perf_counter() - begun:.2f} s,"
        f" {time.process_time() - cpu:.2f} CPU s; {found:,} flows"
    )


def view(rows: FlowBatch) -> FlowBatch:
    return FlowBatch(oriented(rows.flows, OWNERS), oriented(rows.transactions, OWNERS))


def flows(rng: np.random.Generator, at: int, count: int, once: float) -> FlowBatch:
    """An hour: flows of VMs with peers of their own, some with peers met once; a DNS question for each tenth."""
    vm, rank = rng.integers(0, VMS, count), rng.zipf(1.3, count) % PEERS
    regular = 0x0B000000 + vm * 65_536 + rank * 211
    peer = np.where(rng.random(count) < once, rng.integers(0x20000000, 0xDF000000, count), regular)
    start = np.sort(at + rng.integers(0, HOUR, count))
    port = rng.choice([443, 80, 53, 22, 8080], count, p=[0.6, 0.2, 0.1, 0.05, 0.05])
    table = pl.DataFrame(
        {
            "start": start,
            "duration": rng.integers(0, 10_000_000, count),
            "originator": texts(0x0A000001 + vm // 250 * 256 + vm % 250),
            "originator_port": rng.integers(1024, 65_535, count),
            "responder": texts(peer),
            "responder_port": port,
            "bytes_orig": rng.integers(100, 100_000, count),
            "bytes_resp": rng.integers(100, 1_000_000, count),
            "packets_orig": rng.integers(1, 100, count),
            "packets_resp": rng.integers(1, 100, count),
        }
    ).with_columns(
        transport=pl.lit("tcp"),
        state=pl.lit("SF"),
        source=pl.lit("conn.log"),
        server_name=pl.when(pl.col("responder_port") == 443).then(names(rank * 7 + vm)),
    )
    tenth = table[::10]
    questions = tenth.select(
        "start",
        "originator",
        responder=pl.lit("10.255.0.53"),
        responder_port=pl.lit(53),
        transport=pl.lit("udp"),
        kind=pl.lit("dns"),
        name=names((rank * 7 + vm)[::10]),
        answers=pl.concat_list("responder"),
        source=pl.lit("dns.log"),
    )
    return batch(table, questions)


def texts(numbers: npt.NDArray[np.int64]) -> pl.Series:
    number = pl.col("n")
    octets = [(number // 256**place % 256).cast(pl.String) for place in (3, 2, 1, 0)]
    return pl.DataFrame({"n": numbers.astype(np.int64)}).select(pl.concat_str(octets, separator=".")).to_series()


def names(numbers: npt.NDArray[np.int64]) -> pl.Series:
    return "www.site-" + pl.Series(numbers % NAMES).cast(pl.String) + ".example"


def indicators(rng: np.random.Generator) -> pl.DataFrame:
    """A third of them was met."""
    vm, rank = rng.integers(0, VMS, 233), rng.integers(1, PEERS, 233)
    met = 0x0B000000 + vm * 65_536 + rank * 211
    others = rng.integers(0x20000000, 0xDF000000, 467)
    addresses = texts(np.concatenate([met, others])).to_list()
    networks = [f"{text.rpartition('.')[0]}.0/24" for text in texts(rng.integers(0x20000000, 0xDF000000, 100))]
    domains = [f"site-{n * 30}.example" for n in range(200)]
    return parse("\n".join([*addresses, *networks, *domains]).encode(), FeedSettings("bench")).indicators


if __name__ == "__main__":
    main()
