"""`netpersona up`: watch the taps of the VMs, judge, and keep the rules in force, until told to stop."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from netpersona.app.config import Config
    from netpersona.app.live.controller import Controller
    from netpersona.ports import Inventory, Store

STORE = "/var/lib/netpersona/netpersona.db"
_BUSY = 0.1  # s: about a turn


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), help="The configuration file.")
@click.option("--socket", type=click.Path(path_type=Path), help="Where the API listens; else as configured.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="From which level on a line is written to standard error.",
)
def up(path: Path | None, socket: Path | None, log_level: str) -> None:
    """Watch the VMs live, judge within a second, and keep the resolved rules in force in the kernel.

    Needs CAP_NET_RAW to watch the taps and CAP_NET_ADMIN for the rules.  Ended by SIGINT or SIGTERM it leaves the rules
    in force; 'netpersona firewall uninstall' removes them.

    The configuration (YAML) has store, inventory, feeds, gate, precision, policies, window, unknown_vm, always_allow,
    redirects, enforcer, api, history and sinks; every key has a default, and docs/configuration.md tells of each.
    """
    from netpersona.adapters.sensors.tap.sensor import TapSensor
    from netpersona.app.api.server import Server
    from netpersona.app.config import read_config
    from netpersona.app.live import notify
    from netpersona.app.log import to_standard_error

    to_standard_error(log_level)
    sys.setswitchinterval(0.001)  # s: an answer that is held waits no longer for the judge than this
    config = read_config(path)
    with TapSensor(window=config.window) as sensor:
        place = socket or config.api.socket
        place.parent.mkdir(parents=True, exist_ok=True)
        controller = _controller(config, sensor, place)
        server = Server(controller, place, group=config.api.group)
        server.start()
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, _stopping(controller))
            controller.turn()  # who waits for us finds the rules in force
            notify.ready(f"watching {len(controller.now_watched)} taps")
            click.echo(f"netpersona is up; its API is at {server.path}", err=True)
            controller.run()
        finally:
            notify.stopping()
            server.stop()
            controller.let_go()


def _controller(config: Config, sensor: Any, socket: Path) -> Controller:
    from netpersona.adapters.warning_lists import warning_lists
    from netpersona.app import policies as policy_files
    from netpersona.app.live.controller import Controller
    from netpersona.app.live.feed_fetching import LiveFeeds
    from netpersona.app.live.indicators import LiveIndicators
    from netpersona.app.live.parts import Parts
    from netpersona.app.outlets import Outlets
    from netpersona.app.past import Past

    store = _store(config)
    parts = Parts(
        inventory=inventory_of(config),
        sensor=sensor,
        store=store,
        **_kernel(config, socket, sensor.wake),
        indicators=LiveIndicators(
            LiveFeeds(config.feeds, _beside(store)), warning_lists(), config.gate, config.precision
        ),
        policies=lambda texts: config.applied(policy_files.parsed(texts)),
        window=config.window,
        keep=config.keep,
        past=Past(config.history) if config.history is not None else None,
        outlets=Outlets(config.sinks) if config.sinks else None,
        steady=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    )
    return Controller(parts, policy_files.read(config.policies), sensor.poll(0.0).until)


def inventory_of(config: Config) -> Inventory:
    """The inventory that the configuration names.  Raises ConfigError where it names none, or one that needs more."""
    if config.libvirt is not None:
        from netpersona.adapters.inventories.libvirt.inventory import LibvirtInventory

        return LibvirtInventory(config.libvirt.uri, config.libvirt.addresses)
    from netpersona.app.live.inventory import Following

    return Following(config.inventory)


def _store(config: Config) -> Store:
    """The store; while another process writes to it, it is left alone at once: judging does not wait for that."""
    from netpersona.adapters.stores import open_store
    from netpersona.adapters.stores.sqlite import SqliteStore

    store = open_store(config.store if config.store is not None else STORE)
    return SqliteStore(f"sqlite:///{store.path}", busy_timeout=_BUSY) if isinstance(store, SqliteStore) else store


def _beside(store: Store) -> Path | None:
    """Where the last good copies of feeds are kept: beside the store; None where it is only in memory."""
    path = getattr(store, "path", None)
    return Path(f"{path}.feeds") if path is not None else None


def _kernel(config: Config, socket: Path, wake: Callable[[], None]) -> dict[str, Any]:
    """The parts that have to do with the kernel's rules: none but a plan, where that is configured.

    `wake` ends the controller's waiting for packets, where an answer waits for rules to be resolved.
    """
    if config.enforcer == "plan":
        from netpersona.adapters.enforcers.plan import Plan

        return {"enforcer": Plan()}
    from netpersona.adapters.dns_relay.hold import AnswerHold
    from netpersona.adapters.enforcers.nftables import Nftables
    from netpersona.adapters.enforcers.nftables.receipts import Receipts
    from netpersona.app.live.guard import KernelGuard
    from netpersona.app.live.links import LinkEvents

    enforcer = Nftables()
    guard = KernelGuard(enforcer, socket.with_name(f"{socket.name}.revert"))
    hold = AnswerHold(enforcer.lend, wake)
    hold.start()  # where it cannot, health() says so
    receipts = Receipts(enforcer.in_force())
    return {"enforcer": enforcer, "guard": guard, "receipts": receipts, "hold": hold, "links": LinkEvents()}


def _stopping(controller: Controller) -> Callable[..., None]:
    return lambda *_: controller.stop()
