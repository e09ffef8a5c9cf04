"""`netpersona demo`: the main job on a generated sample, from traffic to rules, told on the terminal."""

from __future__ import annotations

from pathlib import Path

import click

from netpersona.app.stopwatch import Stopwatch
from netpersona.errors import ConfigError


@click.command()
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(".demo"), show_default=True, help="Where to write."
)
@click.option("--live", is_flag=True, help="Instead: a lab, the controller on it, and an attack.  Needs root.")
def demo(folder: Path, live: bool) -> None:
    """Generate a day of four machines, one of which is compromised; replay it and tell what was found.

    With --live: build a lab of network namespaces, run the controller on it, attack, and tell the story, from the
    callback to the rule in the kernel to recovery.
    """
    if live:
        from netpersona.app.live_demo import tell_live

        tell_live()
        return
    watch = Stopwatch.started()
    from netpersona.app.account import tell
    from netpersona.app.replay_command import write_report
    from netpersona.app.run import Request, run
    from netpersona.app.sample import CONTROL, write_sample

    config = folder / "netpersona.yaml"
    store = folder / "netpersona.db"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sample = write_sample(folder)
        config.write_text(_CONFIG)
        for old in folder.glob("netpersona.db*"):
            old.unlink()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write there: {error.strerror}; name another --folder") from error
    click.echo(f"A day of four machines, generated into {folder}: a web server, a database and two desktops.\n")
    done = run(Request([sample.logs], config=config, store=str(store)), watch)
    write_report(folder / "report.json", done.report)
    tell(done)
    click.echo("\nAsk it:")
    for question in (
        f"why desk-2 {CONTROL}:8443",
        "risk explain desk-2",
        "persona show web-1",
        "persona history desk-2",
    ):
        click.echo(f"  .venv/bin/netpersona {question} --store {store}")


_CONFIG = """\
inventory: vms.yaml
feeds:
  # the sample lives in documentation ranges, which the gate would refuse from any other feed
  - {file: command-and-control.txt, name: command-and-control, confidence: 0.95, category: c2, allow: [documentation]}
policies: [policy.yaml]
"""
