"""The configuration: one frozen tree, a default for every key, unknown keys refused with a suggestion.

    store: {url: netpersona.db, keep: 365d, keep_gone: 90d}       # or a file, or sqlite:///...; keep: by the controller
    inventory: vms.yaml                           # or {libvirt: "qemu:///system", addresses: [lease]}
    feeds: [{name: drop, url: "https://...", interval: 1h, confidence: 0.95}, {file: bad.txt}]    # see feed_config
    policies: [policies/]
    window: 5m
    unknown_vm: allow                             # or deny
    always_allow: {management: [192.0.2.10/32], ports: [22], dhcp: true, neighbours: true, resolver: true}
    redirects: {analyser: 10.77.0.9}
    enforcer: nftables                            # or plan: say what would be in force, and touch nothing
    api: {socket: /run/netpersona/api.sock, group: netpersona}
    history: {path: flows, keep: 30d, max_size: 20GiB}            # what a hunt looks through; none: flows are not kept
    gate: {time_servers: [192.0.2.123], admit: []}                # what feeds may not list, and on whose word they may
    precision: {floor: 0.5, least: 5}             # below it a feed is log-only: see gate_config
    sinks: [{kind: ocsf, file: findings.jsonl}]   # where findings are told beside the store: see sink_config

Paths are relative to the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from netpersona.app.config_lines import Lines
from netpersona.app.feed_config import FeedSource, FeedSpec, feed_source
from netpersona.app.gate_config import AdmissionSpec, GateKeys, GateSpec, Place, PrecisionSpec, gate_keys, standard
from netpersona.app.history_config import HistoryPlace, HistorySpec, history_place
from netpersona.app.sink_config import SinkPlace, SinkSpec, sink_place
from netpersona.app.span import duration
from netpersona.errors import ConfigError
from netpersona.flow.window import DAY, HOUR, WINDOW
from netpersona.intel.precision import Standard
from netpersona.policy.model import AlwaysAllow, PolicySet
from netpersona.policy.values import UnreadableError, network, target
from netpersona.ports import Keep


class _KeysOnce(yaml.SafeLoader):
    """Plain YAML in which no key stands twice: of two values one would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping.  Raises ConstructorError."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _AlwaysAllow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    management: tuple[str, ...] = ()
    ports: tuple[int, ...] = (22,)
    dhcp: bool = True
    neighbours: bool = True
    resolver: bool = True


class _Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    socket: str = "/run/netpersona/api.sock"
    group: str | None = None


class _Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str | None = None
    keep: str = "365d"
    keep_gone: str = "90d"


class _Libvirt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    libvirt: str
    addresses: tuple[Literal["lease", "agent", "arp"], ...] = ("lease",)


