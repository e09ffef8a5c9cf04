"""The detectors' working memory of one VM: what has to be known of past windows to judge the next one.

    contacts    outbound, by service and peer      when it was called, how often, how much went
    sources     inbound, by peer                   which ports it tried without an answer
    targets     outbound, by peer                  which ports of it did not answer
    spreads     outbound, by service               which peers did not answer there
    logins      by direction, peer and port        attempts to log in
    unresolved  by registered domain               names that do not exist
    subnames    by registered domain               long names asked for below it
    episodes    by what a finding is about         since when it has been raised

Bounded by counts: at most 64 KiB serialised in the worst case.  Where a table is full, the entries that were used least
and longest ago go first; that depends on their content alone, so a restart or another order of reading changes nothing.
Times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar
from zlib import crc32

import msgspec

from netpersona.flow.window import DAY, HOUR, MINUTE
from netpersona.observation.model import CHATTER, Conversation, NameUse, Observation, Probe
from netpersona.persona.domains import registered_domain

GAPS_KEPT = 24
PORTS_KEPT = 10
PEERS_KEPT = 32
SUBNAMES_KEPT = 32
CONTACTS_KEPT = 80
SOURCES_KEPT = 240
TARGETS_KEPT = 32
SPREADS_KEPT = 12
LOGINS_KEPT = 64
UNRESOLVED_KEPT = 48
DOMAINS_KEPT = 16
EPISODES_KEPT = 128
LONG_NAME = 30  # characters: shorter names carry little, and are not remembered as sub-names
DOMAIN_CUT = 48  # characters of a domain that are kept

CEILING = 1 << 60  # bytes: what hostile records claim must not outgrow the codec
UNSUITED = "?"  # stands for the registered domain of names under no public suffix

LOGIN_PORTS = frozenset({21, 22, 23, 2222, 3389, 5900})  # where people log in; databases are opened often by design
_COUNTED_PORTS = LOGIN_PORTS | {5060, 5061}  # where every flow counts; telephones log in with extensions
_WEB = frozenset({80, 443, 8080, 8443})
_MANY = 10  # answered flows in one window to one port: worth counting as log-ins whatever the port

_NO_GAPS: tuple[int, ...] = ()
_PORTED = frozenset({"tcp", "udp"})

_K = TypeVar("_K", str, int, tuple[str, int], tuple[str, int, str], tuple[str, str, int])
_V = TypeVar("_V")


class Contact(msgspec.Struct, frozen=True, array_like=True):
    """How the VM called one peer at one service, within a day of the first call."""

    flows: int
    answered: int
    bytes_out: int
    bytes_in: int
    first: int  # when the counts begin
    last: int  # the latest start
    gaps: tuple[int, ...]  # ms between the latest starts, in order


class Probing(msgspec.Struct, frozen=True, array_like=True):
    """Flows between one peer and the VM that were not answered."""

    ports: tuple[int, ...]  # sorted, distinct, the first PORTS_KEPT, whatever the transport
    flows: int
    first: int
    last: int


class Spread(msgspec.Struct, frozen=True, array_like=True):
    """Which peers did not answer at one service that the VM called."""

    peers: tuple[int, ...]  # CRC-32 of the addresses, sorted, distinct, the first PEERS_KEPT
    answered: int  # conversations at this service that were answered
    first: int
    last: int


class Logins(msgspec.Struct, frozen=True, array_like=True):
    """Attempts to log in, of which the outcome is known for some."""

    flows: int
    failed: int
    ok: int
    payload_out: int
    payload_in: int
    longest: int  # µs
    first: int
    last: int


class Subnames(msgspec.Struct, frozen=True, array_like=True):
    """Long names asked for below one registered domain."""

    seen: tuple[int, ...]  # CRC-32 of the names, sorted, distinct, the first SUBNAMES_KEPT
    uses: int
    longest: int  # characters
    first: int
    last: int


class Episode(msgspec.Struct, frozen=True, array_like=True):
    """One finding that goes on."""

    first: int  # the first instant it rests on
    last: int
    judged_at: int  # the end of the window in which it was first raised


_Contacts = dict[tuple[str, int, str], Contact]  # (transport, port, peer)
_Logins = dict[tuple[str, str, int], Logins]  # (direction, peer, port)


class Memory(msgspec.Struct, frozen=True):
    """The working memory of one VM; see the module's table."""

    contacts: _Contacts = {}
    sources: dict[str, Probing] = {}
    targets: dict[str, Probing] = {}
    spreads: dict[tuple[str, int], Spread] = {}  # (transport, port)
    logins: _Logins = {}
    unresolved: dict[str, int] = {}  # -> when last asked for
    subnames: dict[str, Subnames] = {}
    episodes: dict[int, Episode] = {}
    until: int = 0  # the end of the last window remembered


