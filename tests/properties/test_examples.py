"""A property is shown on the same examples, whatever ran before it in the same process."""

import importlib
import sys

from hypothesis import given, settings
from hypothesis import strategies as st


def examples():
    seen = []

    @given(st.integers(), st.text())
    @settings(max_examples=300)
    def see(number, word):
        seen.append((number, word))

    see()
    return seen


def test_the_examples_do_not_depend_on_what_else_was_imported(tmp_path, monkeypatch):
    before = examples()
    (tmp_path / "imported_meanwhile.py").write_text("NUMBER, WORD = 123_456_789, 'a word of ours'\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("imported_meanwhile")
    after = examples()
    del sys.modules["imported_meanwhile"]
    assert after == before
