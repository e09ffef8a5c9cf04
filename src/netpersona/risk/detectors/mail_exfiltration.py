"""Finds: data sent out by mail or file transfer from a VM that neither reads mail nor used that service before.

How it is fooled: by sending through a web service.  A first newsletter from a new machine looks just the same.
Cost: one set look-up for each outbound contact at another than the ordinary ports of a public peer.
Method: what keyloggers such as Agent Tesla do (MITRE ATT&CK T1048.003): they send by SMTP or FTP, and never fetch mail,
whereas a person's mail program does both.
"""

from __future__ import annotations

from msgspec.structs import replace

from netpersona.flow.window import DAY
from netpersona.flow.words import counted
from netpersona.observation.model import Conversation
from netpersona.persona.memory import Contact
from netpersona.risk.detectors.peers import scope
from netpersona.risk.detectors.report import found
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.detectors.words import size
from netpersona.risk.finding import Finding, Severity

NAME = "mail_exfiltration"
SENDING = {21: "FTP", 25: "mail", 465: "mail", 587: "mail"}
FETCHING = frozenset({110, 143, 993, 995})
FTP, RELAY = 21, 25
PASSIVE = 1024  # FTP's data connections go to a port from here on
SAID = 1500  # bytes sent to one contact: more than a greeting
GREETING = 4  # times as much may come back where a server first shows its certificates
SERVERS = 4  # so many mail servers called: this is a mail server itself
CONFIDENCE = 0.55


def judge(scene: Scene) -> list[Finding]:
    """One finding for each public peer that things are sent to in this way."""
    sent = [c for c in scene.outside if c.port in SENDING and c.transport == "tcp" and not scene.familiar(c)]
    if not sent or _handles_mail(scene):
        return []
    return [_finding(scene, c, contact) for c in sent if (contact := _contact(scene, c)) is not None]


def _contact(scene: Scene, c: Conversation) -> Contact | None:
    """What was sent to a public peer, where it was enough."""
    contact = scene.memory.contacts.get((c.transport, c.port, c.peer))
    if contact is None or scope(c.peer) != "public":
        return None
    if c.port == FTP:
        contact = _with_files(scene, contact, c.peer)
    back = contact.bytes_in if c.port in (FTP, RELAY) else contact.bytes_in // GREETING
    return contact if contact.bytes_out >= SAID and contact.bytes_out >= back else None


def _with_files(scene: Scene, control: Contact, peer: str) -> Contact:
    """FTP's contact with what went through its passive data connections, which are flows of their own."""
    data = [
        contact
        for (transport, port, other), contact in scene.memory.contacts.items()
        if other == peer and transport == "tcp" and port >= PASSIVE
    ]
    return replace(
        control,
        bytes_out=control.bytes_out + sum(contact.bytes_out for contact in data),
        bytes_in=control.bytes_in + sum(contact.bytes_in for contact in data),
    )


def _handles_mail(scene: Scene) -> bool:
    """Whether the VM fetches mail, takes it in, or sends it to many servers."""
    contacts = scene.memory.contacts
    if any(port in FETCHING for _, port, _ in contacts) or sum(port == 25 for _, port, _ in contacts) >= SERVERS:
        return True
    return any(
        k.port in FETCHING or (k.direction == "inbound" and k.port in SENDING) for k in scene.persona.profile.kinds
    )


def _finding(scene: Scene, c: Conversation, contact: Contact) -> Finding:
    how = SENDING[c.port]
    return found(
        scene,
        "exfiltration",
        detector=NAME,
        direction="outbound",
        vm_address=c.vm_address,
        peer=c.peer,
        peers=[c.peer],
        protocol="tcp",
        port=c.port,
        first=contact.first,
        last=c.last,
        confidence=CONFIDENCE,
        severity=Severity.MEDIUM,
        alert=True,
        why=f"The VM sent {size(contact.bytes_out)} by {how} to {c.peer} in {counted(contact.flows, 'flow')}, "
        "though it never fetches mail and never sent in this way before: spying programs deliver like that.",
        evidence={"sent_bytes": contact.bytes_out, "received_bytes": contact.bytes_in, "flows": contact.flows},
        weight=2.0,
        half_life=DAY,
    )
