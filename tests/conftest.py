"""How the tests run: properties on the same examples every time, tests of the kernel one after the other."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("netpersona", deadline=None, derandomize=True)
settings.load_profile("netpersona")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In one process, whatever the others do: their namespaces have names, and some look at the clock."""
    for item in items:
        if "kernel" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("kernel"))
