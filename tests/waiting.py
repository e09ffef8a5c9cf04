"""Waiting for what happens beside the test: as long as it takes, and never longer than a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_EVERY = 0.02  # s


def until(true: Callable[[], Any], what: str, within: float = 60.0) -> float:
    """How many seconds it took until that was so; the test fails where it took more than `within`."""
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < within, f"it did not happen within {within:g} s that {what}"
        time.sleep(_EVERY)
    return time.monotonic() - begin
