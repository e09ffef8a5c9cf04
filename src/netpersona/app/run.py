"""One replay from the command line's words to its result: the one place that wires recorded traffic.

Request -> configuration, inventory, feeds, policies -> Fleet, Ground -> replay() -> resolve() -> report
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from netpersona.adapters.enforcers.plan import Plan
from netpersona.adapters.feeds.file import FileFeed, feed_name
from netpersona.adapters.inventories.yaml_file import YamlInventory
from netpersona.adapters.sensors.recognise import recognise
from netpersona.adapters.software import evidence
from netpersona.adapters.stores import open_store
from netpersona.adapters.warning_lists import warning_lists
from netpersona.app import exempted, exempted_replay, software
from netpersona.app import policies as policy_files
from netpersona.app.config import Config, read_config
from netpersona.app.history_config import HistoryPlace
from netpersona.app.progress import Meter
from netpersona.app.replay import Replayed, replay
from netpersona.app.report import report
from netpersona.app.shard import Shard
from netpersona.app.stopwatch import Stopwatch
from netpersona.errors import ConfigError, InventoryError, StoppedError, StoreError
from netpersona.flow.vm import Vm, VmId, canonical_address, owners, vm_id, vm_id_of_address
from netpersona.intel.feed import FeedSettings, FeedSnapshot
from netpersona.intel.gate import Protected, refuse
from netpersona.intel.indicators import AllowEntry, AllowList, IndicatorSet
from netpersona.intel.warning import NO_LISTS
from netpersona.persona.model import Persona
from netpersona.pipeline import Fleet, Ground
from netpersona.policy.model import PolicySet
from netpersona.ports import Feed, Store
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.resolve import resolve
from netpersona.ruleset.words import plan


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    sources: Sequence[Path]
    vms: Sequence[str] = ()
    inventory: Path | None = None
    feeds: Sequence[Path] = ()
    policies: Sequence[Path] = ()
    config: Path | None = None
    store: str | None = None
    learn_until: int | None = None  # µs
    history: Path | None = None  # where flows are kept; None: as configured


@dataclass(frozen=True, slots=True)
class Done:
    """What a replay came to."""

    report: dict[str, Any]
    replayed: Replayed
    personas: Mapping[VmId, Persona]
    ruleset: Ruleset
    snapshots: Sequence[FeedSnapshot]
    store: Store
    store_url: str | None
    at: int  # µs: the event time at which risk and rules are stated


def run(request: Request, watch: Stopwatch, started: Sequence[Shard] = ()) -> Done:
    """Replay what the request names; `started` are processes that may help.

    Raises NetpersonaError; then the store is as it was.
    """
    with _interrupted_whole():
        config = read_config(request.config)
        url = request.store if request.store is not None else config.store
        named = _named_vms(request, config)
        found = recognise(request.sources)
        store = open_store(url if url is not None else "memory:")
        fleet = named if named is not None else _known_fleet(store)
        snapshots = _snapshots(request, config, fleet)
        policies, stored_policies = _policies(request, config, store)
        intel = _indicators(snapshots, allowed(policies), store)
        runs = software.joined(
            evidence.of_bytes(store.context("software")),
            software.seen(request.sources, fleet),
            software.billed(fleet.vms.values()),
        )
        exemptions = exempted_replay.of_replay(store, intel, config.window)
        ground = Ground(intel, policies, request.learn_until, config.window, runs, exemptions)
        context = {
            "policies": stored_policies,
            "indicators": ground.intel.to_bytes(),
            exempted.CONTEXT: exempted.to_bytes(exemptions),
        }
        place = HistoryPlace(request.history) if request.history is not None else config.history
        with Meter() as meter, place.opened() if place is not None else nullcontext() as history:
            replayed = replay(found, fleet, ground, store, context, meter, history, started)
    personas, at = store.personas(), replayed.at or 0
    ruleset = in_force(personas, policies, ground.intel, at, store)
    enforcer = Plan()
    enforcer.apply(ruleset)
    planned = {"vms": plan(enforcer.in_force()), "nft": enforcer.text()}
    outcome = report(replayed.intake, personas, store.findings(), planned, at, watch.timing(replayed.memory_beside))
    return Done(outcome, replayed, personas, ruleset, snapshots, store, url, at)


@contextmanager
def _interrupted_whole() -> Iterator[None]:
    """Ctrl-C here comes before anything is stored."""
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError("interrupted; the store is as it was before this command") from None


def in_force(
    personas: Mapping[VmId, Persona], policies: PolicySet, intel: IndicatorSet, at: int, store: Store
) -> Ruleset:
    """The rules that these personas, policies and indicators come to at an instant (µs)."""
    interfaces = {vm: p.base.interface for vm, p in personas.items() if p.base.interface is not None}
    return resolve(personas.values(), policies, intel, at, interfaces=interfaces, names=_answers(store))


def _named_vms(request: Request, config: Config) -> Fleet | None:
    """The VMs that the command line or an inventory names; None where neither does."""
    inventory = request.inventory if request.inventory is not None else config.inventory
    if request.vms and inventory is not None:
        raise ConfigError("--vm and an inventory both say which VMs there are; give one of them")
    if config.libvirt is not None and inventory is None and not request.vms:
        raise ConfigError(
            "a replay asks no libvirt; name the VMs that the traffic is of: --inventory FILE or --vm ADDRESS"
        )
    if request.vms:
        return _named([_vm(text) for text in request.vms])
    return None if inventory is None else _named(YamlInventory(inventory).vms())


def _known_fleet(store: Store) -> Fleet:
    """The VMs that the store was told of, or those that it knows from traffic, to which more may come."""
    known = {vm.name: vm for vm in store.vms()}
    if known and not any(vm.inferred for vm in known.values()):
        return Fleet(known)
    states = store.states()
    since = {
        host: state.persona.first_seen
        for vm, state in states.items()
        if vm in known and state.persona.first_seen is not None
        for host in known[vm].hosts
    }
    return Fleet({vm: known[vm] for vm in states if vm in known}, inferred=True, since=since)


def _named(vms: Sequence[Vm]) -> Fleet:
    try:
        owners(vms)
    except ValueError as error:
        raise InventoryError(str(error)) from error
    twice = sorted({vm.name for vm in vms if sum(other.name == vm.name for other in vms) > 1})
    if twice:
        raise InventoryError(f"two VMs are named {twice[0]}; give each a name of its own: --vm NAME=ADDRESS")
    return Fleet({vm.name: vm for vm in vms})


def _vm(text: str) -> Vm:
    """A VM as --vm names it: ADDRESS, or NAME=ADDRESS."""
    name, separator, address = text.rpartition("=")
    try:
        host = canonical_address(address)
        return Vm(vm_id(name) if separator else vm_id_of_address(host), (host,))
    except ValueError as error:
        raise ConfigError(f"--vm {text}: {error}; write ADDRESS or NAME=ADDRESS") from error


def _snapshots(request: Request, config: Config, fleet: Fleet) -> list[FeedSnapshot]:
    feeds: list[Feed] = [source.feed for source in config.feeds]
    feeds += [FileFeed(path, FeedSettings(name)) for path, name in _feed_names(request.feeds, feeds).items()]
    if not feeds:
        return []
    protected = Protected.of(
        fleet.vms.values(),
        config.always_allow.management,
        config.gate.time_servers,
        warning_lists(),
        config.gate.admitted,
    )
    return [refuse(feed.fetch(), protected) for feed in feeds]


def _feed_names(paths: Sequence[Path], named: Sequence[Feed]) -> dict[Path, str]:
    """A name for each feed file, no two alike: its stem, with its ending where that tells it apart, else numbered."""
    names: dict[Path, str] = {}
    taken = {feed.settings.name for feed in named}
    for path in paths:
        choices = chain([feed_name(path), feed_name(path.with_name(f"{path.name}.x"))], _numbered(feed_name(path)))
        names[path] = next(name for name in choices if name not in taken)
        taken.add(names[path])
    return names


def _numbered(name: str) -> Iterator[str]:
    return (f"{name}-{number}" for number in count(2))


def _policies(request: Request, config: Config, store: Store) -> tuple[PolicySet, bytes]:
    """The policies with their versions, and as they are stored; a replay that names none keeps those of the store."""
    texts, versions = policy_files.decode(store.context("policies"))
    paths = [*request.policies, *config.policies]
    if paths:
        texts = policy_files.read(paths)
    policies, versions = policy_files.versioned(config.applied(policy_files.parsed(texts)), versions)
    return policies, policy_files.encode(texts, versions)


def _indicators(snapshots: Sequence[FeedSnapshot], allow: AllowList, store: Store) -> IndicatorSet:
    """What the feeds say; where none is named, what those said that the store was filled with."""
    stored = None if snapshots else store.context("indicators")
    if stored is None:
        return IndicatorSet.merge(snapshots, allow, warning_lists() if snapshots else NO_LISTS)
    try:
        return replace(IndicatorSet.from_bytes(stored), allow=allow, lists=warning_lists())
    except ValueError as error:
        raise StoreError(f"the stored indicators cannot be read: {error}; name the feeds again with --feed") from error


def allowed(policies: PolicySet) -> AllowList:
    """What the operator's AllowLists take from the indicators: an allowed peer is no match, and no worry."""
    return AllowList(
        tuple(
            AllowEntry(e.value, e.until, e.comment, e.author or resource.name)
            for resource in policies.allow
            for e in resource.entries
        )
    )


def _answers(store: Store) -> dict[VmId, dict[str, tuple[tuple[str, int | None], ...]]]:
    """What DNS answered each VM, as resolve() wants it."""
    return {
        vm: {name: tuple((address, None) for address in sorted(known)) for name, known in names.items()}
        for vm, names in store.names().items()
    }
