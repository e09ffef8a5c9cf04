"""Personas on a terminal: what a newcomer sees first is who it is, how worried we are, and how much we know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from netpersona.flow.words import counted
from netpersona.risk.ledger import word

_COLOURS = {"low": "green", "elevated": "yellow", "high": "bold red"}
_BARS = "▁▂▃▄▅▆▇█"
_ROWS = 10  # services and peers in a table; JSON and YAML have all
_LEAST = {"address": 15, "VM": 5}  # columns: no IPv4 address is folded
_Object = Mapping[str, Any]


def personas_table(personas: Sequence[_Object]) -> RenderableType:
    """The personas of `persona list`, one row each."""
    if not personas:
        return Text("The store knows no VM yet.")
    rows = _table("VM", "address", "risk", "known", "last seen (UTC)")
    rows.padding = (0, 1, 0, 0)  # so that all of it fits 80 columns
    for p in personas:
        frozen = " frozen" if p["learning"] == "frozen" else ""
        rows.add_row(
            Text(p["vm"], style="bold"),
            _and_more([address.partition("/")[0] for address in p["addresses"]], more_word=""),
            _risk(p["risk_score"]),
            f"{p['completeness']['seen']:.1%}{frozen}",
            clock(p.get("last_seen"))[:16],
        )
    notes = Text(
        "risk: now, of a store when the VM was last seen; or at --at.  "
        "known: how likely its next flow is of a kind seen before.",
        style="dim",
    )
    return Group(rows, *_recognised(personas), Text(""), notes)


def _recognised(personas: Sequence[_Object]) -> Iterator[RenderableType]:
    """Below the rows, not in them: whose behaviour was recognised, and as what."""
    known = [(p["vm"], ", ".join(p["signatures"])) for p in personas if p["signatures"]]
    if known:
        yield Text("\nrecognised", style="dim")
        yield _pairs(known)


def persona_table(told: _Object) -> RenderableType:
    """One persona in full: `told` is its resource."""
    status, spec = told["status"], told["spec"]
    parts: list[RenderableType] = [_head(told)]
    parts += _section("Network", [_network(spec["base_network_config"])])
    parts += _section("Recognised behaviour", _signatures(status))
    parts += _section("What the risk adds up from", _ledger(status))
    parts += _section("Normal traffic", _traffic(status["traffic_profile"]))
    parts += _section("Own rules", [_pairs((r.get("name", "?"), _rule(r)) for r in spec["mitigation_rules"])])
    parts += _section("In force", _mitigations(status))
    return Group(*parts)


def history_table(versions: Sequence[_Object]) -> RenderableType:
    """The versions of a persona, oldest first."""
    if not versions:
        return Text("No version is stored yet.")
    rows = _table("version", "when (UTC)", "risk", "why")
    for v in versions:
        rows.add_row(str(v["version"]), clock(v["at"]), _risk(v["risk_score"]), v["why"])
    return rows


def changes_table(told: _Object) -> RenderableType:
    """What differs between two personas."""
    head = Text(f"{told['before']} -> {told['after']}", style="bold")
    if not told["changes"]:
        return Group(head, Text("Nothing differs."))
    rows = _table("what", told["before"], told["after"])
    for change in told["changes"]:
        path = change["path"].removeprefix("status.").removeprefix("spec.")
        rows.add_row(path, _value(change["before"]), _value(change["after"]))
    return Group(head, Text(""), rows)


def clock(at: str | None) -> str:
    """An instant in RFC 3339 for a person: to the second, UTC."""
    return "-" if at is None else at[:19].replace("T", " ").removesuffix("Z")


def _head(told: _Object) -> Text:
    meta, status = told["metadata"], told["status"]
    seen = 1.0 - status["completeness"]["unseen"]
    head = Text.assemble((meta["name"], "bold"), f"  version {meta['version']}, risk ", _risk(status["risk_score"]))
    frozen = "frozen: it learns nothing" if told["spec"]["learning"]["state"] == "frozen" else "learning"
    labels = "".join(f"  {name}={value}" for name, value in meta["labels"].items())
    last = status["traffic_profile"].get("last_seen")
    when = "not seen yet" if last is None else f"last seen {clock(last)} UTC"
    known = f"its next flow is of a known kind with {seen:.1%}" if seen else "no flow of it is of a known kind yet"
    return head.append(f", {frozen}{labels}\n{when}; {known}")


def _network(base: _Object) -> RenderableType:
    said = [(name, ", ".join(value) if isinstance(value, list) else str(value)) for name, value in base.items()]
    pairs = _pairs((name, text) for name, text in said if text and name != "inferred")
    note = Text("inferred from the traffic: no inventory names this VM", style="dim")
    return Group(pairs, note) if base.get("inferred") else pairs


def _signatures(status: _Object) -> list[RenderableType]:
    told = [
        (
            Text.assemble((s["name"], "bold"), f"  {s['confidence']:.0%} sure, {_with(s)}since {clock(s['since'])}"),
            s["why"],
        )
        for s in status["behavioral_signatures"]
    ]
    return [*_told(told), *_more(status, "behavioral_signatures")]


def _ledger(status: _Object) -> list[RenderableType]:
    told = [
        (
            Text.assemble(
                (f"+{t['now']:.2f}", "bold"),
                f"  {t['source']}, {_with(t)}+{t['weight']:.2f} at {clock(t['at'])[:16]}, ",
                f"halves in {_span(t['half_life_s'])}",
            ),
            t["why"],
        )
        for t in status["risk_ledger"]
    ]
    return [*_told(told), *_more(status, "risk_ledger")]


def _mitigations(status: _Object) -> list[RenderableType]:
    told = [
        (
            Text.assemble(
                (f"{m['policy']}/{m['rule']}", "bold"),
                f"  since {clock(m['since'])}, ",
                f"until {clock(m['until'])}" if "until" in m else "until its condition is over",
            ),
            m["why"],
        )
        for m in status["mitigations"]
    ]
    return [*_told(told), *_more(status, "mitigations")]


def _with(entry: _Object) -> str:
    return f"{entry['peer']}, " if entry.get("peer") else ""


def _told(told: Iterable[tuple[Text, str]]) -> list[RenderableType]:
    """Each thing on a line of its own, and below it why."""
    return [part for head, why in told for part in (head, Padding(Text(why), (0, 0, 0, 2)))]


def _traffic(profile: _Object) -> list[RenderableType]:
    if not profile["flows"]:
        return [Text("nothing learned yet: windows are learned when they are over, if they were calm", style="dim")]
    kept = len(profile["services"]) + len(profile["peers"])
    facts = [
        ("learned", f"{counted(profile['flows'], 'flow')} in {counted(profile['windows'], 'active window')}"),
        ("explained", f"{profile['explains']:.1%} of it by {counted(kept, 'kind')}; {_dropped(profile)}"),
        ("sends", _volume(profile["volumes"]["out"])),
        ("receives", _volume(profile["volumes"]["in"])),
        ("hours (UTC)", f"{_line(profile['hours'])}  0h to 23h"),
        ("names", _and_more([n["name"] for n in profile["names"]], 6)),
        ("fingerprints", _and_more([f["fingerprint"] for f in profile["fingerprints"]], 2)),
    ]
    parts: list[RenderableType] = [_pairs((name, text) for name, text in facts if text)]
    for title, name in (("serves", "services"), ("calls", "peers")):
        if profile[name]:
            parts += [Text(""), _kinds(title, profile[name])]
    return parts


def _dropped(profile: _Object) -> str:
    count = profile["dropped"]["kinds"]
    return f"{count:,} more {'is' if count == 1 else 'are'} counted"


def _kinds(title: str, kinds: Sequence[_Object]) -> RenderableType:
    rows = _table(title, "service", "share", "", "sent", "received")
    for column in rows.columns[4:]:
        column.justify = "right"
    for k in kinds[:_ROWS]:
        bar = "█" * round(k["share"] * 20) or "▏"
        sizes = (_size(k["bytes_out"]), _size(k["bytes_in"]))
        rows.add_row(k.get("peer", "anyone"), k["service"], f"{k['share']:.1%}", Text(bar, style="cyan"), *sizes)
    more = len(kinds) - _ROWS
    return Group(rows, Text(f"and {more} more", style="dim")) if more > 0 else rows


def _section(title: str, parts: Iterable[RenderableType]) -> list[RenderableType]:
    """A heading and what stands below it; nothing at all where there is nothing to show."""
    shown = [part for part in parts if not (isinstance(part, Table) and not part.rows)]
    return [Text(f"\n{title}", style="bold"), Padding(Group(*shown), (0, 0, 0, 2))] if shown else []


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    narrow = {"risk", "last seen (UTC)", "when (UTC)", "known", "share", "version", "service", "sent", "received"}
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in narrow, min_width=_LEAST.get(name))
    return table


def _pairs(pairs: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in pairs:
        table.add_row(name, text)
    return table


def _more(status: _Object, name: str) -> list[RenderableType]:
    more = status.get(f"{name}_more", 0)
    return [Text(f"and {more} that weigh less", style="dim")] if more else []


def _risk(score: float) -> Text:
    return Text(f"{score:.2f} {word(score)}", style=_COLOURS[word(score)])


def _rule(rule: _Object) -> str:
    return ", ".join(f"{name}: {value}" for name, value in rule.items() if name != "name")


def _and_more(texts: Sequence[str], shown: int = 1, more_word: str = " more") -> str:
    more = len(texts) - shown
    return ", ".join(texts[:shown]) + (f" +{more}{more_word}" if more > 0 else "")


def _volume(volume: _Object) -> str:
    half, most, largest = (_size(volume[name]) for name in ("p50", "p95", "max"))
    return f"half of the active windows up to {half}, 95% up to {most}, all up to {largest}"


def _line(shares: Sequence[float]) -> str:
    top = max(shares, default=0.0)
    return "".join(_BARS[int(share / top * (len(_BARS) - 1) + 0.5)] if top else _BARS[0] for share in shares)


def _size(size: float) -> str:
    """Bytes for a person: 1.5 kB, 20 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            return f"{size:.0f} {unit}" if size >= 9.95 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def _span(seconds: float) -> str:
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


def _value(value: Any) -> str:
    """One side of a change, short enough for a table."""
    if value is None:
        return "-"
    if isinstance(value, Mapping) and "why" in value:
        return str(value["why"])
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(part)}" for name, part in value.items())
    if isinstance(value, list):
        return (
            _line(value)
            if len(value) == 24 and all(isinstance(n, float) for n in value)
            else ", ".join(map(str, value))
        )
    return str(value)
