"""What one judgement looks at: the window, the VM's past, and what of it deserves a closer look.

One pass over the window's conversations sorts out the few that any detector could be interested in, so that a calm
window costs each detector one look at an empty list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from netpersona.flow.window import MINUTE
from netpersona.observation.model import Conversation, Observation, Probe
from netpersona.persona.memory import Contact, Logins, Memory
from netpersona.persona.model import Persona
from netpersona.persona.profile import kind_of, knows
from netpersona.risk.detectors.peers import ORDINARY_PORTS, scope
from netpersona.risk.exemptions import NONE, Exemptions

ENOUGH_CALLS = 10  # calls before regularity means anything
HEAVY = 1_000_000  # bytes sent to one contact: worth asking whether they should have been
LASTING = MINUTE  # a flow this long is a session
ENOUGH_PORTS = 10  # ports without an answer: no client does that
ENOUGH_PROBES = 20  # unanswered flows: no client tries that often
ENOUGH_LOGINS = 10
_ICMP = frozenset({"icmp", "icmp6"})


@dataclass(frozen=True, slots=True)
class Context:
    """What is the same for every VM of a run."""

    learn_until: int | None = None  # µs: what is judged against a VM's own past alerts only from here on
    fleet: frozenset[str] = frozenset()  # the addresses of all VMs
    exemptions: Exemptions = NONE  # what of the risk does not count


class Call(NamedTuple):
    """An outbound conversation of the window, with all that is remembered of the contact."""

    now: Conversation
    contact: Contact


class Attempt(NamedTuple):
    """A conversation of the window that may be log-ins, with all that is remembered of them."""

    now: Conversation
    past: Logins


@dataclass(slots=True)
class Scene:
    """One window of one VM, before the detectors.

    `memory` includes the window; `persona` has not learned it yet.
    """

    observation: Observation
    persona: Persona
    memory: Memory
    context: Context
    frequent: list[Call]  # called ENOUGH_CALLS times or more
    heavy: list[Call]  # HEAVY or more sent
    lasting: list[Call]  # a flow of LASTING or longer
    unanswered: list[Conversation]  # outbound, not one flow answered
    pings: list[Conversation]  # outbound ICMP
    icmp: list[Conversation]  # ICMP in both directions
    outside: list[Conversation]  # outbound and answered, at another than the ordinary ports of a public peer
    inside_calls: list[Conversation]  # outbound and answered, at a peer inside
    probed: list[Probe]  # from peers whose flows often had no answer
    attempts: list[Attempt]
    bytes_out: int
    bytes_in: int

    @property
    def learned(self) -> bool:
        """Whether what is judged against the VM's own past may alert now."""
        until = self.context.learn_until
        return until is None or self.observation.window.start >= until

    def familiar(self, conversation: Conversation) -> bool:
        """Whether the profile, learned before this window, holds this kind of conversation."""
        return knows(self.persona.profile, kind_of(conversation))

    def inside(self, peer: str) -> bool:
        """Whether a peer is one of ours: another VM, or in a private range."""
        return peer in self.context.fleet or scope(peer) == "private"

    def called(self, peer: str) -> bool:
        """Whether the VM itself called this peer lately, so that what comes from it may be left-overs of replies."""
        return any(key[2] == peer for key in self.memory.contacts)


def look(  # noqa: C901, PLR0912 - one pass for all detectors is what keeps a calm window cheap
    observation: Observation, persona: Persona, memory: Memory, context: Context
) -> Scene:
    """Sort out what of the window deserves a closer look."""
    frequent: list[Call] = []
    heavy: list[Call] = []
    lasting: list[Call] = []
    unanswered: list[Conversation] = []
    pings: list[Conversation] = []
    icmp: list[Conversation] = []
    outside: list[Conversation] = []
    inside_calls: list[Conversation] = []
    probed: list[Probe] = []
    attempts: list[Attempt] = []
    bytes_out = bytes_in = 0
    contacts, sources, logins = memory.contacts, memory.sources, memory.logins
    for c in observation.conversations:
        bytes_out += c.bytes_out
        bytes_in += c.bytes_in
        peer = c.peer
        if c.direction == "outbound":
            contact = contacts.get((c.transport, c.port, peer))
            if not c.answered:
                unanswered.append(c)
            elif peer in context.fleet or scope(peer) == "private":
                inside_calls.append(c)
            elif c.port not in ORDINARY_PORTS:
                outside.append(c)
            if c.transport in _ICMP:
                icmp.append(c)
                if c.port == 0:
                    pings.append(c)
            if contact is not None:
                if contact.flows >= ENOUGH_CALLS:
                    frequent.append(Call(c, contact))
                if contact.bytes_out >= HEAVY:
                    heavy.append(Call(c, contact))
                if c.longest >= LASTING:
                    lasting.append(Call(c, contact))
        elif c.transport in _ICMP:
            icmp.append(c)
        if logins and c.answered:
            tried = logins.get((c.direction, peer, c.port))
            if tried is not None and tried.flows >= ENOUGH_LOGINS:
                attempts.append(Attempt(c, tried))
    for p in observation.probes:
        bytes_in += p.bytes_in
        source = sources.get(p.peer)
        if source is not None and p.flows and (source.flows >= ENOUGH_PROBES or len(source.ports) >= ENOUGH_PORTS):
            probed.append(p)
    return Scene(
        observation, persona, memory, context,
        frequent, heavy, lasting, unanswered, pings, icmp, outside, inside_calls, probed, attempts, bytes_out, bytes_in,
    )  # fmt: skip
