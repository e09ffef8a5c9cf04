"""Flows that our own rules stopped are no evidence: a retry against a block says nothing that was not known.

Told by the model: a flow that nobody answered, and that the rules in force when it began denied.  What led to the rule
began before it, and stays.  What rules stopped that are no more, or that others have overtaken, stays stopped: else
their end, or a restart, would turn a block into a finding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from netpersona.flow.orient import answered_by_responder
from netpersona.flow.vm import VmId
from netpersona.flow.window import SECOND
from netpersona.policy.model import Direction
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.verdict import Packet, verdict

MOST = 20_000  # flows, alike in all of _FLOW, of which a verdict is remembered
_SAVED = 2_000  # of which a restart knows what former rules stopped
_KEPT = 900 * SECOND  # µs for which that is remembered: windows that are open now were open then
_FLOW = ["vm", "direction", "peer", "transport", "port"]
_SPAN = ["from", "until", "since"]  # µs: stopped from .. until by former rules, and since .. by those in force
_STOPS = frozenset({"deny", "reject"})

_Key = tuple[str, str, str, str, int]
Began = Mapping[tuple[VmId, str, str], int]  # (VM, policy, rule) -> since when it is in force, µs


@dataclass(slots=True)
class Stopped:
    """Remembers when which flows are, and were, stopped."""

    _ruleset: Ruleset | None = None
    _began: Began = field(default_factory=dict)
    _since: dict[_Key, int | None] = field(default_factory=dict)  # -> since when the rules in force deny it, µs
    _former: dict[_Key, tuple[int, int]] = field(default_factory=dict)  # -> from when until when former ones did

    def follow(self, ruleset: Ruleset, began: Began, now: int) -> None:
        """Take the rules that are in force from `now` (µs) on."""
        for key, since in self._since.items():
            if since is not None:
                self._former.pop(key, None)  # the latest stand last
                self._former[key] = (since, now)
        for key in [key for key, (_, until) in self._former.items() if until < now - _KEPT]:
            del self._former[key]
        while len(self._former) > MOST:
            del self._former[next(iter(self._former))]
        self._ruleset, self._began = ruleset, began
        self._since.clear()

    def without(self, flows: pl.DataFrame) -> pl.DataFrame:
        """The oriented flows without those that were stopped."""
        if not flows.height or (self._ruleset is None and not self._former):
            return flows
        tried = flows.filter(~answered_by_responder()).select(_FLOW).unique()
        found = [(*key, *span) for key in tried.iter_rows() if any(span := self._span(key))]
        if not found:
            return flows
        schema = {name: flows.schema[name] for name in _FLOW} | dict.fromkeys(_SPAN, pl.Int64())
        marked = flows.join(pl.DataFrame(found, schema=schema, orient="row"), on=_FLOW, how="left")
        start = pl.col("start")
        stopped = start.is_between("from", "until", closed="left") | (start >= pl.col("since"))
        return marked.filter(answered_by_responder() | ~stopped.fill_null(value=False)).drop(_SPAN)

    def to_bytes(self) -> bytes:
        """What a restart must not forget."""
        latest = list(self._former.items())[-_SAVED:]
        return json.dumps([[*key, *span] for key, span in latest]).encode()

    def resume(self, content: bytes | None) -> None:
        """Go on with what an earlier run remembered."""
        for *key, since, until in json.loads(content) if content is not None else ():
            vm, direction, peer, transport, port = key
            self._former[vm, direction, peer, transport, port] = (since, until)

    def _span(self, key: _Key) -> tuple[int | None, int | None, int | None]:
        """When such a flow was stopped, as _SPAN; a rule that takes over from another goes on with what that began."""
        if key not in self._since:
            if len(self._since) >= MOST:
                self._since.clear()
            since = self._asked(key)
            former = self._former.get(key)
            if since is not None and former is not None and since <= former[1]:
                since = min(since, former[0])
            self._since[key] = since
        return (*self._former.get(key, (None, None)), self._since[key])

    def _asked(self, key: _Key) -> int | None:
        if self._ruleset is None:
            return None
        vm, direction, peer, transport, port = key
        decision = verdict(self._ruleset, Packet(VmId(vm), Direction(direction), peer, transport, port))
        if decision.rule is None or decision.verdict not in _STOPS:
            return None
        return self._began.get((VmId(vm), decision.rule.policy, decision.rule.rule))
