"""`netpersona demo --live`: a lab, the controller on it, an attack; the story from callback to rule to recovery."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from netpersona.app.answers.ask import Traffic, Wanted
from netpersona.app.client import Controller, UnreachedError
from netpersona.app.lab import enter, layout
from netpersona.app.lab.home import Home
from netpersona.app.lab.keeper import check_rights, end, keep_detached
from netpersona.app.lab.machine import python
from netpersona.app.lab.supervisor import Wish
from netpersona.errors import NetpersonaError
from netpersona.flow.words import counted

NAME = "demo"
VICTIM, BYSTANDER = layout.DESKTOP.name, layout.WEB.name
SITE = layout.SITES["site-1.example"].v4
_LEARNING = 8.0  # s of ordinary traffic before the attack
_PATIENCE = 60.0  # s for anything that must happen
_LISTED, _RISKY = "no-low-reputation", "nothing-out-when-risky"


def tell_live() -> None:
    """Tell the whole story on the terminal; nothing is left of the lab when it is over."""
    check_rights()
    click.echo("Building a lab of network namespaces: a hypervisor with four machines, and an outside.")
    keep_detached(Wish(NAME))
    try:
        home = Home(NAME)
        with controlled(home) as controller:
            _learn(controller)
            _call_back(home, controller)
            _scan(home, controller)
            _explain(controller)
            _prove(home)
            _recover(home, controller)
    finally:
        end(NAME)
    click.echo("\nThe lab is gone, and with it everything it made.  For a longer look: netpersona lab up --detach")


@contextmanager
def controlled(home: Home) -> Iterator[Controller]:
    """`netpersona up` in the hypervisor, and a way to talk to it."""
    socket, log = home.path / "api.sock", home.path / "log" / "netpersona.log"
    words = python("netpersona", "up", "--config", str(home.path / "netpersona.yaml"), "--socket", str(socket))
    with log.open("wb") as said:
        process = enter.spawn(home, layout.HYPERVISOR, words, stdout=said, stderr=said)
        try:
            controller = Controller(socket)
            _until(lambda: _answers(controller, process, log), "the controller is up")
            click.echo("netpersona watches the machines' taps, and its rules are in the hypervisor's kernel.")
            yield controller
        except UnreachedError as error:
            raise _ended(log) if process.poll() is not None else error from None
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def _answers(controller: Controller, process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        raise _ended(log)
    try:
        return bool(controller.health()["well"])
    except NetpersonaError:
        return False


def _ended(log: Path) -> NetpersonaError:
    return NetpersonaError(f"the controller ended: {log.read_text(errors='replace')[-500:]}")


def _learn(controller: Controller) -> None:
    time.sleep(_LEARNING)
    _heading("Who is there")
    for persona in controller.personas():
        flows = persona["completeness"]["flows"]
        click.echo(f"  {persona['vm']:<11} risk {persona['risk_score']:.2f}, {flows} flows learned so far")


def _call_back(home: Home, controller: Controller) -> None:
    _heading(f"{VICTIM} calls a peer that a feed lists")
    _attacked(home, "callback").wait(_PATIENCE)
    _until(lambda: _met(controller).get(_LISTED, 0) > 0, "the kernel stops the calls")
    click.echo(
        f"  the kernel stopped it from its first packet on: {counted(_met(controller)[_LISTED], 'packet')} so far"
    )
    _say_why(controller, f"{layout.CONTROL.v4}:8443")


def _scan(home: Home, controller: Controller) -> None:
    _heading(f"{VICTIM} scans its neighbours and hosts outside, which nobody lists")
    begun = time.monotonic()
    attack = _attacked(home, "scan")
    try:
        _until(lambda: _cut_off(controller), f"nothing goes out of {VICTIM}")
        click.echo(
            f"  {time.monotonic() - begun:.1f} s after the attack began, the kernel lets nothing out of {VICTIM}:"
        )
        for finding in controller.findings(Wanted(vm=VICTIM)):
            click.echo(f"  - {finding['why']}")
    finally:
        attack.kill()
        attack.wait()


def _attacked(home: Home, name: str) -> subprocess.Popen[bytes]:
    words = python("netpersona.app.lab.attacks", name, "--vm", VICTIM, "--family", "both")
    return enter.spawn(home, VICTIM, words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _say_why(controller: Controller, peer: str) -> None:
    told = controller.why(Traffic(vm=VICTIM, peer=peer), None)
    click.echo(f"  to {peer}: {told['verdict']}, because {told['why']}")


def _met(controller: Controller) -> dict[str, int]:
    """How many packets of the victim each rule met."""
    counters = controller.firewall(nft=False)["counters"]
    return {each["rule"]: each["packets"] for each in counters if each["vm"] == VICTIM}


def _cut_off(controller: Controller) -> bool:
    return any(rule["rule"] == _RISKY for rule in _rules(controller))


def _rules(controller: Controller) -> list[Any]:
    """The rules in force for the victim."""
    machines = controller.firewall(nft=False)["vms"]
    return [rule for vm in machines if vm["vm"] == VICTIM for rule in vm["rules"]]


def _explain(controller: Controller) -> None:
    _heading("The rules in the kernel, and why")
    met = _met(controller)
    for rule in _rules(controller):
        click.echo(f"  {rule['policy']}/{rule['rule']}@{rule['version']}: {rule['direction']} {rule['action']}")
        click.echo(f"    {rule['why']}; {counted(met.get(rule['rule'], 0), 'packet')} stopped")
    _say_why(controller, f"{SITE}:80")


def _prove(home: Home) -> None:
    _heading("What the machines see")
    for machine, expected in ((VICTIM, False), (BYSTANDER, True)):
        reached = _reaches(home, machine)
        click.echo(f"  {machine} {'reaches' if reached else 'cannot reach'} {SITE}")
        if reached is not expected:
            raise NetpersonaError(f"{machine} should {'' if expected else 'not '}reach {SITE}")


def _reaches(home: Home, machine: str) -> bool:
    code = f"import socket; socket.create_connection(({SITE!r}, 80), 3).close()"
    return enter.spawn(home, machine, [sys.executable, "-c", code], stderr=subprocess.DEVNULL).wait(_PATIENCE) == 0


def _recover(home: Home, controller: Controller) -> None:
    _heading("Recovery")
    controller.edit(VICTIM, "acquit")
    begun = time.monotonic()
    _until(lambda: not _cut_off(controller), f"{VICTIM} is let out again")
    took = time.monotonic() - begun
    click.echo(f"  an operator found the machine clean and acquitted it: {took:.1f} s later the rule is gone")
    if not _reaches(home, VICTIM):
        raise NetpersonaError(f"{VICTIM} should reach {SITE} again")
    click.echo(f"  {VICTIM} reaches {SITE} again; no machine was restarted")


def _heading(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise NetpersonaError(f"it did not happen within {_PATIENCE:.0f} s that {what}")
        time.sleep(0.1)
