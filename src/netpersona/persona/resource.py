"""The persona as a resource that people and scripts read: what it shows, in which words, and what gives way.

A resource stays within LIMIT bytes of compact JSON whatever the traffic: texts are cut, and where that is not enough
the entries that say least go first, each counted where it stood.  What people wrote (labels, rules) is never cut.
The replay report shows the same in full, with times as seconds.

The risk is an argument, as the ledger that computes it stands to the right of this package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from netpersona.persona.model import (
    BaseNetworkConfig,
    BehavioralSignature,
    Completeness,
    Kind,
    Mitigation,
    Persona,
    RiskTerm,
    TrafficProfile,
    Usage,
)
from netpersona.persona.profile import HALF_LIFE, volume_quantile

API_VERSION = "netpersona/v1"
LIMIT = 8192  # bytes
TEXT_CUT = 200  # characters of a sentence
NAME_CUT = 64  # characters of a name
AT_MOST = {"behavioral_signatures": 8, "risk_ledger": 8, "mitigations": 12}

_Entry = dict[str, Any]
_Lists = dict[str, list[_Entry]]  # each with the weightiest entry first
_Time = Callable[[int], str | float]
_COUNTERS = 160  # bytes kept free for the counts of what went
_CANONICAL = msgspec.json.Encoder(order="deterministic")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def resource(persona: Persona, at: int, risk: float) -> dict[str, Any]:
    """The persona at the instant `at` (µs), bounded; `risk` is its score then (0 to 1).  Times are RFC 3339, UTC."""
    lists = _lists(persona, at, rfc3339, cut=True)
    shown = {name: min(len(entries), AT_MOST.get(name, len(entries))) for name, entries in lists.items()}
    whole = _resource(persona, risk, lists, shown)
    surplus = len(canonical_json(whole)) - LIMIT
    if surplus <= 0:
        return whole
    return _resource(persona, risk, lists, _fitting(lists, shown, surplus + _COUNTERS))


def report_object(persona: Persona, at: int, risk: float) -> dict[str, Any]:
    """The persona at the instant `at` (µs) as the replay report shows it, whole.  Times are seconds since the epoch."""
    lists = _lists(persona, at, seconds, cut=False)
    shown = {name: len(entries) for name, entries in lists.items()}
    return {
        "vm": persona.vm,
        "addresses": list(persona.base.addresses),
        "version": persona.version,
        "labels": dict(sorted(persona.labels.items())),
        "learning": persona.learning,
        "base_network_config": _base(persona.base),
        "traffic_profile": _profile(persona, lists, shown, seconds),
        "behavioral_signatures": lists["behavioral_signatures"],
        "risk_score": risk,
        "risk_prior": persona.risk_prior,
        "risk_ledger": lists["risk_ledger"],
        "completeness": {"seen": round(persona.completeness.seen, 6), **_completeness(persona.completeness)},
        "mitigation_rules": [_written(rule) for rule in persona.mitigation_rules],
        "mitigations": lists["mitigations"],
    }


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """The one compact JSON text of a resource: names sorted, UTF-8."""
    return _CANONICAL.encode(value)


def rfc3339(at: int) -> str:
    """The instant (µs since the epoch) as RFC 3339 text in UTC; beyond the calendar, its nearest end."""
    try:
        moment = _EPOCH + timedelta(microseconds=at)
    except OverflowError:
        moment = datetime.max.replace(tzinfo=UTC) if at > 0 else datetime.min.replace(tzinfo=UTC)
    text = moment.replace(tzinfo=None).isoformat()
    return f"{text.rstrip('0') if '.' in text else text}Z"


def seconds(at: int) -> float:
    """The instant (µs since the epoch) in seconds."""
    return at / 1_000_000


def _resource(persona: Persona, risk: float, lists: _Lists, shown: Mapping[str, int]) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Persona",
        "metadata": {
            "name": persona.vm,
            "labels": dict(sorted(persona.labels.items())),
            "version": persona.version,
        },
        "spec": {
            "base_network_config": _base(persona.base),
            "learning": {"state": persona.learning},
            "mitigation_rules": [_written(rule) for rule in persona.mitigation_rules],
        },
        "status": {
            "traffic_profile": _profile(persona, lists, shown, rfc3339),
            **_bounded("behavioral_signatures", lists, shown),
            "risk_score": risk,
            **_bounded("risk_ledger", lists, shown),
            "completeness": _completeness(persona.completeness),
            "exposure": {"kinds": list(persona.exposure), "ports": list(persona.exposed_ports)},
            **_bounded("mitigations", lists, shown),
        },
    }


def _bounded(name: str, lists: _Lists, shown: Mapping[str, int]) -> dict[str, Any]:
    """The list as far as it is shown, and beside it how many more there are, where there are any."""
    entries, count = lists[name], shown[name]
    more = {f"{name}_more": len(entries) - count} if count < len(entries) else {}
    return {name: entries[:count], **more}


# What gives way, first to last: the light part of the profile, then of the ledger and of the signatures, then all of
# these, and what is in force only at the very end.  (list, how many of its weightiest stay)
_GIVES_WAY = (
    (("services", "peers", "names", "fingerprints"), 5),
    (("risk_ledger", "behavioral_signatures"), 3),
    (("services", "peers", "names", "fingerprints"), 0),
    (("risk_ledger", "behavioral_signatures"), 0),
    (("mitigations",), 0),
)


def _fitting(lists: _Lists, shown: Mapping[str, int], surplus: int) -> dict[str, int]:
    """How many entries of each list can be shown once `surplus` bytes are gone."""
    left = dict(shown)
    for names, stay in _GIVES_WAY:
        for _ in range(sum(left[name] for name in names)):
            longest = max(names, key=lambda name: (left[name], name))
            if surplus <= 0 or left[longest] <= stay:
                break
            left[longest] -= 1
            surplus -= len(canonical_json(lists[longest][left[longest]])) + 1
    return left


def _lists(persona: Persona, at: int, time: _Time, cut: bool) -> _Lists:
    """Everything that comes in lists, in full, each with the weightiest entry first."""
    kinds, latest = persona.profile.kinds, _latest(persona.profile)
    total = _total(persona.profile)
    inbound = {kind: usage for kind, usage in kinds.items() if kind.direction == "inbound"}
    outbound = {kind: usage for kind, usage in kinds.items() if kind.direction != "inbound"}
    return {
        "services": [_service(k, u, total, latest) for k, u in _heaviest(inbound, latest)],
        "peers": [
            {"peer": _name(k.peer, cut), **_service(k, u, total, latest)} for k, u in _heaviest(outbound, latest)
        ],
        "names": _shares("name", persona.profile.names, cut),
        "fingerprints": _shares("fingerprint", persona.profile.fingerprints, cut),
        "behavioral_signatures": [_signature(s, time, cut) for s in sorted(persona.signatures, key=_surest)],
        "risk_ledger": [_term(t, at, time, cut) for t in sorted(persona.risk_ledger, key=lambda t: _gravest(t, at))],
        "mitigations": [_mitigation(m, time, cut) for m in _in_force(persona.mitigations, at)],
    }


def _profile(persona: Persona, lists: _Lists, shown: Mapping[str, int], time: _Time) -> dict[str, Any]:
    profile = persona.profile
    kinds = [entry for name in ("services", "peers") for entry in lists[name][: shown[name]]]
    hidden = {name: len(lists[name]) - shown[name] for name in ("services", "peers", "names", "fingerprints")}
    total, shown_flows = _total(profile), math.fsum(entry["flows"] for entry in kinds)
    whole: dict[str, Any] = {
        "flows": profile.flows,
        "windows": profile.windows,
        "explains": round(min(1.0, shown_flows / total), 4) if total else 1.0,
        "dropped": {
            "kinds": profile.dropped_kinds + hidden["services"] + hidden["peers"],
            "flows": round(max(0.0, total - shown_flows), 1),
            **{name: hidden[name] for name in ("names", "fingerprints") if hidden[name]},
        },
        "volumes": {
            "out": _volumes(profile.volumes_out),
            "in": _volumes(profile.volumes_in),
            "unit": "bytes per active window",
        },
        "hours": _hours(profile.hours),
        **{name: lists[name][: shown[name]] for name in ("services", "peers", "names", "fingerprints")},
    }
    spans = {"first_seen": persona.first_seen, "last_seen": persona.last_seen, "learned_until": persona.learned_until}
    return whole | {name: time(instant) for name, instant in spans.items() if instant is not None}


def _base(base: BaseNetworkConfig) -> dict[str, Any]:
    """The configuration without what is not known; `inferred` stands only where it is true."""
    known: dict[str, Any] = {
        "interface": base.interface,
        "mac": base.mac,
        "addresses": list(base.addresses),
        "gateways": list(base.gateways),
        "resolvers": list(base.resolvers),
        "mtu": base.mtu,
        "inferred": base.inferred or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _written(value: Any) -> Any:
    """A rule in the one order in which it is shown: its name, its condition, then the rest by name."""
    if isinstance(value, Mapping):
        order = sorted(value, key=lambda name: (name != "name", name != "when", name))
        return {name: _written(value[name]) for name in order}
    return [_written(part) for part in value] if isinstance(value, list | tuple) else value


def _completeness(completeness: Completeness) -> dict[str, float]:
    return {"unseen": completeness.unseen, "low": completeness.low, "high": completeness.high}


def _heaviest(kinds: Mapping[Kind, Usage], latest: int) -> list[tuple[Kind, Usage]]:
    return sorted(kinds.items(), key=lambda item: (-_flows(item[1], latest), item[0]))


def _service(kind: Kind, usage: Usage, total: float, latest: int) -> _Entry:
    flows = _flows(usage, latest)
    return {
        "service": f"{kind.transport[:16]}/{kind.port}" if kind.port else kind.transport[:16],
        "share": round(flows / total, 4) if total else 0.0,
        "flows": round(flows, 1),
        "bytes_out": round(_halved(usage.bytes_out, usage.last, latest, HALF_LIFE)),
        "bytes_in": round(_halved(usage.bytes_in, usage.last, latest, HALF_LIFE)),
    }


def _shares(word: str, table: Mapping[str, Usage], cut: bool) -> list[_Entry]:
    """Each name with its share among the names of the table."""
    latest = max((usage.last for usage in table.values()), default=0)
    total = math.fsum(_flows(usage, latest) for usage in table.values())
    ordered = sorted(table.items(), key=lambda item: (-_flows(item[1], latest), item[0]))
    return [{word: _name(n, cut), "share": round(_flows(u, latest) / total, 4) if total else 0.0} for n, u in ordered]


def _volumes(bins: tuple[int, ...]) -> dict[str, int]:
    """Quantiles from the bins: each is the upper edge of a half-octave, so at most 41 % too high."""
    shares = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    return {word: round(volume_quantile(bins, share)) for word, share in shares.items()}


def _hours(hours: Iterable[float]) -> list[float]:
    """The share of the flows in each hour of the day (UTC)."""
    counts = list(hours)
    total = math.fsum(counts)
    return [round(count / total, 3) if total else 0.0 for count in counts]


def _signature(signature: BehavioralSignature, time: _Time, cut: bool) -> _Entry:
    shown: _Entry = {
        "name": signature.name,
        "since": time(signature.since),
        "last": time(signature.last),
        "peer": None if signature.peer is None else _name(signature.peer, cut),
        "confidence": signature.confidence,
        "why": _sentence(signature.why, cut),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _term(term: RiskTerm, at: int, time: _Time, cut: bool) -> _Entry:
    shown: _Entry = {
        "source": term.detector,
        "peer": None if term.peer is None else _name(term.peer, cut),
        "weight": round(term.weight, 4),
        "now": round(_weight(term, at), 4),
        "half_life_s": term.half_life / 1_000_000,
        "at": time(term.at),
        "finding": term.finding,
        "feeds": [_name(feed, cut) for feed in term.feeds[: 4 if cut else None]] or None,
        "why": _sentence(term.why, cut),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _mitigation(mitigation: Mitigation, time: _Time, cut: bool) -> _Entry:
    shown: _Entry = {
        "policy": _name(mitigation.policy, cut),
        "rule": _name(mitigation.rule, cut),
        "policy_version": mitigation.policy_version,
        "since": time(mitigation.since),
        "until": None if mitigation.until is None else time(mitigation.until),
        "why": _sentence(mitigation.why, cut),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _surest(signature: BehavioralSignature) -> tuple[float, int, str, str]:
    return (-signature.confidence, -signature.last, signature.name, signature.peer or "")


def _gravest(term: RiskTerm, at: int) -> tuple[float, int, str, str, str]:
    return (-_weight(term, at), -term.at, term.detector, term.peer or "", term.finding)


def _weight(term: RiskTerm, at: int) -> float:
    """What the term adds at `at`, before its group's cap."""
    return _halved(term.weight, term.at, at, term.half_life) if at >= term.at else 0.0


