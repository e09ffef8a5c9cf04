"""What importing a long feed costs, in a process of its own, beside reading the same bytes as lines with polars.

    plain      1 M lines, nine addresses to one /24; the file to what the gate admits
    mixed      the same with every tenth line a domain, every tenth a URL, every hundredth defanged or with a comment
    csv        1 M rows of a table with a header, four columns
    rules      rules of 40 addresses each

Run: .venv/bin/python bench/feeds.py [lines]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from ipaddress import ip_address
from pathlib import Path

import numpy as np

READ = """
import re, sys, time
from pathlib import Path
import polars as pl
from netpersona.adapters.feeds.file import FileFeed
from netpersona.intel.gate import refuse
path = Path(sys.argv[1])
def peak():  # MiB; what getrusage says is that of the process that started this one, if it was more
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10
base = peak()
begin, wall = time.process_time(), time.perf_counter()
if sys.argv[2] == "raw":
    count = pl.Series([path.read_text()]).str.split("\\n").explode().str.strip_chars().n_unique()
else:
    count = refuse(FileFeed(path).fetch()).indicators.height
spent, wall = time.process_time() - begin, time.perf_counter() - wall
print(spent, wall, peak(), base, count)
"""


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; seconds of CPU, and peak of the process in MiB"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, text in feeds(lines).items():
            path = Path(folder) / f"{name}.txt"
            path.write_bytes(text)
            raw, ours = measured(path, "raw"), measured(path, "feed")
            print(
                f"{name:8}{len(text) / 1e6:6.1f} MB  {ours[0]:6.2f} s (wall {ours[1]:.2f})  peak {ours[2]:4.0f} MiB "
                f"({ours[3]:.0f} before)  {int(ours[4]):,} indicators; {ours[0] / raw[0]:.1f} × a raw read of lines"
            )


def measured(path: Path, how: str) -> list[float]:
    """CPU seconds, wall seconds, peak and earlier memory, and a count: the fastest of three runs."""
    runs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", READ, str(path), how], capture_output=True, text=True, check=True)
        runs.append([float(part) for part in done.stdout.split()])
    return min(runs)


def feeds(lines: int) -> dict[str, bytes]:
    """The feeds by name, the same in each run."""
    numbers = np.random.default_rng(7).integers(0x0B000000, 0xDF000000, lines, dtype=np.uint32).tolist()
    addresses = [str(ip_address(number)) for number in numbers]
    plain = [
        f"{ip_address(n & ~255)}/24" if i % 10 == 0 else a
        for i, (n, a) in enumerate(zip(numbers, addresses, strict=True))
    ]
    mixed = [other(i, line) for i, line in enumerate(plain)]
    table = [f'"2026-09-13 13:43:27","{a}","443","Some, thing"' for a in addresses]
    rules = [
        f'alert ip [{",".join(addresses[i : i + 40])}] any -> $HOME_NET any (msg:"group"; sid:{i + 1}; rev:1;)'
        for i in range(0, lines, 40)
    ]
    written = {
        "plain": plain,
        "mixed": mixed,
        "csv": ['"first_seen_utc","dst_ip","dst_port","malware"', *table],
        "rules": rules,
    }
    return {name: "\n".join(rows).encode() for name, rows in written.items()}


def other(place: int, line: str) -> str:
    if place % 100 == 7:
        return line.replace(".", "[.]")
    if place % 100 == 17:
        return f"{line} # since May"
    if place % 10 == 3:
        return f"host{place}.example.org"
    return f"http://host{place}.example.org:8080/path?q={place}" if place % 10 == 5 else line


if __name__ == "__main__":
    main()
