"""Products and versions, out of banners."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpersona.intel.affected import AFFECTED
from netpersona.intel.software import LONGEST, Software, before, named_in, printable


@pytest.mark.parametrize(
    ("banner", "products"),
    [
        ("Apache/2.4.10 (Debian)", [("apache", "2.4.10")]),
        ("Apache/2.4.29 (Unix) PHP/7.2.3", [("apache", "2.4.29"), ("php", "7.2.3")]),
        (
            "Apache/2.4.2 (Win32) OpenSSL/1.0.1c PHP/5.4.4",
            [("apache", "2.4.2"), ("openssl", "1.0.1c"), ("php", "5.4.4")],
        ),
        ("SSH-2.0-OpenSSH_7.9p1 Raspbian-10+deb10u1", [("openssh", "7.9p1")]),
        ("OpenSSH_6.7p1 Debian-5+deb8u4", [("openssh", "6.7p1")]),
        ("Microsoft-IIS/7.5", [("microsoft-iis", "7.5")]),
        ("nginx", [("nginx", None)]),
        ("SSH-2.0-Erlang/5.1.4", [("erlang", "5.1.4")]),
        ("PHP/5.2.0-8+etch16", [("php", "5.2.0")]),
        ("", []),
        ("() { _; } >_[$($())] { echo Content-Type: text/plain ; }", []),
    ],
)
def test_a_banner_names_its_products(banner: str, products: list[tuple[str, str | None]]) -> None:
    assert named_in(banner) == products


@pytest.mark.parametrize(
    ("one", "other"),
    [("2.4", "2.4.1"), ("2.4.9", "2.4.10"), ("1.0.1", "1.0.1f"), ("1.0.1f", "1.0.1g"), ("1.0.1g", "1.0.2")],
)
def test_versions_stand_in_their_order(one: str, other: str) -> None:
    assert before(one, other)
    assert not before(other, one)


@given(st.text(max_size=20), st.text(max_size=20))
def test_the_order_is_one(one: str, other: str) -> None:
    assert not (before(one, other) and before(other, one))
    assert not before(one, one)


@given(st.text())
def test_a_banner_from_outside_stays_short_and_printable(text: str) -> None:
    assert len(printable(text)) <= LONGEST
    assert printable(text).isprintable()
    for product, _ in named_in(text):
        assert product == product.strip().lower()


def test_what_a_distribution_built_is_told_apart() -> None:
    assert Software("apache", "2.4.10", said="Apache/2.4.10 (Debian)").packaged
    assert Software("php", "5.2.0", said="PHP/5.2.0-8+etch16").packaged
    assert Software("openssh", "5.3", said="OpenSSH_5.3 el6.centos").packaged
    assert not Software("apache", "2.4.49", said="Apache/2.4.49 (Unix)").packaged


def test_every_range_of_versions_holds_something() -> None:
    for ranges in (ranges for cves in AFFECTED.values() for ranges in cves.values()):
        for each in ranges:
            assert each.first is None or before(each.first, each.below)
            assert not each.holds(each.below)
