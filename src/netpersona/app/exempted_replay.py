"""What of the risk does not count in a replay: by its allow-lists, and by what people said into its store before."""

from __future__ import annotations

from netpersona.app import feed_precision
from netpersona.app.exempted import of_store, present
from netpersona.errors import StoreError
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.precision import PrecisionLedger
from netpersona.ports import Store
from netpersona.risk.exemptions import FEED, Exemptions


def of_replay(store: Store, everything: IndicatorSet, window: int) -> Exemptions:
    """The exemptions for a replay into this store, by all that its feeds and allow-lists say.

    An allow-entry that is new counts from where the store stands: what was known before stays as it was.  Of a replay
    no feed is log-only; a controller's store says of itself which are.
    """
    at = store.closed_until()
    if at is None:
        return Exemptions().followed(present(everything.allow, PrecisionLedger(), 0, window), 0)
    try:
        precision = feed_precision.of_store(store, everything, at)
    except ValueError as error:
        raise StoreError(f"{error}; a replay into a new store makes one again") from error
    those = present(everything.allow, precision, at, window)
    if store.context(feed_precision.CONTEXT) is None:
        those = [each for each in those if each.kind != FEED]
    return of_store(store).followed(those, at)
