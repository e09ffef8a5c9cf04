"""What `make run` tells as root: callback, rule in the kernel, recovery; and nothing of it is left."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the lab makes network namespaces: needs root")


@needs_root
def test_the_story_is_told_to_its_end_and_nothing_is_left():
    words = [sys.executable, "-m", "netpersona", "demo", "--live"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stdout + told.stderr
    order = [
        "Who is there",
        "the kernel stopped it from its first packet on",
        "the kernel lets nothing out of desktop-1",
        "persona.risk_score > 0.7 holds",
        "desktop-1 cannot reach",
        "web-1 reaches",
        "later the rule is gone",
        "no machine was restarted",
    ]
    places = [told.stdout.index(sentence) for sentence in order]
    assert places == sorted(places)
    assert re.search(r"  - The VM (tried|called|reached) ", told.stdout), told.stdout
    assert not Path("/tmp/np-lab-demo").exists()
