"""Which names and addresses the judge knows still: what was answered lately, and no more of one name than its bound."""

from netpersona.app.live.judge import ADDRESSES_KEPT, _bound


def test_what_was_answered_before_then_is_forgotten_names_and_addresses():
    names = {
        "old.example": {"192.0.2.1": 10},
        "pool.example": {"192.0.2.2": 10, "192.0.2.3": 60},
        "new.example": {"192.0.2.4": 60},
    }
    _bound(names, ["pool.example", "new.example"], 50)
    assert names == {"pool.example": {"192.0.2.3": 60}, "new.example": {"192.0.2.4": 60}}


def test_a_name_that_rotates_slowly_holds_no_more_than_was_answered_since_then():
    names: dict[str, dict[str, int]] = {}
    for at in range(1000):
        known = names.pop("pool.example", {})
        names["pool.example"] = {**known, f"192.0.2.{at}": at}
        _bound(names, ["pool.example"], at - 20)
    assert sorted(names["pool.example"].values()) == list(range(979, 1000))


def test_a_name_that_rotates_fast_is_known_by_its_latest_addresses():
    names = {"pool.example": {f"192.0.2.{at}": at for at in range(ADDRESSES_KEPT + 1)}}
    _bound(names, ["pool.example"], 0)
    assert min(names["pool.example"].values()) == ADDRESSES_KEPT + 1 - ADDRESSES_KEPT // 2


def test_a_name_that_was_asked_for_in_vain_stays_as_it_was_answered():
    names = {"gone.example": {"192.0.2.1": 10}, "new.example": {"192.0.2.2": 60}}
    _bound(names, ["new.example", "unknown.example"], 5)
    assert list(names) == ["gone.example", "new.example"]
