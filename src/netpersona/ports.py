"""The seams to the outside: what an adapter must offer to be one.

    Sensor      yields FlowBatches                      adapters/sensors
    Inventory   which VMs exist, where                  adapters/inventories
    Feed        everything it says now                  adapters/feeds
    Store       personas, findings, decisions           adapters/stores
    Enforcer    keeps a Ruleset in force                adapters/enforcers
    History     the flows of the past                   adapters/history
    Sink        where findings are told                 adapters/sinks

Each seam has one conformance suite (tests/conformance) that every implementation passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import polars as pl

from netpersona.flow.account import SourceAccount
from netpersona.flow.table import FlowBatch
from netpersona.flow.vm import Vm, VmId
from netpersona.flow.window import DAY
from netpersona.intel.feed import FeedSettings, FeedSnapshot
from netpersona.intel.hunt import Day
from netpersona.persona.model import Persona, RiskTerm
from netpersona.persona.state import VmState
from netpersona.risk.finding import Finding
from netpersona.ruleset.diff import Changes
from netpersona.ruleset.model import Ruleset


class Sensor(Protocol):
    """Something that saw traffic.  Raises SourceError; never retries, sleeps or logs-and-goes-on."""

    @property
    def path(self) -> str:
        """Where it reads, for messages and the report."""

    @property
    def format(self) -> str:
        """What it reads: zeek, suricata, pcap, ..."""

    def batches(self) -> Iterator[FlowBatch]:
        """All it has to say, in batches of bounded size, in no particular order."""

    def accounts(self) -> list[SourceAccount]:
        """What was read of each file, once batches() is exhausted."""


class Inventory(Protocol):
    """Which VMs exist now.  Raises InventoryError."""

    def vms(self) -> list[Vm]:
        """Every VM, in the order of their names."""


class Feed(Protocol):
    """A list of indicators.  Raises FeedError; merging, expiry and refusal are not its business."""

    @property
    def settings(self) -> FeedSettings:
        """Its name, confidence, half-life and family."""

    def fetch(self) -> FeedSnapshot:
        """Everything it says now."""


@dataclass(frozen=True, slots=True)
class PersonaVersion:
    """A persona as it was when something about it changed, with the change in words."""

    persona: Persona
    at: int  # µs, event time
    why: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What judging some windows gave.  `states` holds the VMs that changed; findings are the latest form of each."""

    states: Mapping[VmId, VmState] = field(default_factory=dict)
    versions: Sequence[PersonaVersion] = ()
    findings: Sequence[Finding] = ()
    terms: Sequence[tuple[VmId, RiskTerm]] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One consistent step of the store, written in one transaction.

    `closed` rests on windows that are over for good.  `open` rests on the last windows, to which late flows may
    still come: it is shown like the rest, and replaced whole by the next checkpoint, which judges `pending` (the
    flows of those windows) again.
    """

    closed_until: int | None  # µs: the end of the last closed window
    closed: Outcome
    open: Outcome
    pending: FlowBatch
    vms: Sequence[Vm]
    names: Mapping[VmId, Mapping[str, Mapping[str, int]]]  # DNS answers: name -> address -> last seen, µs
    context: Mapping[str, bytes]  # what the decisions rest on: "policies" (YAML text), "indicators", ...


@dataclass(frozen=True, slots=True)
class Keep:
    """How long a store keeps what it knows, µs."""

    gone: int = 90 * DAY  # of a VM that is no more: from when it was last seen
    past: int = 365 * DAY  # findings, risk terms, versions of personas, and what people changed


class Forgotten(NamedTuple):
    """What a store let go."""

    vms: tuple[VmId, ...] = ()  # with all that was known of them
    versions: int = 0  # of the other VMs' personas
    findings: int = 0
    terms: int = 0
    changes: int = 0  # by people


class Store(Protocol):
    """Where personas, findings and decisions are kept.  Raises StoreError."""

    def closed_until(self) -> int | None:
        """The end (µs) of the last window that is closed for good; None for an empty store."""

    def states(self) -> dict[VmId, VmState]:
        """Every VM's keyed state at `closed_until`."""

    def pending(self) -> FlowBatch:
        """The flows of the windows that are still open."""

    def vms(self) -> list[Vm]:
        """The VMs, as the last checkpoint had them."""

    def names(self) -> dict[VmId, dict[str, dict[str, int]]]:
        """DNS answers seen by each VM: name -> address -> last seen (µs)."""

    def personas(self) -> dict[VmId, Persona]:
        """Every persona as it stands now, open windows included."""

    def history(self, vm: VmId) -> list[PersonaVersion]:
        """The stored versions of a persona, oldest first."""

    def findings(self, vm: VmId | None = None) -> list[Finding]:
        """Findings in the order (judged_at, id)."""

    def terms(self, vm: VmId) -> list[RiskTerm]:
        """The risk terms of a VM that are kept, in the order of their instants."""

    def context(self, key: str) -> bytes | None:
        """What the last decisions rested on."""

    def commit(self, checkpoint: Checkpoint) -> None:
        """Write one checkpoint, wholly or not at all."""

    def put_persona(self, persona: Persona, at: int, why: str) -> None:
        """Store what a person changed (frozen, reset, labels) as a new version, in the keyed state too."""

    def forget(self, gone: int, past: int) -> Forgotten:
        """Let go what is too old, wholly or not at all.

        That is each VM that the last checkpoint does not have and none has judged or had since `gone` (µs), with all
        that is known of it; and of the others what is from before `past` (µs): risk terms, findings seen last before
        then, versions but for the first and the newest, and the audit.  What the risk of a persona rests on stays.
        """


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between what was applied and what is found in force."""

    where: str  # the table
    what: str  # a sentence


@dataclass(frozen=True, slots=True)
class Count:
    """What a rule met.  A rule that stands in several chains or parts is one count."""

    vm: VmId
    policy: str
    rule: str
    version: int
    packets: int
    octets: int


class Enforcer(Protocol):
    """What keeps a ruleset in force.  Raises EnforcerError; then what was in force before still is."""

    def apply(self, desired: Ruleset) -> Changes:
        """Bring the whole desired ruleset in force, all or none; applying it twice changes nothing."""

    def settle(self) -> None:
        """Do what the last `apply` left to be done, for which no packet waits; the next one does it else."""

    def in_force(self) -> Ruleset:
        """What is in force now."""

    def verify(self) -> tuple[Drift, ...]:
        """Every difference between what was applied and what is found in force; none: it is as applied."""

    def heal(self) -> tuple[Drift, ...]:
        """Bring back what `verify` finds missing or changed; gives what it was."""

    def counters(self, vm: VmId | None = None) -> tuple[Count, ...]:
        """What each rule met since it came into force, of one VM or of all, in the order (vm, policy, rule)."""

    def check(self, desired: Ruleset) -> None:
        """Raises EnforcerError where `desired` could not be applied; applies nothing."""

    def uninstall(self) -> None:
        """Remove everything that was ever put in force."""


@dataclass(frozen=True, slots=True)
class HistoryExtent:
    """How much a history holds, and what it let go."""

    first: int | None  # µs: the earliest start; None: it is empty
    last: int | None
    flows: int
    octets: int
    let_go: Mapping[str, int]  # flows, by reason


class History(Protocol):
    """The flows of the past, bounded by age and size.  Raises StoreError; what was written before is still good."""

    def add(self, rows: FlowBatch, view: Callable[[FlowBatch], FlowBatch]) -> int:
        """Take flows and what was said in them, as `view` orients them (flow.orient, with a `source`).

        Rows that were written before count once; gives how many flows were new.  Nobody reads them before close().
        """

    def close(self, until: int) -> None:
        """Write all that was added, for good; let go what is too old at `until` (µs), the oldest first, or too much."""

    def days(self, since: int | None = None, until: int | None = None) -> Iterator[Day]:
        """The days (UTC) that reach into the time from `since` up to `until` (µs), in order, for a hunt."""

    def flows(self, since: int, until: int) -> pl.LazyFrame:
        """The flows (FLOW_SCHEMA) that start from `since` up to `until` (µs)."""

    def extent(self) -> HistoryExtent:
        """How much there is, and what was let go."""


class News(NamedTuple):
    """A finding that is to be told."""

    finding: Finding
    again: bool  # whether it was told before, and goes on


class Told(NamedTuple):
    """What became of findings that were told."""

    taken: int = 0
    left_out: int = 0  # that say nothing that may be told there
    refused: int = 0  # that the other side did not want, for good


class Sink(Protocol):
    """Where findings are told.  Raises SinkError; then telling them again is safe, as their ids stay the same.

    A sink may take its time: adapters.sinks.delivery stands between it and everything that may not wait.
    """

    @property
    def place(self) -> str:
        """Where that is, for people; without secrets."""

    def tell(self, news: Sequence[News]) -> Told:
        """Tell them all."""
