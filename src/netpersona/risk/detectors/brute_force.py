"""Finds: log-ins tried again and again, at the VM or by it.

How it is fooled: by guessing slowly, from many addresses, or inside one connection that the sensor cannot look into.
Automation that logs in often and succeeds is left out where the sensor says that it succeeded, unless several outside
do so at once.
Cost: looks only at conversations with ten or more log-in-like flows behind them.
Method: counting failed log-ins by source, as Zeek's SSH policy and fail2ban do; where outcomes are not known, many
short, small sessions to a log-in port stand in for them, after A. Sperotto et al., "Hidden Markov model modelling of
SSH brute-force attacks" (2009), whose flows look just so.
"""

from __future__ import annotations

from netpersona.flow.window import HOUR, MINUTE
from netpersona.observation.model import Conversation
from netpersona.persona.memory import LOGIN_PORTS, Logins
from netpersona.risk.detectors.report import found, grows
from netpersona.risk.detectors.scene import Attempt, Scene
from netpersona.risk.detectors.words import span
from netpersona.risk.finding import Finding, Severity

NAME = "brute_force"
FAILED = 10  # log-ins known to have failed
SESSIONS = 20  # sessions at a log-in port of which nobody knows the outcome
CROWD = 3  # outside peers with SESSIONS or more log-ins each
SIP_PORTS = frozenset({5060, 5061})
BURST = 30  # answered flows within BURST_SPAN to any one port
BURST_SPAN = 10 * MINUTE
EAGER = MINUTE // 2  # between two sessions from inside, on average, at most: monitors look once a minute
SHORT = 3 * MINUTE  # no session longer than this, else somebody is at work there
SMALL = 8_000  # bytes of payload a session, each way, at most on average
_LOGIN_APPLICATIONS = frozenset({"ssh", "ftp", "telnet", "rdp", "vnc", "rfb", "smtp", "imap", "pop3"})


def judge(scene: Scene) -> list[Finding]:
    """One finding for each (peer, port, direction) where log-ins are guessed."""
    if not scene.attempts:
        return []
    return [f for attempt in scene.attempts if (f := _judge_attempt(scene, attempt)) is not None]


def _judge_attempt(scene: Scene, attempt: Attempt) -> Finding | None:
    now, past = attempt
    if past.failed >= FAILED and past.failed > past.ok:
        return _finding(scene, now, past, grows(past.failed, 5.0), f"{past.failed} of them are known to have failed")
    unknown = past.flows - past.ok
    if not _small(past):
        return None
    if past.ok > past.flows // 2:
        return _driven(scene, now, past)
    if now.port in SIP_PORTS and unknown >= SESSIONS and _from_outside(scene, now) and _in_a_burst(past):
        return _finding(scene, now, past, grows(unknown, 14.0), "all short and small, as guessed extensions are")
    if now.port in LOGIN_PORTS and unknown >= SESSIONS and not _own_habit(scene, now) and _eager(scene, now, past):
        return _finding(scene, now, past, grows(unknown, 14.0), "all short and small, as guessed passwords are")
    if _burst(scene, now, past, unknown):
        return _finding(
            scene, now, past, grows(unknown, 16.0), "all short, small and in a burst, as guessed passwords are"
        )
    return None


def _driven(scene: Scene, now: Conversation, past: Logins) -> Finding | None:
    """Log-ins that mostly succeed: automation, unless several outside do so, who then share a password they guessed."""
    if not _from_outside(scene, now) or past.flows < BURST:
        return None
    others = sum(
        1
        for (direction, peer, port), tried in scene.memory.logins.items()
        if direction == "inbound" and port == now.port and tried.flows >= SESSIONS and not scene.inside(peer)
    )
    if others < CROWD:
        return None
    because = f"all short and small, as do {others - 1} others outside: a password that was guessed is used like that"
    return _finding(scene, now, past, grows(past.flows, 60.0, 0.6), because)


def _from_outside(scene: Scene, now: Conversation) -> bool:
    return now.direction == "inbound" and not scene.inside(now.peer)


def _in_a_burst(past: Logins) -> bool:
    return past.last - past.first <= BURST_SPAN


def _small(past: Logins) -> bool:
    average_out, average_in = past.payload_out / past.flows, past.payload_in / past.flows
    return past.longest <= SHORT and average_out <= SMALL and average_in <= SMALL


def _own_habit(scene: Scene, now: Conversation) -> bool:
    return now.direction == "outbound" and scene.familiar(now)


def _eager(scene: Scene, now: Conversation, past: Logins) -> bool:
    """Whether it is more than what automation inside does in a day."""
    return not scene.inside(now.peer) or past.last - past.first <= past.flows * EAGER


def _burst(scene: Scene, now: Conversation, past: Logins, unknown: int) -> bool:
    """A burst at a port that is no log-in port by number, but speaks a log-in protocol."""
    return now.application in _LOGIN_APPLICATIONS and unknown >= BURST and _in_a_burst(past) and not scene.familiar(now)


def _finding(scene: Scene, now: Conversation, past: Logins, confidence: float, because: str) -> Finding:
    inbound = now.direction == "inbound"
    who, whom = (now.peer, "the VM") if inbound else ("The VM", now.peer)
    broken = past.ok > 0 and inbound and past.failed >= FAILED
    ending = f"; {past.ok} succeeded" if past.ok else ""
    return found(
        scene,
        "brute_force",
        direction=now.direction,
        vm_address=now.vm_address,
        peer=now.peer,
        peers=[now.peer],
        protocol=now.transport,
        port=now.port,
        first=past.first,
        last=past.last,
        confidence=confidence,
        severity=Severity.HIGH if broken or not inbound else Severity.MEDIUM,
        alert=True,
        why=f"{who} opened {past.flows} sessions at port {now.port} of {whom} within {span(past.last - past.first)}: "
        f"{because}{ending}.",
        evidence={
            "sessions": past.flows,
            "logins_failed": past.failed,
            "logins_ok": past.ok,
            "payload_out_bytes": past.payload_out,
            "payload_in_bytes": past.payload_in,
            "longest_s": round(past.longest / 1e6, 3),
        },
        weight=2.5 if not inbound else (1.5 if broken else 0.0),
        half_life=12 * HOUR,
    )
