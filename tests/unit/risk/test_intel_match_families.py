"""Feeds that copy each other are one witness of a match."""

from __future__ import annotations

import pytest

from netpersona.intel.indicator import Indicator, IndicatorType
from netpersona.risk.detectors.intel_match import _combined


def _listing(feed: str, confidence: float, family: str = "") -> Indicator:
    return Indicator("192.0.2.1", IndicatorType.ADDRESS, None, None, confidence, None, None, feed, 1, family)


def test_a_family_counts_once_by_its_surest() -> None:
    copies = [_listing("a", 0.5, "one"), _listing("b", 0.6, "one")]
    assert _combined(copies) == pytest.approx(0.6)
    assert _combined([*copies, _listing("c", 0.5)]) == pytest.approx(0.8)
