"""Which peers a VM addressed by a name, and what is known of the name itself.

A name leads to addresses in three ways: DNS answered them; the VM named it to them in TLS or HTTP during the windows
that are still open; or a finding names it together with its peer.  Names that a VM used are learned as registered
domains, without addresses, so that of older names often only that is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from netpersona.errors import ConfigError
from netpersona.flow.vm import canonical_address
from netpersona.policy.values import UnreadableError, domain

if TYPE_CHECKING:
    from netpersona.persona.model import Persona, Usage
    from netpersona.ports import Store
    from netpersona.risk.finding import Finding

_DNS = 53  # the peer of a finding at this port is a resolver, not what the name stands for


class Address(NamedTuple):
    """An address that the VM reached, or was told to reach, by a name."""

    address: str
    name: str  # the name asked about, or one below it
    how: str
    last: int  # µs


@dataclass(frozen=True, slots=True)
class NamedPeer:
    """What a store knows of a name, as one VM met it."""

    name: str
    addresses: tuple[Address, ...]  # the newest first, each address once
    learned: Usage | None  # how much the VM used it, or the registered domain above it
    learned_as: str | None
    findings: tuple[Finding, ...]  # that name it


def name_of(text: str) -> str | None:
    """The domain name, canonical; None for an address.  Raises ConfigError for what is neither."""
    if "%" in text:
        raise ConfigError(f"{text!r} names a zone, which a flow does not; leave '%' and what follows out")
    try:
        canonical_address(text)
    except ValueError:
        pass
    else:
        return None
    try:
        return domain(text)
    except UnreadableError as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise ConfigError(f"{text!r} is neither an address nor a name: {error}{hint}") from None


def named_peer(store: Store, persona: Persona, name: str) -> NamedPeer:
    """What the store knows of this name (lower case), as this VM met it."""
    findings = tuple(f for f in store.findings(persona.vm) if _names(f, name))
    newest: dict[str, Address] = {}
    for seen in sorted(_seen(store, persona, name, findings), key=lambda a: (a.last, a.how, a.name)):
        newest[seen.address] = seen
    ordered = sorted(newest.values(), key=lambda a: (a.last, a.address), reverse=True)
    known_as = next((above for above in _itself_and_above(name) if above in persona.profile.names), None)
    learned = None if known_as is None else persona.profile.names[known_as]
    return NamedPeer(name, tuple(ordered), learned, known_as, findings)


def _seen(store: Store, persona: Persona, name: str, findings: Iterable[Finding]) -> Iterator[Address]:
    for asked, answers in store.names().get(persona.vm, {}).items():
        if _below(asked, name):
            yield from (Address(address, asked, "DNS answered it", last) for address, last in answers.items())
    yield from _greeted(store, persona, name)
    for f in findings:
        if f.peer is not None and f.port != _DNS and f.evidence.get("via") != "dns":
            yield Address(f.peer, _listed(f) or name, f"the finding {f.kind} says so", f.last_seen)


def _greeted(store: Store, persona: Persona, name: str) -> Iterator[Address]:
    """The peers to which the VM named it lately: in TLS or HTTP, in the flows that the store still holds."""
    own = [address.partition("/")[0] for address in persona.base.addresses]
    pending = store.pending()
    said = pending.transactions.filter(pl.col("kind").is_in(["tls", "http"])).select(
        "originator", "responder", "name", "start"
    )
    flows = pending.flows.select("originator", "responder", pl.col("server_name").alias("name"), "start")
    met = (
        pl.concat([said, flows])
        .filter(pl.col("originator").is_in(own))
        .filter((pl.col("name") == name) | pl.col("name").str.ends_with(f".{name}"))
        .group_by("responder", "name")
        .agg(pl.col("start").max())
    )
    for peer, called, last in met.sort("responder", "name").iter_rows():
        yield Address(peer, called, "the VM named it in TLS or HTTP", last)


def _names(finding: Finding, name: str) -> bool:
    """Whether the finding is about this name, one below it, or the listed name above it."""
    listed = _listed(finding)
    if listed and (_below(listed, name) or _below(name, listed)):
        return True
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-]|\.\w)", finding.why.lower()) is not None


def _listed(finding: Finding) -> str:
    """The domain that the finding is about, if it is about one."""
    about = finding.evidence.get("domain", finding.evidence.get("indicator", ""))
    return str(about) if finding.evidence.get("via") != "address" else ""


def _below(name: str, top: str) -> bool:
    return name == top or name.endswith(f".{top}")


def _itself_and_above(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.partition(".")[2]
