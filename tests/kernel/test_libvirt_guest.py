"""A QEMU guest under libvirt is discovered, learned, blocked from a listed peer and released, its uptime unbroken."""

from __future__ import annotations

import subprocess

import pytest

from kernel.libvirt_host import in_namespaces, why_not

WHY_NOT = why_not()


@pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")
def test_a_running_guest_is_followed_blocked_and_released(tmp_path):
    def mounted():
        return subprocess.run(["findmnt", "-rno", "TARGET"], capture_output=True, text=True).stdout

    before = mounted()
    in_namespaces("kernel.libvirt_story", tmp_path, seconds=240)
    assert mounted() == before
    assert [path.name for path in tmp_path.iterdir()] == ["story"], "all that it wrote was in its own memory"
