"""The answer of `netpersona why` on a terminal: the verdict, then line by line what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from netpersona.app.clock import clock
from netpersona.flow.words import counted

_OWNERS = 3  # of the parts of the risk that do not concern the peer: so many are named


def drawn(told: Mapping[str, Any]) -> Any:
    """The answer, as `why` tells it to machines, for people."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    colour = (
        "green" if told["verdict"] == "allow" else "bold red" if told["verdict"] in {"deny", "reject"} else "yellow"
    )
    port = f" port {told['port']}" if told["port"] else ""
    way = "to" if told["direction"] == "outbound" else "from"
    flow = "an established" if told["established"] else "a new"
    peer = told["name"] if told["peer"] is None else told["peer"]
    name = f" ({told['name']})" if "name" in told and told["peer"] is not None else ""
    head = Text.assemble(
        (told["verdict"], colour), f": {flow} {told['protocol']} flow of {told['vm']} {way} {peer}{name}{port}"
    )
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    for label, text in _lines(told):
        grid.add_row(f"  {label}", Text(text))
    return Group(head, grid)


def _lines(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    persona, listed, rule = told["persona"], told["indicators"], told["rule"]
    yield "because", told["why"]
    yield "by", _rule_words(rule)
    for text in told["staged"]:
        yield "staged", text
    if "receipts" in told:
        yield "receipts", _receipts_words(told["receipts"])
    if "name" in told:
        yield from _name_lines(told)
    yield "known", _known_words(persona["known_peer"])
    yield "indicator", listed["words"]
    for row in listed["listings"]:
        yield "", _listing_words(row)
    learned = f"{persona['completeness']:.1%} learned" if persona["completeness"] else "nothing learned yet"
    yield "risk", f"{persona['risk']:.3f} (persona version {persona['version']}, {learned})"
    for t in persona["risk_terms"]:
        yield "", f"+{t['log_odds']:.2f} {t['detector']} {t['peer'] or 'many'}: {t['why']}"
    if persona["risk_elsewhere"]["terms"]:
        yield "", _elsewhere_words(persona["risk_elsewhere"], told["vm"], first=not persona["risk_terms"])
    for f in persona["findings"]:
        yield "finding", f"{f['kind']}: {f['why']}"
    for text in told["otherwise"]:
        yield "otherwise", text


def _receipts_words(met: Mapping[str, Any]) -> str:
    first, last = (clock(round(met[which] * 1e6)) for which in ("first", "last"))
    when = f"at {first}" if first == last else f"from {first} to {last}"
    return f"the kernel told of {counted(met['packets'], 'packet')} {when}, met by {', '.join(met['rules'])}"


def _name_lines(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name, known = told["name"], told["known_by_name"]
    if not known["addresses"]:
        yield "name", _no_address(name, told["vm"])
    for n, seen in enumerate(known["addresses"]):
        other = "" if n == 0 else f": {seen['verdict']}, {seen['why']}"
        called = "" if seen["name"] == name else f" as {seen['name']}"
        yield "name", f"{seen['address']}{called}: {seen['how']}, last {clock(round(seen['last'] * 1e6))}{other}"
    answered = known["if_answered"]
    if answered["verdict"] != told["verdict"]:
        yield "", f"an address that DNS would answer {told['vm']} for it: {answered['verdict']}, {answered['why']}"
    used = known["learned"]
    if used is not None:
        first, last = (clock(round(used[which] * 1e6)) for which in ("first", "last"))
        times = counted(max(1, round(used["uses"])), "time")  # a decaying count: hence "about"
        yield "", f"{used['name']} is a learned name, used about {times} from {first} to {last}"


def _no_address(name: str, vm: str) -> str:
    return (
        f"no address of {name} is stored for {vm}: neither a DNS answer, nor a TLS or HTTP name of the last hour, "
        f"nor a finding has one. The verdict is that on an address that DNS would answer {vm} for it"
    )


def _elsewhere_words(rest: Mapping[str, Any], vm: str, *, first: bool) -> str:
    shown, more = rest["owners"][:_OWNERS], len(rest["owners"]) - _OWNERS
    owners = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    none = "none of it concerns this peer; " if first else ""
    what = counted(rest["terms"], "part" if first else "other part")
    return f"{none}+{rest['log_odds']:.2f} in {what}: {owners} (netpersona risk explain {vm})"


def _rule_words(rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return "no rule; the built-in order decides"
    return f"{rule['policy']}/{rule['rule']}, version {rule['version']}"


def _known_words(known: Sequence[Mapping[str, Any]]) -> str:
    said = [
        f"{k['service']} {k['flows']:g} {'flow' if k['flows'] == 1 else 'flows'} since {clock(round(k['first'] * 1e6))}"
        for k in known
    ]
    return ", ".join(said) or "this peer is not in the learned profile"


def _listing_words(row: Mapping[str, Any]) -> str:
    since = "no date given" if row["since"] is None else f"since {clock(round(row['since'] * 1e6))}"
    until = "" if row["until"] is None else f", until {clock(round(row['until'] * 1e6))}"
    state = "" if row["in_force"] else ", not in force"
    said = f"{row['value']} in {row['feed']}, line {row['line']}, {since}{until}"
    return f"{said}, confidence {row['confidence']:.2f}{state}"
