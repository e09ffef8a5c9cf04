"""The process in which one feed is read: told by its input what to read, it tells by its output what came of it.

It has bounds of its own, in case that nobody is there to end it: memory (RLIMIT_DATA), time (an alarm), and a low
priority, as judging and enforcing come first.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

import msgspec

from netpersona.app.feed_config import feed_source
from netpersona.app.live.feed_reading import TO_PARSE, Job, read_job

_MEMORY = 3 << 30  # bytes
_NICE = 10


def main() -> None:
    """Read one feed."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    signal.alarm(int(feed_source(job.spec, None, "feeds").seconds + 2 * TO_PARSE))
    sys.stdout.buffer.write(msgspec.json.encode(read_job(job)))


if __name__ == "__main__":
    main()
