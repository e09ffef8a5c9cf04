"""How the running controller's log looks: a line each on standard error, in the form that who reads it expects.

Under systemd a line begins with its priority, and the journal adds the time (sd-daemon(3)); elsewhere with the time.
What others wrote (names, answers of servers) cannot forge a line: what would steer a terminal is shown as its escape.
"""

from __future__ import annotations

import logging
import os
import sys
import time

from netpersona.app.output import harmless

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _Line(logging.Formatter):
    """One record, in one line; the trace of a fault in the lines after it."""

    def __init__(self, *, for_systemd: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime
        self._for_systemd = for_systemd

    def format(self, record: logging.LogRecord) -> str:
        """The record's text."""
        message = harmless(record.getMessage().replace("\n", "; "))
        lines = [message]
        if record.exc_info:
            lines += [harmless(line) for line in self.formatException(record.exc_info).splitlines()]
        if self._for_systemd:
            return "\n".join(f"<{_PRIORITY.get(record.levelno, 6)}>{line}" for line in lines)
        lines[0] = f"{self.formatTime(record, self.datefmt)} {record.levelname.lower():7} {message}"
        return "\n".join(lines)


def to_standard_error(level: str) -> None:
    """Write what `netpersona` logs from this level on (debug, info, warning, error) to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(for_systemd=_is_journal(os.environ.get("JOURNAL_STREAM", ""))))
    own = logging.getLogger("netpersona")
    own.handlers[:] = [handler]
    own.setLevel(level.upper())
    own.propagate = False


def _is_journal(stream: str) -> bool:
    """Whether standard error is the journal's stream, which systemd names by device and inode."""
    try:
        there = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return stream == f"{there.st_dev}:{there.st_ino}"
