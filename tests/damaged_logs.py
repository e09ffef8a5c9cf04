"""What a sensor owes for a damaged file: well-formed flows and an account of the rest, or the refusal of the file."""

from __future__ import annotations

from collections import Counter

from netpersona.errors import SourceError
from netpersona.flow.table import FLOW_SCHEMA


def accounted_or_refused(sensor) -> None:
    """What was read has the columns of flows and is counted, like all that was skipped; or SourceError names the file."""
    batches, refusal = [], None
    try:
        batches += sensor.batches()
    except SourceError as error:
        refusal = str(error)
    assert refusal is None or refusal.startswith(sensor.path)
    assert all(batch.flows.schema == FLOW_SCHEMA for batch in batches)
    if refusal is None:
        (account,) = sensor.accounts()
        assert sum(batch.flows.height for batch in batches) == account.flows
        assert sum((Counter(batch.skipped) for batch in batches), Counter()) == Counter(account.skipped)