def remember(memory: Memory, observation: Observation) -> Memory:
    """The memory with one window added; a window that is not later than the last one adds nothing."""
    start, end = observation.window
    if end <= memory.until:
        return memory
    contacts, logins, vain = _calls(memory, observation.conversations)
    targets, spreads = memory.targets, memory.spreads
    if spreads:
        spreads = {service: spread for service, spread in spreads.items() if spread.last >= start - HOUR}
    if vain or spreads:
        targets, spreads = _failures(targets.copy(), spreads.copy(), observation.conversations)
    unresolved, subnames = memory.unresolved, memory.subnames
    if observation.names:
        unresolved, subnames = _names(memory, observation)
    return Memory(
        contacts,
        _probed(memory.sources, observation.probes),
        targets,
        spreads,
        logins,
        unresolved,
        subnames,
        memory.episodes,
        end,
    )


def with_episodes(memory: Memory, episodes: Mapping[int, Episode]) -> Memory:
    """The memory with these episodes opened or continued."""
    if not episodes:
        return memory
    merged = _bounded({**memory.episodes, **episodes}, EPISODES_KEPT, _by_episode)
    return Memory(
        memory.contacts, memory.sources, memory.targets, memory.spreads, memory.logins,
        memory.unresolved, memory.subnames, merged, memory.until,
    )  # fmt: skip


def _calls(memory: Memory, conversations: Sequence[Conversation]) -> tuple[_Contacts, _Logins, bool]:
    """The contacts and log-ins with the window's conversations, and whether the VM called anybody in vain."""
    contacts, logins, vain = memory.contacts.copy(), memory.logins, False
    for c in conversations:
        if c.direction == "outbound":
            key = (c.transport, c.port, c.peer)
            contacts[key] = _called(contacts.get(key), c)
            if not c.answered:
                vain = True
                continue
        if c.transport == "tcp" and _like_logins(c):
            logins = _attempts(logins, c)
    return _bounded(contacts, CONTACTS_KEPT, _by_contact), logins, vain


