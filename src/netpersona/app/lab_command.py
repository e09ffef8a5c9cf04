"""`netpersona lab`: machines made of network namespaces, ordinary traffic between them, and attacks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from netpersona.app.group import Commands
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.home import Home, State, every
from netpersona.app.lab.layout import HYPERVISOR, MACHINES, VMS, Machine

_named = click.option("--name", default="default", show_default=True, metavar="NAME", help="Which lab, if several.")


@click.group(cls=Commands)
def lab() -> None:
    """Machines of network namespaces, with traffic and attacks, to see netpersona at work.

    Everything is in namespaces of the lab's own: the host's interfaces, routes, firewall and files stay as they are,
    and nothing is left when it ends, however it ends.  Needs root.
    """


@lab.command()
@_named
@click.option("--detach", is_flag=True, help="Come back when the lab is up; 'netpersona lab down' ends it.")
@click.option("--bridged", is_flag=True, help="Put the taps into one bridge; else each is routed by itself.")
@click.option("--vm", "guest", type=click.Choice(["desktop-1", "desktop-2"]), help="Make this VM a QEMU guest.")
@click.option(
    "--kernel",
    default=Path("/"),
    envvar="NETPERSONA_LAB_KERNEL",
    type=click.Path(path_type=Path),
    help="Folder with a guest's boot/ and lib/modules/.",
)
@click.option("--seed", default=7, show_default=True, help="Who fetches what in which order follows from it.")
@click.option("--pace", default=1.0, show_default=True, help="2 halves every pause of the ordinary traffic.")
@click.option("--own-programs", is_flag=True, help="Use no curl, dnsmasq, nginx, iperf3; the same on every host.")
def up(
    name: str,
    detach: bool,
    bridged: bool,
    guest: str | None,
    kernel: Path,
    seed: int,
    pace: float,
    own_programs: bool,
) -> None:
    """Build the lab and start its traffic; stay until Ctrl-C, or --detach."""
    from netpersona.app.lab.cast import missing
    from netpersona.app.lab.keeper import check_rights, keep, keep_detached
    from netpersona.app.lab.supervisor import Wish

    if not 0.01 <= pace <= 100:
        raise click.BadParameter(f"{pace:g} is not between 0.01 and 100", param_hint="--pace")
    check_rights()
    if guest is not None:
        from netpersona.app.lab.guest import check

        check(kernel)
    for sentence in () if own_programs else missing():
        click.echo(sentence, err=True)
    wish = Wish(name, bridged, seed, pace, own_programs, guest, kernel.absolute())
    if detach:
        _introduce(keep_detached(wish))
    else:
        keep(wish, _introduce_in_the_foreground)
        click.echo("the lab is over; nothing of it is left")


@lab.command()
@click.option("--name", metavar="NAME", help="This lab only; else all.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="What to print.")
def status(name: str | None, output: str) -> None:
    """Tell which labs run, with what on which machine."""
    homes = [Home(name)] if name is not None else every()
    running, passing = _running(homes)
    if output == "json":
        click.echo(json.dumps([_facts(home, state) for home, state in running], indent=1, sort_keys=True))
        return
    for home, state in running:
        _tell_status(home, state)
    for said in passing:
        click.echo(said)
    for home in homes:
        if home.foreign():
            click.echo(f"{home.name}: {home.path} is another user's; ask as that user, as with sudo")
        elif home.path.exists() and not home.alive():
            click.echo(f"{home.name}: over; {home.path} was left, 'netpersona lab down --name {home.name}' removes it")
    if not running and not passing and not any(home.foreign() for home in homes):
        click.echo("no lab is running; begin one: netpersona lab up --detach")


def _running(homes: list[Home]) -> tuple[list[tuple[Home, State]], list[str]]:
    """The labs that run, and what there is to say of others: one that begins or ends now hides none."""
    running, passing = [], []
    for home in homes:
        try:
            if home.alive():
                running.append((home, home.state()))
        except LabError as error:
            passing.append(str(error))
    return running, passing


@lab.command()
@_named
@click.option("--all", "all_", is_flag=True, help="Every lab.")
def down(name: str, all_: bool) -> None:
    """End the lab: its processes, interfaces, rules and files are gone."""
    from netpersona.app.lab.keeper import check_rights, end

    check_rights()
    homes = every() if all_ else [Home(name)]
    for home in homes:
        click.echo(f"{home.name} is down" if end(home.name) else f"no lab named {home.name} is running")
    if not homes:
        click.echo("no lab is running")


@lab.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_named
@click.argument("machine", type=click.Choice(MACHINES), metavar="MACHINE")
@click.argument("words", nargs=-1, required=True, metavar="PROGRAM [ARGUMENT]...")
def run(name: str, machine: str, words: tuple[str, ...]) -> None:
    """Run a program on a machine, with this terminal.

    As in: netpersona lab run desktop-1 -- curl site-1.example

    The machines: hypervisor, where the taps are; web-1, database-1, desktop-1, desktop-2; resolver, repository,
    analyser, admin; outside.
    """
    from netpersona.app.lab import enter
    from netpersona.app.lab.keeper import check_rights

    check_rights()
    program = words[1:] if words[0] == "--" else words
    if not program:
        raise click.UsageError("name a program to run")
    home = Home(name)
    if home.state().guest == machine:
        from netpersona.app.lab import guest

        code, said = guest.run(home.path, program)
        click.echo(said, nl=False)
        sys.exit(code)
    sys.exit(enter.run(home, machine, program))


@lab.command(context_settings={"show_default": True})
@_named
@click.argument("attack", required=False, metavar="[ATTACK]")
@click.option("--list", "listing", is_flag=True, help="Tell which attacks there are.")
@click.option("--vm", default="desktop-1", help="Who attacks.", type=click.Choice([vm.name for vm in VMS]))
@click.option("--count", type=click.IntRange(min=1), help="How many; each attack has its own default, and a bound.")
@click.option("--every", "pause", type=click.FloatRange(0.0, 3_600.0), help="Seconds between two.")
@click.option("--family", type=click.Choice(["4", "6", "both"]), default="both", help="IPv4, IPv6, or by turns.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="What to print.")
def attack(
    name: str,
    attack: str | None,
    listing: bool,
    vm: str,
    count: int | None,
    pause: float | None,
    family: str,
    output: str,
) -> None:
    """Attack from one of the VMs, with real packets, and tell what came of it."""
    from netpersona.app.lab.attacks.catalogue import ATTACKS
    from netpersona.app.lab.keeper import check_rights

    if listing:
        _list_attacks()
        return
    if attack not in ATTACKS:
        said = "name an attack" if attack is None else f"there is no attack {attack!r}"
        raise click.UsageError(f"{said}: {', '.join(ATTACKS)}")
    check_rights()
    result = _attacked(Home(name), attack, vm, count, pause, family)
    click.echo(json.dumps(result, sort_keys=True) if output == "json" else _told(result))


def _attacked(
    home: Home, attack: str, vm: str, count: int | None, pause: float | None, family: str
) -> dict[str, object]:
    """Run the attack on the VM; what came of it."""
    import shutil
    import subprocess

    from netpersona.app.lab import enter
    from netpersona.app.lab.errors import LabError
    from netpersona.app.lab.machine import python

    if home.state().guest == vm:
        return _attacked_from_guest(home, attack, vm, count, pause, family)
    words = [attack, "--vm", vm, "--family", family]
    words += ["--count", str(count)] if count is not None else []
    words += ["--every", str(pause)] if pause is not None else []
    ssh = shutil.which("ssh") if any(program.name == "sshd" for program in home.state().programs) else None
    words += ["--ssh", ssh] if ssh is not None else []
    process = enter.spawn(
        home,
        vm,
        python("netpersona.app.lab.attacks", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said, problem = process.communicate()
    except KeyboardInterrupt:  # the attack was sent it too, and says how far it came
        said, problem = process.communicate()
    if process.returncode != 0:
        raise LabError(f"the attack ended with {process.returncode}: {' '.join(problem.split())[-300:]}")
    result: dict[str, object] = json.loads(said)
    return result


def _attacked_from_guest(
    home: Home, attack: str, vm: str, count: int | None, pause: float | None, family: str
) -> dict[str, object]:
    from netpersona.app.lab.attacks import in_guest
    from netpersona.app.lab.attacks.catalogue import ATTACKS
    from netpersona.app.lab.attacks.order import Tally, ordered

    if attack not in in_guest.LINES:
        raise click.UsageError(f"a guest has no Python for {attack}; it can do {', '.join(in_guest.LINES)}")
    tally = Tally()
    what = in_guest.run(home.path, attack, ordered(ATTACKS[attack], vm, count, pause, family), tally)
    return tally.told(attack, vm, what)


def _told(result: dict[str, object]) -> str:
    failed = result["failed"]
    reasons = "".join(f", {number} {why}" for why, number in failed.items()) if isinstance(failed, dict) else ""
    return f"{result['vm']}: {result['tried']} {result['what']}: {result['answered']} done{reasons}"


def _list_attacks() -> None:
    from rich.console import Console
    from rich.table import Table

    from netpersona.app.lab.attacks.catalogue import ATTACKS

    table = Table(box=None, pad_edge=False)
    for title in ("attack", "what it does", "by default", "at most", "ATT&CK"):
        table.add_column(title, justify="left")
    for one in ATTACKS.values():
        usual = f"{one.count} {one.unit}, one each {one.every:g} s"
        table.add_row(one.name, one.does, usual, f"{one.most} in {one.limit} s", one.technique)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _introduce_in_the_foreground(state: State) -> None:
    _introduce(state)
    click.echo("Ctrl-C ends it.")


def _introduce(state: State) -> None:
    home = Home(state.name)
    option = "" if state.name == "default" else f" --name {state.name}"
    click.echo(f"the lab is up: {len(state.namespaces)} machines, {'bridged' if state.bridged else 'routed'} taps")
    _tell_machines()
    click.echo(f"  its files       {home.path}")
    click.echo("Try:")
    for words in (
        f"run{option} {HYPERVISOR} -- netpersona up --config {home.path / 'netpersona.yaml'}",
        f"run{option} desktop-1 -- curl site-1.example",
        f"attack{option} callback --vm desktop-1",
        f"status{option}",
        f"down{option}",
    ):
        click.echo(f"  netpersona lab {words}")


def _tell_machines() -> None:
    for vm in VMS:
        click.echo(f"  {_place(vm)}")


def _place(vm: Machine) -> str:
    return f"{vm.name:<15} {vm.tap:<15} {vm.v4:<12} {vm.v6}"


def _tell_status(home: Home, state: State) -> None:
    kind = "bridged" if state.bridged else "routed"
    click.echo(f"{home.name}: up, {kind} taps, process {state.supervisor}, files in {home.path}")
    living = _living(state)
    for program in state.programs:
        stands = f" (in place of {program.wants})" if program.wants is not None else ""
        health = "runs" if program.pid in living else "has ended"
        click.echo(f"  {program.machine:<12} {program.name}{stands} {health}{_counted(home, program.name)}")


def _counted(home: Home, program: str) -> str:
    counts = _counts(home).get(program, {})
    if "asked" not in counts:
        return ""
    failure = f"; last: {counts['last_failure']}" if counts["failed"] else ""
    return f", {counts['answered']} of {counts['asked']} answered{failure}"


def _counts(home: Home) -> dict[str, dict[str, object]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((home.path / "counts").glob("*.json"))}


def _living(state: State) -> set[int]:
    """The processes of the lab, as the lab counts them."""
    try:
        found = Path(f"/proc/{state.supervisor}/root/proc").iterdir()
        return {int(path.name) for path in found if path.name.isdecimal()}
    except OSError:
        return set()


def _facts(home: Home, state: State) -> dict[str, object]:
    living = _living(state)
    return {
        "name": home.name,
        "folder": str(home.path),
        "bridged": state.bridged,
        "process": state.supervisor,
        "namespaces": state.inodes,
        "programs": [
            {"name": p.name, "machine": p.machine, "running": p.pid in living, "in_place_of": p.wants}
            for p in state.programs
        ],
        "counts": _counts(home),
    }