def _in_force(mitigations: Iterable[Mitigation], at: int) -> list[Mitigation]:
    """Those whose end has not come, the newest first."""
    running = [m for m in mitigations if m.until is None or m.until > at]
    return sorted(running, key=lambda m: (-m.since, m.policy, m.rule))


def _latest(profile: TrafficProfile) -> int:
    return max((usage.last for usage in profile.kinds.values()), default=0)


def _total(profile: TrafficProfile) -> float:
    """All flows of the profile, faded to its latest instant, those of dropped kinds among them."""
    latest = _latest(profile)
    return math.fsum(_flows(usage, latest) for usage in profile.kinds.values()) + profile.dropped_flows


def _flows(usage: Usage, latest: int) -> float:
    return _halved(usage.flows, usage.last, latest, HALF_LIFE)


def _halved(amount: float, since: int, at: int, half_life: int) -> float:
    """What is left of an amount that is halved every `half_life` (µs)."""
    return float(amount * 2.0 ** (-(at - since) / half_life)) if half_life > 0 else 0.0


def _name(text: str, cut: bool) -> str:
    return text if not cut or len(text) <= NAME_CUT else f"{text[: NAME_CUT - 1]}…"


def _sentence(text: str, cut: bool) -> str:
    return text if not cut or len(text) <= TEXT_CUT else f"{text[: TEXT_CUT - 1]}…"
