"""Replay of a large Zeek log, from file to report, beside polars scanning and grouping the same file.

    python bench/replay.py [--rows 1000000] [--flows FILE]

Both are whole processes on the same processors, in turn; the ratio is of medians.  FILE is any Zeek conn log; without
one a day of 220 VMs is generated: the sample's day, moved, jittered and re-addressed for each VM.  Target: at least
150,000 flows a second on two cores, and at most 6 x the reference; 10,000,000 rows under 1.5 GiB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from netpersona.app.sample import write_sample

RUNS = 3
REFERENCE = """
import sys
import polars as pl
lines = open(sys.argv[1], encoding="utf-8")
names = next(line for line in lines if line.startswith("#fields")).split()[1:]
layout = {"separator": "\\t", "comment_prefix": "#", "has_header": False, "new_columns": names, "null_values": "-"}
table = pl.scan_csv(sys.argv[1], **layout)
keys = ["id.orig_h", "id.resp_h", "id.resp_p", "proto"]
grouped = table.group_by(keys).agg(pl.len(), pl.col("orig_pkts").sum(), pl.col("resp_pkts").sum()).collect()
print(grouped.height)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--flows", type=Path)
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="netpersona-bench-") as folder:
        flows = options.flows or generated(Path(folder), options.rows)
        out = Path(folder) / "report.json"
        replay = [sys.executable, "-m", "netpersona", "replay", str(flows), "--report", str(out), "-o", "none"]
        times: dict[str, list[float]] = {"replay": [], "reference": []}
        for _ in range(options.runs):
            times["reference"].append(timed([sys.executable, "-c", REFERENCE, str(flows)]))
            times["replay"].append(timed(replay))
        report = json.loads(out.read_text())
    spent, least = (statistics.median(times[name]) for name in ("replay", "reference"))
    count, memory = report["input"]["flows"], report["timing"]["peak_rss_bytes"] / 2**30
    print(
        f"replay      {count:,} flows of {len(report['personas'])} VMs in {spent:.2f} s: {count / spent:,.0f} flows/s"
    )
    print(f"reference   polars scan and group by: {least:.2f} s")
    print(f"ratio       {spent / least:.2f} x (at most 6)")
    print(f"processors  {report['timing']['cpu_s']:.1f} s of CPU, all processes together")
    print(f"memory      {memory:.2f} GiB peak, all processes together (at most 1.5 for 10,000,000 rows)")


def timed(argv: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def generated(folder: Path, rows: int) -> Path:
    """A conn log of `rows` flows: the sample's day for as many VMs as it takes, each at its own hour."""
    log = write_sample(folder / "sample").logs / "conn.log"
    text = log.read_text()
    head = [line for line in text.splitlines() if line.startswith("#")]
    names = head[-2].split("\t")[1:]
    day = pl.read_csv(
        text.encode(), separator="\t", comment_prefix="#", has_header=False, new_columns=names, infer_schema=False
    )
    copies = []
    for copy in range(-(-rows // day.height)):
        moved = pl.col("ts").cast(pl.Float64)
        own = f"10.{78 + copy // 250}.{copy % 250}."
        copies.append(
            day.with_columns(
                ts=(1_767_571_200 + (moved - 1_767_571_200 + copy * 397.0) % 86_400).round(6).cast(pl.String),
                uid=pl.format("C{}x{}", pl.lit(copy), pl.col("uid")),
                **{end: pl.col(end).str.replace("^10\\.77\\.0\\.", own) for end in ("id.orig_h", "id.resp_h")},
            )
        )
    whole = pl.concat(copies).head(rows).sort("ts")
    path = folder / "conn.log"
    with path.open("wb") as out:
        out.write(("\n".join(head) + "\n").encode())
        whole.write_csv(out, separator="\t", include_header=False)
    return path


if __name__ == "__main__":
    main()