class _Root(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    store: str | _Store | None = None
    inventory: str | _Libvirt | None = None
    feeds: tuple[FeedSpec, ...] = ()
    policies: tuple[str, ...] = ()
    window: str = "5m"
    unknown_vm: Literal["allow", "deny"] = "allow"
    always_allow: _AlwaysAllow | None = None
    redirects: dict[str, str] = {}
    enforcer: Literal["nftables", "plan"] = "nftables"
    api: _Api = _Api()
    history: HistorySpec | None = None
    sinks: tuple[SinkSpec, ...] = ()
    gate: GateSpec = GateSpec()
    precision: PrecisionSpec = PrecisionSpec()


@dataclass(frozen=True, slots=True)
class Api:
    """Where the running controller is talked to."""

    socket: Path = Path("/run/netpersona/api.sock")
    group: str | None = None  # whose members may, besides root and the user it runs as


@dataclass(frozen=True, slots=True)
class Libvirt:
    """Where libvirt is asked for the VMs, and whom it asks for their addresses besides their metadata."""

    uri: str
    addresses: tuple[str, ...] = ("lease",)  # lease, agent, arp


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured; the defaults are what a careful operator would choose."""

    store: str | None = None
    keep: Keep = field(default_factory=Keep)  # how long the store of a controller keeps what it knows
    inventory: Path | None = None
    libvirt: Libvirt | None = None  # instead of an inventory file
    feeds: tuple[FeedSource, ...] = ()
    policies: tuple[Path, ...] = ()
    window: int = WINDOW  # µs
    unknown_vm: str = "allow"
    always_allow: AlwaysAllow = field(default_factory=AlwaysAllow)
    says_always_allow: bool = False
    redirects: Mapping[str, str] = field(default_factory=dict)
    enforcer: str = "nftables"  # or plan; a replay always plans
    api: Api = field(default_factory=Api)
    history: HistoryPlace | None = None  # None: flows are not kept
    sinks: tuple[SinkPlace, ...] = ()
    gate: GateKeys = field(default_factory=GateKeys)
    precision: Standard = field(default_factory=Standard)  # that every feed is held to which has none of its own

    def applied(self, policies: PolicySet) -> PolicySet:
        """The policies with what the configuration says beside them; a policy file's own AlwaysAllow goes first."""
        own = policies.always != AlwaysAllow()
        return replace(
            policies,
            always=policies.always if own or not self.says_always_allow else self.always_allow,
            unknown_vm=self.unknown_vm,
            redirects={**self.redirects, **policies.redirects},
        )


def read_config(path: Path | None) -> Config:
    """The configuration in this file; the defaults where there is none.  Raises ConfigError."""
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.load(text, _KeysOnce)  # noqa: S506 - a SafeLoader
        lines = Lines(str(path), yaml.compose(text, _KeysOnce))
        root = msgspec.convert(data if data is not None else {}, _Root)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {_of_yaml(error)}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{lines.of_message(str(error), _unknown(str(error)))}: {_explained(str(error))}") from error
    return _config(root, path, lines.place)


def _config(root: _Root, path: Path, place: Place) -> Config:
    here = path.parent
    window = duration(root.window, f"{place('window')}: window")
    if HOUR % window:
        raise ConfigError(f"{place('window')}: window: {root.window} does not divide an hour; 1m, 5m, 10m or 1h do")
    always = root.always_allow if root.always_allow is not None else _AlwaysAllow()
    for port in always.ports:
        if not 1 <= port <= 65535:
            where = place("always_allow", "ports")
            raise ConfigError(f"{where}: always_allow: ports: {port} is no port; ports go from 1 to 65535")
    for text in always.management:
        _meant(network, text, f"{place('always_allow', 'management')}: always_allow: management")
    store = root.store if isinstance(root.store, _Store) else _Store(root.store)
    return Config(
        store=_located_store(store.url, here),
        keep=_keep(store, path),
        inventory=here / root.inventory if isinstance(root.inventory, str) else None,
        libvirt=_libvirt(root.inventory, place("inventory")) if isinstance(root.inventory, _Libvirt) else None,
        feeds=_feeds(root.feeds, here, place),
        policies=tuple(here / policy for policy in root.policies),
        window=window,
        unknown_vm=root.unknown_vm,
        always_allow=AlwaysAllow(**msgspec.structs.asdict(always)),
        says_always_allow=root.always_allow is not None,
        redirects={
            name: _meant(_redirect, text, f"{place('redirects', name)}: redirects: {name}")
            for name, text in root.redirects.items()
        },
        enforcer=root.enforcer,
        api=Api(here / root.api.socket, root.api.group),
        history=None if root.history is None else history_place(root.history, here, place("history")),
        sinks=tuple(sink_place(spec, here, place("sinks", i)) for i, spec in enumerate(root.sinks)),
        gate=gate_keys(root.gate, place),
        precision=standard(root.precision.floor, root.precision.least, Standard(), f"{place('precision')}: precision"),
    )


def _libvirt(said: _Libvirt, where: str) -> Libvirt:
    if not re.match(r"[a-z][a-z0-9+.-]*://", said.libvirt):
        raise ConfigError(f"{where}: inventory: libvirt: {said.libvirt!r} is no URI of libvirt's; write qemu:///system")
    return Libvirt(said.libvirt, said.addresses)


def _redirect(text: str) -> str:
    """An address, or an address with a port."""
    found = target(text)
    if found[0] not in "0123456789[" and ":" not in found:
        raise UnreadableError("not an address", "write an address, or address:port")
    return found


def _meant(read: Callable[[str], str], text: str, what: str) -> str:
    """What the text means to `read`, in canonical text.  Raises ConfigError."""
    try:
        return read(text)
    except UnreadableError as error:
        raise ConfigError(f"{what}: {text!r} is {error}" + (f"; {error.hint}" if error.hint else "")) from error


def _located_store(store: str | None, here: Path) -> str | None:
    """A store that is a plain path is relative to the configuration file, like every path in it."""
    return str(here / store) if store is not None and ":" not in store else store


def _keep(store: _Store, path: Path) -> Keep:
    """How long is kept what the store knows.  A day at least, which detectors look back."""
    spans = {}
    for key, text in (("keep", store.keep), ("keep_gone", store.keep_gone)):
        spans[key] = duration(text, f"{path}: store: {key}")
        if spans[key] < DAY:
            raise ConfigError(f"{path}: store: {key}: {text} is too short; keep a day at least: 1d")
    return Keep(gone=spans["keep_gone"], past=spans["keep"])


def _feeds(specs: Sequence[FeedSpec], here: Path, place: Place) -> tuple[FeedSource, ...]:
    feeds = tuple(feed_source(spec, here, place("feeds", i)) for i, spec in enumerate(specs))
    names = [feed.name for feed in feeds]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        again = names.index(twice[0], names.index(twice[0]) + 1)
        raise ConfigError(f"{place('feeds', again)}: two feeds are named {twice[0]}; give each a name of its own")
    return feeds


def _unknown(message: str) -> str | None:
    """The key that a message of msgspec's says nobody knows."""
    found = re.search(r"unknown field `([^`]*)`", message)
    return None if found is None else found[1]


def _of_yaml(error: Exception) -> str:
    """What is wrong and where, without the text around it, in which a secret may stand."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        if "'\\t'" in str(error.problem):
            return f"a tab; YAML is indented with spaces (line {mark.line + 1}, column {mark.column + 1})"
        return f"{error.problem} (line {mark.line + 1}, column {mark.column + 1})"
    return " ".join(str(error).split())


def _explained(message: str) -> str:
    """Msgspec's message, with the key that was probably meant."""
    unknown = _unknown(message)
    if unknown is None:
        return message
    structs = (_Root, _Store, _Libvirt, FeedSpec, _AlwaysAllow, _Api, HistorySpec, SinkSpec, GateSpec, AdmissionSpec)
    known = list(dict.fromkeys(name for struct in structs for name in struct.__struct_fields__))
    near = get_close_matches(unknown, known, n=1)
    return f"unknown key {unknown!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}")