def _called(old: Contact | None, c: Conversation) -> Contact:
    """How the VM called a contact, with one more conversation."""
    began, starts = c.first, c.starts
    newest = last = starts[-1] if starts else began
    gaps = _gaps(starts) if len(starts) > 1 else _NO_GAPS
    if old is not None and began - old.last <= DAY:
        if starts:
            gaps = (*old.gaps, (began - old.last) // 1000 if began > old.last else 0, *gaps)[-GAPS_KEPT:]
        else:
            gaps = old.gaps
        last = newest if newest > old.last else old.last  # noqa: FURB136 - hot
        if began - old.first <= DAY:
            bytes_out, bytes_in = old.bytes_out + c.bytes_out, old.bytes_in + c.bytes_in
            return Contact(
                old.flows + c.flows,
                old.answered + c.answered,
                bytes_out if bytes_out < CEILING else CEILING,  # noqa: FURB136 - hot
                bytes_in if bytes_in < CEILING else CEILING,  # noqa: FURB136 - hot
                old.first,
                last,
                gaps,
            )
    return Contact(c.flows, c.answered, min(c.bytes_out, CEILING), min(c.bytes_in, CEILING), began, last, gaps)


def _newest(c: Conversation) -> int:
    """The latest start: an end may lie far ahead, and what a flow claims to last is not to be trusted."""
    return c.starts[-1] if c.starts else c.first


def _gaps(starts: tuple[int, ...]) -> tuple[int, ...]:
    """The gaps between the latest starts, ms."""
    return tuple([max(0, b - a) // 1000 for a, b in pairwise(starts[-GAPS_KEPT - 1 :])])


def _probed(sources: dict[str, Probing], probes: Sequence[Probe]) -> dict[str, Probing]:
    """What peers tried at the VM, with the probes of one window."""
    sources = sources.copy()
    for p in probes:
        if p.flows:
            sources[p.peer] = _tried(sources.get(p.peer), p)
    return _bounded(sources, SOURCES_KEPT, _by_probing)


def _tried(old: Probing | None, p: Probe) -> Probing:
    if old is None or p.first - old.last > DAY:
        return Probing(p.ports[:PORTS_KEPT], p.flows, p.first, p.last)
    ports, last = old.ports, p.last
    if ports != p.ports and len(ports) < PORTS_KEPT:
        ports = tuple(sorted((*ports, *sorted(set(p.ports).difference(ports))[: PORTS_KEPT - len(ports)])))
    return Probing(ports, old.flows + p.flows, old.first, last if last > old.last else old.last)  # noqa: FURB136 - hot


def _failures(
    targets: dict[str, Probing], spreads: dict[tuple[str, int], Spread], conversations: Sequence[Conversation]
) -> tuple[dict[str, Probing], dict[tuple[str, int], Spread]]:
    """The targets and spreads (both are used up) with the outbound conversations that nobody answered."""
    for c in conversations:
        if c.direction != "outbound" or c.port in CHATTER or c.transport not in _PORTED:
            continue
        service = (c.transport, c.port)
        if not c.answered:
            targets[c.peer] = _missed_at(targets.get(c.peer), c)
            spreads[service] = _missed(spreads.get(service), c)
        elif service in spreads:
            spreads[service] = _met(spreads[service], c)
    return _bounded(targets, TARGETS_KEPT, _by_probing), _bounded(spreads, SPREADS_KEPT, _by_spread)


def _missed_at(old: Probing | None, c: Conversation) -> Probing:
    """What the VM tried at a peer, with one conversation that was not answered."""
    port, missed = c.port, c.flows - c.answered
    if old is None or c.first - old.last > HOUR:
        return Probing((port,), missed, c.first, _newest(c))
    return Probing(_with(old.ports, port, PORTS_KEPT), old.flows + missed, old.first, max(old.last, _newest(c)))


def _missed(old: Spread | None, c: Conversation) -> Spread:
    peer = crc32(c.peer.encode())
    if old is None or c.first - old.last > HOUR:
        return Spread((peer,), 0, c.first, _newest(c))
    return Spread(_with(old.peers, peer, PEERS_KEPT), old.answered, old.first, max(old.last, _newest(c)))


def _met(old: Spread, c: Conversation) -> Spread:
    return Spread(old.peers, old.answered + 1, old.first, old.last) if c.first - old.last <= HOUR else old


def _like_logins(c: Conversation) -> bool:
    """Whether TCP flows may be log-ins."""
    if c.port in _COUNTED_PORTS or c.logins_failed or c.logins_ok:
        return True
    return c.flows >= _MANY and c.port not in _WEB


def _attempts(logins: _Logins, c: Conversation) -> _Logins:
    key = (c.direction, c.peer, c.port)
    old = logins.get(key)
    if old is None or c.first - old.last > DAY:
        old = Logins(0, 0, 0, 0, 0, 0, c.first, c.first)
    new = Logins(
        old.flows + c.flows,
        old.failed + c.logins_failed,
        old.ok + c.logins_ok,
        min(old.payload_out + c.payload_out, CEILING),
        min(old.payload_in + c.payload_in, CEILING),
        max(old.longest, c.longest),
        old.first,
        max(old.last, _newest(c)),
    )
    return _bounded({**logins, key: new}, LOGINS_KEPT, _by_logins)


def _names(memory: Memory, observation: Observation) -> tuple[dict[str, int], dict[str, Subnames]]:
    unresolved, subnames = memory.unresolved, memory.subnames
    asked = [n for n in observation.names if n.kind == "dns" and (n.failed or len(n.name) >= LONG_NAME)]
    if not asked:
        return unresolved, subnames
    unresolved, subnames = unresolved.copy(), subnames.copy()
    for use in asked:
        domain = domain_of(use)
        if use.failed and not domain.startswith(UNSUITED):
            unresolved[domain] = max(use.last, unresolved.get(domain, 0))
        if len(use.name) >= LONG_NAME:
            subnames[domain] = _subname(subnames.get(domain), use)
    alive = observation.window.start - HOUR
    unresolved = {domain: last for domain, last in unresolved.items() if last >= alive}
    return _bounded(unresolved, UNRESOLVED_KEPT, _by_time), _bounded(subnames, DOMAINS_KEPT, _by_subnames)


def domain_of(use: NameUse) -> str:
    """Under which registered domain the memory counts a name; names under no public suffix go by who was asked."""
    domain = registered_domain(use.name)
    return f"{UNSUITED}{use.peer}" if domain is None else domain[:DOMAIN_CUT]


def _subname(old: Subnames | None, use: NameUse) -> Subnames:
    mark = crc32(use.name.encode())
    if old is None or use.first - old.last > HOUR:
        return Subnames((mark,), use.uses, len(use.name), use.first, use.last)
    return Subnames(
        _with(old.seen, mark, SUBNAMES_KEPT),
        old.uses + use.uses,
        max(old.longest, len(use.name)),
        old.first,
        max(old.last, use.last),
    )


def _with(members: tuple[int, ...], member: int, limit: int) -> tuple[int, ...]:
    """The sorted set with one more member, unless it is full."""
    if member in members or len(members) >= limit:
        return members
    return tuple(sorted((*members, member)))


def _bounded(table: dict[_K, _V], limit: int, useful: Callable[[Iterable[_V]], list[int]]) -> dict[_K, _V]:
    """The table (it is used up), cut to its three most useful quarters where it is over its limit: so cuts are rare."""
    if len(table) <= limit:
        return table
    excess, ranks = len(table) - limit * 3 // 4, useful(table.values())
    edge = sorted(ranks)[excess]
    gone = [key for key, rank in zip(table, ranks, strict=True) if rank < edge]
    if len(gone) < excess:
        gone += sorted([key for key, rank in zip(table, ranks, strict=True) if rank == edge])[: excess - len(gone)]
    for key in gone:
        del table[key]
    return table


# How useful each entry is: when it was last touched, and later the more it holds.


def _by_contact(table: Iterable[Contact]) -> list[int]:
    return [v.last + (v.flows if v.flows < 48 else 48) * 30 * MINUTE for v in table]  # noqa: FURB136 - hot


def _by_probing(table: Iterable[Probing]) -> list[int]:
    return [v.last + (v.flows if v.flows < 9 else 9) * 3 * HOUR for v in table]  # noqa: FURB136 - hot


def _by_spread(table: Iterable[Spread]) -> list[int]:
    return [v.last + len(v.peers) * HOUR for v in table]


def _by_logins(table: Iterable[Logins]) -> list[int]:
    return [v.last + min(v.flows, 24) * 10 * MINUTE for v in table]  # more: who is done displaces who guesses


def _by_time(table: Iterable[int]) -> list[int]:
    return list(table)


def _by_subnames(table: Iterable[Subnames]) -> list[int]:
    return [v.last + len(v.seen) * MINUTE for v in table]


def _by_episode(table: Iterable[Episode]) -> list[int]:
    return [v.last for v in table]
