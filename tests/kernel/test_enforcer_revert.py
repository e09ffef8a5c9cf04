"""An armed revert fires by itself, is disarmed by a word, and cannot be lost with its maker."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.private_net import inside, namespaces, needs_kernel, own
from kernel.two_vms import ruleset
from netpersona.adapters.enforcers.nftables import Nftables, revert, wire
from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.errors import EnforcerError
from waiting import until

pytestmark = needs_kernel

SPACE = own("revert")
DENY = "{name: r, direction: both, action: deny}"


@pytest.fixture
def enforcer():
    with namespaces(SPACE), inside(SPACE):
        made = Nftables()
        made.apply(ruleset())
        yield made
        made.close()


def denies() -> bool:
    listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return "p/r@1" in listed


def test_it_fires(enforcer, tmp_path):
    path = tmp_path / "revert.sock"
    revert.arm(enforcer, ruleset(), 5.0, path)
    enforcer.apply(ruleset(DENY))
    assert denies()
    assert revert.armed(path)
    until(lambda: not denies(), "the earlier rules are back")
    until(lambda: not revert.armed(path), "it is over")
    assert not path.exists()
    assert not revert.confirm(path)
    assert enforcer.verify()  # told, since nobody told this enforcer
    enforcer.apply(ruleset())
    assert enforcer.verify(whole=True) == ()


def test_confirmed_it_never_fires(enforcer, tmp_path):
    path = tmp_path / "revert.sock"
    pid = revert.arm(enforcer, ruleset(), 60.0, path)
    enforcer.apply(ruleset(DENY))
    assert revert.confirm(path)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert denies()
    assert enforcer.verify() == ()


def test_it_fires_when_its_maker_is_killed(enforcer, tmp_path):
    path = tmp_path / "revert.sock"
    program = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from kernel.two_vms import ruleset
from netpersona.adapters.enforcers.nftables import Nftables, revert
made = Nftables()
made.apply(ruleset())
revert.arm(made, ruleset(), 10.0, Path({str(path)!r}))
made.apply(ruleset({DENY!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert denies()
    assert revert.armed(path)
    until(lambda: not denies(), "the earlier rules are back")


def test_only_one_is_armed(enforcer, tmp_path):
    path = tmp_path / "revert.sock"
    revert.arm(enforcer, ruleset(), 60.0, path)
    with pytest.raises(EnforcerError, match="armed already"):
        revert.arm(enforcer, ruleset(), 60.0, path)
    assert revert.confirm(path)


def test_what_the_kernel_would_refuse_is_not_armed(enforcer, tmp_path, monkeypatch):
    path = tmp_path / "revert.sock"
    unknown = wire.message(wire.DEL_CHAIN, "inet", a.text(1, "netpersona") + a.text(3, "none"))
    monkeypatch.setattr(Nftables, "batch", lambda *_: [unknown])
    with pytest.raises(EnforcerError, match="refused"):
        revert.arm(enforcer, ruleset(), 60.0, path)
    assert not path.exists()
    assert not revert.armed(path)
