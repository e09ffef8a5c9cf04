"""Finds: calls to one peer at regular intervals, as implants make them to ask for orders.

How it is fooled: by intervals drawn at random over a wide range, by calling a different address each time, and by
hiding inside one long connection.  Updaters, tiles and sync clients call regularly too: regularity alone is context;
an alert needs more (seconds rather than minutes between calls, an unusual port, nobody answering, a peer new to a VM
that we know).  A vendor's agent that asks each minute by a name that somebody chose is context too, where the VM did so
from the beginning.  Many calls for a few words each are told without any rhythm.
Cost: a sort of at most 200 gaps for each contact called ten times or more.
Method: as RITA scores beacons: the median absolute deviation of the gaps against their median, and their Bowley
skewness; besides, the share of gaps that are whole multiples of the median, since calls get lost, and calls without
any pause.  That a peer is new, or called by no name, makes it worse, as RITA's modifiers do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from netpersona.flow.window import DAY, MINUTE, SECOND, WINDOW
from netpersona.observation.model import Conversation
from netpersona.persona.domains import registered_domain
from netpersona.persona.profile import kind_of
from netpersona.risk.detectors.bigrams import STRANGE, strangeness
from netpersona.risk.detectors.makers import well_known
from netpersona.risk.detectors.peers import ALTERNATIVE_PORTS, PERIODIC_PORTS, WEB_PORTS, near, scope, usual
from netpersona.risk.detectors.report import found, going_on, subject
from netpersona.risk.detectors.scene import ENOUGH_CALLS, Call, Scene
from netpersona.risk.detectors.words import shown, size, span
from netpersona.risk.finding import Finding, Severity

NAME = "c2_beacon"
GAPS = 8  # fewest intervals to judge by
GAPS_READ = 200  # of one window
SPAN_MS = 45_000  # shorter bursts have no rhythm
FASTEST_MS = 400  # period: faster is one program at work, not calls
REGULAR = 0.7  # regularity below this says nothing
REGULAR_WEB = 0.8  # and below this at ports that browsers use
ROUNDS = 5  # peers called often at one service: a monitor, or somebody browsing
BROWSING = 15  # outside peers called in one window: somebody is browsing
ALERT_AT = 0.6
REPORT_AT = 0.3
_LEAST = math.log(REPORT_AT / (1.0 - REPORT_AT))  # log-odds below which nothing is reported
QUICK = 90 * SECOND  # programs that mean well keep a connection open instead of calling this often
UNHURRIED = MINUTE // 2  # period from which on agents of a vendor ask for news
WINDOWS = 24  # active windows learned before a peer is new to a VM that we know
PAUSE = 10 * SECOND
UNBROKEN = 2 * MINUTE
REGULAR_ENOUGH = 0.75  # what many calls without any pause are worth
CONTENT = 50_000  # bytes received a call: so much is content, not orders
FILES = 200_000  # and so much is files
INTENSE = 60  # calls in one window
WORDS_CALLS = (
    50  # calls in one window that each bring only a few words: browsers keep connections, and pages are larger
)
WORDS_IN, WORDS_OUT = 600, 1000  # bytes a call, with headers; a TLS handshake alone is more
WORDS_SURE = 0.65
_MS = 1000  # µs


def judge(scene: Scene) -> list[Finding]:
    """One finding for each contact called regularly; its confidence says how unlike an updater it is."""
    if not scene.frequent:
        return []
    return [
        f
        for call in scene.frequent
        if _due(call) and _counts(call) and (f := _judge_call(scene, call) or _judge_words(scene, call)) is not None
    ]


def _due(call: Call) -> bool:
    """Whether enough is new: each call while there are few, then every fourth."""
    flows = call.contact.flows
    return flows < 2 * ENOUGH_CALLS or flows // 4 != (flows - call.now.flows) // 4


def _counts(call: Call) -> bool:
    c = call.now
    return c.transport in ("tcp", "udp") and c.port not in PERIODIC_PORTS and scope(c.peer) != "many"


def _judge_call(scene: Scene, call: Call) -> Finding | None:
    calls = folded(_gaps(call))
    if len(calls) < GAPS or sum(calls) < SPAN_MS:
        return None
    likely = 1.0 / (1.0 + math.exp(-_suspicion(scene, call, sorted(calls)[len(calls) // 2] * _MS)))
    if likely < REPORT_AT:
        return None
    score, period_ms = regularity(calls)
    if call.now.port not in WEB_PORTS and unbroken(call.now.starts):
        score = max(score, REGULAR_ENOUGH)
    confidence = likely * min(1.0, (score - 0.45) / 0.3) * min(1.0, math.sqrt(len(calls) / 12))
    enough = REGULAR_WEB if call.now.port in WEB_PORTS else REGULAR
    if score < enough or period_ms < FASTEST_MS or confidence < REPORT_AT:
        return None
    return _finding(scene, call, (score, period_ms, len(calls)), confidence)


def _judge_words(scene: Scene, call: Call) -> Finding | None:
    """Many calls to one outside web server, each a connection for a few words, however irregular."""
    c = call.now
    if c.flows < WORDS_CALLS or not (c.port in WEB_PORTS or c.port in ALTERNATIVE_PORTS) or scene.inside(c.peer):
        return None
    few = 0 < c.bytes_in <= WORDS_IN * c.answered and c.bytes_out <= WORDS_OUT * c.flows
    if not few or c.answered * 5 < c.flows * 4 or _old_habit(scene, c) or _alike(scene, c) >= ROUNDS:
        return None
    if c.transport != "tcp" or (c.server_name is not None and well_known(c.server_name)):
        return None
    named = f" ({shown(c.server_name)})" if c.server_name is not None else ""
    return _told(
        scene,
        call,
        WORDS_SURE,
        why=f"The VM called {c.peer}{named} at tcp port {c.port} {c.flows} times within "
        f"{span(c.starts[-1] - c.starts[0])}, and got {size(c.bytes_in / c.answered)} a call: implants "
        "that ask for orders by HTTP do so, pages are larger.",
        evidence={"calls_in_window": c.flows, "received_bytes_per_call": round(c.bytes_in / c.answered)},
    )


def _gaps(call: Call) -> Sequence[int]:
    """The gaps between calls, ms: all of this window, or those remembered, whichever are more."""
    starts = call.now.starts[-GAPS_READ - 1 :]
    if len(starts) > len(call.contact.gaps) + 1:
        return [(b - a) // _MS for a, b in pairwise(starts)]
    return call.contact.gaps


def folded(gaps: Sequence[int]) -> list[int]:
    """The gaps between calls, where connections opened together count as one call."""
    if not gaps:
        return []
    together = sorted(gaps)[len(gaps) * 3 // 4] // 5
    calls, waiting = [], 0
    for gap in gaps:
        waiting += gap
        if gap > together:
            calls.append(waiting)
            waiting = 0
    return calls


def regularity(gaps: Sequence[int]) -> tuple[float, int]:
    """How regular the gaps are, 0 to 1, and their median: the period.

    The better of two views: little spread and skew around the median, or most gaps (or pairs of them, as a call and its
    retry alternate) lying at one, two or three times the median.
    """
    ordered = sorted(gaps)
    n = len(ordered)
    low, median, high = ordered[n // 4], (ordered[(n - 1) // 2] + ordered[n // 2]) // 2, ordered[n - 1 - n // 4]
    if median <= 0:
        return 0.0, 0
    deviation = sorted([abs(gap - median) for gap in ordered])[n // 2]
    even = max(0.0, 1.0 - deviation / median)
    skew = 0.0 if high - low < median / 10 else abs(low + high - 2 * median) / (high - low)
    pairs = [a + b for a, b in pairwise(gaps)]
    return max(
        (even + 1.0 - skew) / 2, _on_step(ordered, ordered[(n - 1) // 2]), _on_step(pairs, sorted(pairs)[(n - 1) // 2])
    ), median


def unbroken(starts: Sequence[int]) -> bool:
    """Whether calls (µs) go on without a pause of 10 seconds or more, for longer than people do so."""
    return (
        len(starts) >= INTENSE
        and starts[-1] - starts[0] >= UNBROKEN
        and all(b - a < PAUSE for a, b in pairwise(starts))
    )


def _on_step(gaps: Sequence[int], period: int) -> float:
    """The share of gaps within 15 % of a period from one, two or three periods."""
    near_one = sum(1 for gap in gaps if 0.85 * period <= gap <= 1.15 * period)
    near_more = sum(1 for gap in gaps if 1.85 * period <= gap <= 2.15 * period or 2.85 * period <= gap <= 3.15 * period)
    return (near_one + near_more) / len(gaps)


def _suspicion(scene: Scene, call: Call, period: int) -> float:
    """Log-odds that a regular call is a beacon rather than a program that looks for news; exact where they suffice."""
    c, contact, profile = call.now, call.contact, scene.persona.profile
    points = -1.5
    points += 2.5 if period <= QUICK else -0.5 if period >= 10 * MINUTE else 0.0
    points += 1.0 if c.flows >= INTENSE else 0.0
    points += _where(scene, c)
    if period >= UNHURRIED and _by_name(c):
        points -= 1.5
    if c.transport == "tcp" and contact.answered * 2 < contact.flows and contact.bytes_out:
        points += 1.0
    if contact.bytes_in > CONTENT * contact.flows:
        points -= 3.0 if contact.bytes_in > FILES * contact.flows else 1.5
    if _old_habit(scene, c):
        points -= 1.5
    elif profile.windows >= WINDOWS and scene.persona.completeness.seen >= 0.95 and _new(scene, call):
        points += 1.0
    if points < _LEAST:
        return points  # what is left only excuses
    if c.port in WEB_PORTS and _peers_called(scene) >= BROWSING:
        points -= 1.0
    if c.server_name is not None and well_known(c.server_name):
        points -= 2.5
    if _alike(scene, c) >= ROUNDS:
        points -= 3.0
    return points


def _by_name(c: Conversation) -> bool:
    """Whether a web server is called by a name that somebody chose, as a vendor's agent calls it."""
    if c.server_name is None or not (c.port in WEB_PORTS or c.port in ALTERNATIVE_PORTS):
        return False
    domain = registered_domain(c.server_name)
    return domain is not None and strangeness(domain.partition(".")[0]) < STRANGE


