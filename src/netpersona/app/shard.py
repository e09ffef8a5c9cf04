"""A process that judges lots beside another one: as little as must be read before the cycle collector is off."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection

from netpersona.app.collector import no_collector


def main(connection: Connection) -> None:
    """Judge as the other process asks.  Ends at once: who takes a million objects apart is waited for."""
    with no_collector():
        from netpersona.app.shards import judge_works  # loads all of judging

        judge_works(connection)
        os._exit(0)
