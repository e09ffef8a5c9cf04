from __future__ import annotations

import pytest

from netpersona.intel.held import reason_to_hold


@pytest.mark.parametrize(
    ("before", "after"), [(100, 50), (100, 1000), (1, 1), (1, 10), (2, 1), (0, 0), (0, 1000), (3, 2), (10**6, 10**6)]
)
def test_a_list_that_changes_as_lists_do_is_not_held(before, after):
    assert reason_to_hold(before, after) is None


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (100, 49, "it shrank from 100 to 49 entries, to under half"),
        (1, 0, "it shrank from 1 to 0 entries"),
        (10**6, 0, "to under half"),
        (100, 1001, "it grew from 100 to 1001 entries, more than tenfold"),
        (1, 11, "more than tenfold"),
        (0, 1001, "it grew from 0 to 1001 entries, out of nothing"),
    ],
)
def test_one_that_shrinks_to_under_half_or_grows_more_than_tenfold_is(before, after, why):
    assert why in reason_to_hold(before, after)