def _new(scene: Scene, call: Call) -> bool:
    """Whether the VM began to call so after it had been known for a while; its own first calls may be learned."""
    c, contact = call
    usage = scene.persona.profile.kinds.get(kind_of(c))
    episode = going_on(scene, subject(NAME, "outbound", (c.transport, c.port), c.peer))
    begun = min(known.first for known in (contact, usage, episode) if known is not None)
    return begun - (scene.persona.first_seen or 0) >= WINDOWS * WINDOW


def _old_habit(scene: Scene, c: Conversation) -> bool:
    """Whether the VM has called so for a day or longer: what began an hour ago may be the beacon itself."""
    known = scene.persona.profile.kinds.get(kind_of(c))
    return known is not None and c.first - known.first >= DAY


def _where(scene: Scene, c: Conversation) -> float:
    """What the place called says: inside, services live at any port and programs watch each other."""
    if c.peer in scene.context.fleet or (scene.inside(c.peer) and near(c.vm_address, c.peer)):
        return -2.0
    port = 0.7 if c.port in ALTERNATIVE_PORTS else 0.0 if usual(c.port) else 2.0
    return port - 0.5 if scene.inside(c.peer) else port


def _alike(scene: Scene, c: Conversation) -> int:
    """How many conversations like this one go on: who watches over many makes rounds, an implant calls few."""
    if scene.inside(c.peer):
        return sum(1 for other in scene.frequent if scene.inside(other.now.peer))
    return sum(1 for other in scene.frequent if other.now.port == c.port and other.now.transport == c.transport)


