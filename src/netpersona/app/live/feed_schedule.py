"""When a feed is read next: each at its own moment, so that not all are read at once; sooner after a failure.

What seems like chance comes from the feed's name: the same feed is read at the same moments after every start.
"""

from __future__ import annotations

from hashlib import sha256

from netpersona.flow.window import DAY, MINUTE, SECOND

LOOK = SECOND  # µs between looks at what is watched
SPREAD = MINUTE  # µs after the start within which feeds are read that are overdue
WHOLE = 7 * DAY  # µs after which what is only added to is downloaded whole: servers do not tell what they deleted
_JITTER = 0.1  # of the interval, more or less
_FIRST_RETRY = MINUTE


def next_run(name: str, interval: int | None, at: int, failures: int = 0, later: int | None = None) -> int:
    """When it is read again (µs) that was read at `at`, with this many failures in a row.

    `interval` is in µs, None for what is watched: at each look, and less and less often, up to each minute, where it
    cannot be read; `later` is how many seconds the server asked to wait.
    """
    if interval is None:
        return at + min(LOOK << min(failures, 20), _FIRST_RETRY)
    wait = interval if not failures else min(interval, _FIRST_RETRY << min(failures - 1, 20))
    jittered = round(wait * (1 - _JITTER + 2 * _JITTER * share(name)))
    return at + max(jittered, (later or 0) * SECOND)


def first_run(name: str, interval: int | None, at: int, last: int | None) -> int:
    """When it is read first after a start at `at`; `last` is when its copy was fetched, None where it has none."""
    if interval is None or last is None or last > at:
        return at
    return max(next_run(name, interval, last), at + round(SPREAD * share(name)))


def share(name: str) -> float:
    """A number from 0 to 1 that the name stands for."""
    return int.from_bytes(sha256(name.encode()).digest()[:4]) / 2**32
