"""Outside text in a finding's sentence."""

from __future__ import annotations

import pytest

from netpersona.risk.detectors.words import shown


@pytest.mark.parametrize("length", [0, 1, 79, 80])
def test_what_is_short_is_shown_whole(length):
    assert shown("a" * length) == "a" * length


@pytest.mark.parametrize("length", [81, 253, 10_000])
def test_what_is_long_keeps_its_two_ends(length):
    name = "first." + "x" * (length - 19) + ".evil.example"
    said = shown(name)
    assert len(said) == 80
    assert said.startswith("first.xx")
    assert said.endswith("xx.evil.example")
    assert "..." in said


def test_what_would_steer_a_terminal_is_shown_as_a_question_mark():
    assert shown("evil\x1b[31m.exämple\n") == "evil?[31m.ex?mple?"