def _peers_called(scene: Scene) -> int:
    return len({c.peer for c in scene.observation.conversations if c.direction == "outbound" and c.answered})


def _finding(scene: Scene, call: Call, rhythm: tuple[float, int, int], confidence: float) -> Finding:
    c, contact = call
    score, period_ms, gaps = rhythm
    named = f" ({shown(c.server_name)})" if c.server_name is not None else ""
    vain = "" if contact.answered or not contact.bytes_out else ", although it never answered"
    return _told(
        scene,
        call,
        confidence,
        why=f"The VM called {c.peer}{named} at {c.transport} port {c.port} {contact.flows} times, every "
        f"{span(period_ms * _MS)} with a regularity of {score:.2f} of 1{vain}: implants ask for orders like that.",
        evidence={"intervals_judged": gaps, "period_s": round(period_ms / 1000, 3), "regularity": round(score, 4)},
    )


def _told(
    scene: Scene, call: Call, confidence: float, *, why: str, evidence: dict[str, float | int | str | list[str]]
) -> Finding:
    c, contact = call
    return found(
        scene,
        "c2_beacon",
        direction="outbound",
        vm_address=c.vm_address,
        peer=c.peer,
        peers=[c.peer],
        protocol=c.transport,
        port=c.port,
        first=contact.first,
        last=c.last,
        confidence=confidence,
        severity=Severity.HIGH if confidence >= ALERT_AT else Severity.LOW,
        alert=confidence >= ALERT_AT,
        why=why,
        evidence={
            "calls": contact.flows,
            "calls_answered": contact.answered,
            **evidence,
            "sent_bytes": contact.bytes_out,
            "received_bytes": contact.bytes_in,
        },
        weight=3.3,
        half_life=DAY,
    )
