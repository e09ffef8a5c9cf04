"""Quiet days stay quiet, though ordinary programs do odd things; attacks among them are found."""

import pytest

from everyday import ATTACKS, ORDINARY, alerts

PLAIN = [make for make in ORDINARY if make.__name__ not in {"file_sharing", "monitoring"}]


@pytest.mark.parametrize("traffic", ORDINARY, ids=lambda make: make.__name__)
def test_what_ordinary_programs_do_is_no_alert(traffic):
    assert alerts(traffic()) == set()


def test_all_of_it_together_is_no_alert():
    assert alerts([row for make in ORDINARY for row in make()]) == set()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda make: make.__name__)
def test_an_attack_among_it_is_found(attack):
    rows, kind, peer = attack()
    assert (kind, peer) in alerts([row for make in PLAIN for row in make()] + rows)
