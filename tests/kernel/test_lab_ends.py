"""A lab changes nothing of the host and leaves nothing behind, however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.lab_net import (
    WHY_NOT,
    Tap,
    both,
    lab,
    living,
    needs_lab,
    nothing_stays,
    opened,
    parent,
    processes,
)
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.guest import check as check_guest
from netpersona.app.lab.home import Home
from netpersona.app.lab.layout import CONTROL, NEIGHBOUR
from waiting import until


def why_no_guest() -> str | None:
    """Why no QEMU guest can be started here; None: one can."""
    try:
        check_guest(Path(os.environ.get("NETPERSONA_LAB_KERNEL", "/")))
    except LabError as error:
        return str(error)
    return None


@needs_lab
@pytest.mark.skipif(why_no_guest() is not None, reason=why_no_guest() or "")
def test_a_guest_browses_attacks_and_ends_with_the_lab() -> None:
    with nothing_stays("test-guest", "--vm", "desktop-2") as home:
        assert lab("run", "--name", home.name, "desktop-2", "--", "hostname") == "desktop-2\n"
        tap = Tap(home, NEIGHBOUR.tap)
        lab("attack", "callback", "--name", home.name, "--vm", "desktop-2", "--count", "2", "--every", "0")
        assert {f.peer for f in opened(tap.frames(), NEIGHBOUR) if f.port == 8443} == both(CONTROL)
        assert "has no Python" in lab("attack", "spoofing", "--name", home.name, "--vm", "desktop-2", code=2)
        until(
            lambda: {f.source for f in opened(tap.frames(), NEIGHBOUR) if f.port == 80} == both(NEIGHBOUR), "browsing"
        )
        before = float(lab("run", "--name", home.name, "desktop-2", "--", "cat", "/proc/uptime").split()[0])
        assert before > 1, "its kernel is its own, and young"
        os.kill(home.supervisor(), signal.SIGKILL)


@needs_lab
def test_down_leaves_nothing() -> None:
    with nothing_stays("test-down") as home:
        assert "is running" in lab("up", "--detach", "--name", home.name, code=1)
        lab("down", "--name", home.name)


@needs_lab
@pytest.mark.parametrize("who", ["keeper", "supervisor"])
def test_a_killed_lab_leaves_nothing(who: str) -> None:
    with nothing_stays(f"test-{who}") as home:
        inside = subprocess.Popen(
            [sys.executable, "-m", "netpersona", "lab", "run", "--name", home.name, "hypervisor", "--", "sleep", "600"]
        )
        supervisor = home.state().supervisor
        os.kill(supervisor if who == "supervisor" else parent(supervisor), signal.SIGKILL)
        assert inside.wait(timeout=300) != 0


@needs_lab
def test_the_next_lab_sweeps_what_was_left_where_even_the_sweeper_was_killed() -> None:
    home = Home("test-all")
    lab("up", "--detach", "--name", home.name)
    pids = processes(home)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not living(pids), "its processes ended")
    (home.path / "left").touch()
    assert "was left" in lab("status", "--name", home.name)
    lab("up", "--detach", "--name", home.name)
    assert not (home.path / "left").exists()
    lab("down", "--name", home.name)
    assert not home.path.exists()


@needs_lab
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_in_the_foreground_the_lab_ends_with_its_command(sign: signal.Signals) -> None:
    home = Home("test-foreground")
    command = subprocess.Popen(
        [sys.executable, "-m", "netpersona", "lab", "up", "--name", home.name], stdout=subprocess.DEVNULL
    )
    until((home.path / "state.json").exists, "it is up")
    pids = processes(home)
    command.send_signal(sign)
    assert command.wait(timeout=300) == (0 if sign != signal.SIGKILL else -signal.SIGKILL)
    until(lambda: not living(pids) and not home.path.exists(), "nothing is left")


@needs_lab
def test_a_folder_that_others_could_have_laid_out_is_refused() -> None:
    home = Home("test-squat")
    home.path.mkdir(mode=0o777)
    home.path.chmod(0o777)
    try:
        assert "is not a folder of yours alone" in lab("up", "--detach", "--name", home.name, code=1)
    finally:
        home.path.rmdir()


@pytest.mark.skipif(os.geteuid() == 0 and WHY_NOT is not None, reason="root without its rights")
def test_without_root_it_says_what_to_do() -> None:
    words = [sys.executable, "-m", "netpersona", "lab", "up"]
    if os.geteuid() == 0:
        words = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", *words]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the lab needs root" in done.stderr
    assert "sudo" in done.stderr
