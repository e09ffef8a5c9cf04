"""Counts in words."""

from __future__ import annotations

import pytest

from netpersona.flow.words import counted


@pytest.mark.parametrize(
    ("count", "noun", "plural", "said"),
    [
        (0, "file", None, "0 files"),
        (1, "file", None, "1 file"),
        (2, "file", None, "2 files"),
        (1234, "flow", None, "1,234 flows"),
        (1, "entry", "entries", "1 entry"),
        (3, "entry", "entries", "3 entries"),
    ],
)
def test_one_is_singular_and_all_else_plural(count, noun, plural, said):
    assert counted(count, noun, plural) == said
