"""What a run costs: time by the wall and by the processors, and memory."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """When a run began, by the wall and by the processor."""

    wall: float
    cpu: float

    @classmethod
    def started(cls) -> Stopwatch:
        """A stopwatch that runs from now."""
        return cls(time.perf_counter(), time.process_time())

    def timing(self, beside: int = 0) -> dict[str, float | int]:
        """What the run has cost so far, in all its processes; `beside` is the sum of the other processes' peaks, bytes.

        The peak is the sum of all peaks: together the processes never held more.
        """
        others = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "wall_s": round(time.perf_counter() - self.wall, 3),
            "cpu_s": round(time.process_time() - self.cpu + others.ru_utime + others.ru_stime, 3),
            "peak_rss_bytes": peak_memory() + beside,
        }


def peak_memory() -> int:
    """The most memory that this process ever held, in bytes.

    The kernel's own figure for a process counts from before it became this program, so it is read from /proc if there.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
