"""One bad site does not block a content network."""

from __future__ import annotations

import polars as pl

from netpersona.adapters.warning_lists import warning_lists
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import AllowEntry, AllowList, IndicatorSet
from netpersona.intel.shared_hosting import OTHERS, listed_answers
from netpersona.persona.domains import registered_domain

AT = 1_700_000_000_000_000
INTEL = IndicatorSet.merge([parse(b"evil.example\nbad.co.uk\n", FeedSettings("feed", confidence=0.9))])
OTHER_SITES = [("other", f"www.site{n}.com", "20.0.0.1") for n in range(OTHERS)]


def told(*answers, intel=INTEL, at=AT, below=1.0):
    table = pl.DataFrame(list(answers), {"vm": pl.String, "name": pl.String, "address": pl.String}, orient="row")
    return {
        (vm, name, address): shared
        for vm, name, address, _, shared in listed_answers(
            table, intel, at, warning_lists(None), registered_domain, below
        ).iter_rows()
    }


def test_a_listed_names_own_address_may_be_blocked():
    assert told(("web", "cdn.evil.example", "20.0.0.1"), ("web", "fine.example.com", "20.0.0.2")) == {
        ("web", "cdn.evil.example", "20.0.0.1"): None
    }


def test_the_edge_of_a_content_network_may_not_and_it_says_why():
    found = told(("web", "evil.example", "104.16.1.2"), ("web", "evil.example", "20.0.0.1"))
    assert "the edge of a content network" in found["web", "evil.example", "104.16.1.2"]
    assert "warning list cdn" in found["web", "evil.example", "104.16.1.2"]
    assert found["web", "evil.example", "20.0.0.1"] is None


def test_one_address_of_a_cloud_may():
    assert told(("web", "evil.example", "52.1.2.3")) == {("web", "evil.example", "52.1.2.3"): None}


def test_an_address_of_many_other_sites_may_not():
    found = told(("web", "evil.example", "20.0.0.1"), *OTHER_SITES)
    assert found == {
        (
            "web",
            "evil.example",
            "20.0.0.1",
        ): "4 other sites were answered with it, site0.com, site1.com, site2.com among them"
    }
    assert told(("web", "evil.example", "20.0.0.1"), *OTHER_SITES[1:]) == {("web", "evil.example", "20.0.0.1"): None}


def test_names_of_one_site_are_one():
    names = [("other", f"a{n}.one-site.com", "20.0.0.1") for n in range(20)]
    assert told(("web", "evil.example", "20.0.0.1"), *names) == {("web", "evil.example", "20.0.0.1"): None}


def test_a_vm_cannot_vouch_for_its_own_address():
    own = [("web", name, address) for _, name, address in OTHER_SITES]
    assert told(("web", "evil.example", "20.0.0.1"), *own) == {("web", "evil.example", "20.0.0.1"): None}


def test_what_is_allow_listed_is_not_asked_about():
    allowed = IndicatorSet(
        INTEL.table, AllowList((AllowEntry("20.0.0.0/24", AT, "x"), AllowEntry("bad.co.uk", None, "y")))
    )
    answers = [("web", "evil.example", "20.0.0.1"), ("web", "bad.co.uk", "20.0.1.1")]
    assert told(*answers, intel=allowed, at=AT - 1) == {}
    assert list(told(*answers, intel=allowed)) == [("web", "evil.example", "20.0.0.1")]


def test_only_names_that_are_bad_enough_count():
    assert told(("web", "evil.example", "20.0.0.1"), below=0.05) == {}
    assert told() == {}
