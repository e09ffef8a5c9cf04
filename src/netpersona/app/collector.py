"""Python's cycle collector, and where it is not wanted."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collector() -> Iterator[None]:
    """Without Python's cycle collector: judging makes millions of tuples and no cycles, and it costs a third.

    It costs a tenth of importing, too.  What was made meanwhile it never looks at: it would walk over all that is kept
    when it is switched on again, and once more when the process ends.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.freeze()
            gc.enable()
