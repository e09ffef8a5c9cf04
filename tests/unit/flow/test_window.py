import pytest

from netpersona.flow.window import HOUR, MINUTE, WINDOW, Window, window_of


@pytest.mark.parametrize(
    ("at", "start"),
    [(0, 0), (WINDOW - 1, 0), (WINDOW, WINDOW), (WINDOW + 1, WINDOW), (-1, -WINDOW), (-WINDOW, -WINDOW)],
)
def test_a_window_holds_its_start_and_not_its_end(at, start):
    assert window_of(at) == Window(start, start + WINDOW)


def test_windows_of_any_length_are_aligned():
    assert window_of(HOUR + 7 * MINUTE, 10 * MINUTE) == Window(HOUR, HOUR + 10 * MINUTE)
