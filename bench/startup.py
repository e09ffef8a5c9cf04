"""How long `netpersona --help` takes, beside a Python that does nothing (at most 0.3 s)."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 11


def main() -> None:
    bare, ours = (statistics.median(timed(argv) for _ in range(RUNS)) for argv in (BARE, HELP))
    print(f"--help      {ours:.3f} s (at most 0.3); Python that does nothing {bare:.3f} s; ratio {ours / bare:.1f} x")


BARE = [sys.executable, "-c", "pass"]
HELP = [sys.executable, "-m", "netpersona", "--help"]


def timed(argv: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
