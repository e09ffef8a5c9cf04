"""Flows that our own rules stopped are no evidence: a retry against a block says nothing that was not known.

Told by the model: a flow that nobody answered, that the rules in force deny, and that began after the rule that denies
it.  What led to the rule began before it, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from netpersona.flow.orient import answered_by_responder
from netpersona.flow.vm import VmId
from netpersona.policy.model import Direction
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.verdict import Packet, verdict

MOST = 20_000  # flows, alike in all of _FLOW, of which a verdict is remembered
_FLOW = ["vm", "direction", "peer", "transport", "port"]
_STOPS = frozenset({"deny", "reject"})

_Key = tuple[str, str, str, str, int]
Began = Mapping[tuple[VmId, str, str], int]  # (VM, policy, rule) -> since when it is in force, µs


@dataclass(slots=True)
class Stopped:
    """Remembers since when which flows are stopped, by the rules in force."""

    _ruleset: Ruleset | None = None
    _began: Began = field(default_factory=dict)
    _verdicts: dict[_Key, int | None] = field(default_factory=dict)  # -> since when it is denied, µs

    def follow(self, ruleset: Ruleset, began: Began) -> None:
        """Take the rules that are in force now."""
        self._ruleset, self._began = ruleset, began
        self._verdicts.clear()

    def without(self, flows: pl.DataFrame) -> pl.DataFrame:
        """The oriented flows without those that were stopped."""
        if self._ruleset is None or not flows.height:
            return flows
        tried = flows.filter(~answered_by_responder()).select(_FLOW).unique()
        since = [(*key, at) for key in tried.iter_rows() if (at := self._since(key)) is not None]
        if not since:
            return flows
        schema = {**{name: flows.schema[name] for name in _FLOW}, "stopped": pl.Int64()}
        marked = flows.join(pl.DataFrame(since, schema=schema, orient="row"), on=_FLOW, how="left")
        kept = pl.col("stopped").is_null() | (pl.col("start") < pl.col("stopped")) | answered_by_responder()
        return marked.filter(kept).drop("stopped")

    def _since(self, key: _Key) -> int | None:
        if key not in self._verdicts:
            if len(self._verdicts) >= MOST:
                self._verdicts.clear()
            self._verdicts[key] = self._asked(key)
        return self._verdicts[key]

    def _asked(self, key: _Key) -> int | None:
        assert self._ruleset is not None
        vm, direction, peer, transport, port = key
        decision = verdict(self._ruleset, Packet(VmId(vm), Direction(direction), peer, transport, port))
        if decision.rule is None or decision.verdict not in _STOPS:
            return None
        return self._began.get((VmId(vm), decision.rule.policy, decision.rule.rule))
