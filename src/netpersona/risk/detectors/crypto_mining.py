"""Finds: work for a mining pool: the pools' ports and names, and the peer-to-peer ports of coins.

How it is fooled: by a pool at port 443 under a name of its own, or through a proxy.
Cost: one set look-up for each outbound contact with a session, and a word search in the names used.
Method: the default ports of the nodes of Monero, Bitcoin, Ethereum, Litecoin and Zcash and of common Stratum pools, and
words that pools put in their names.
"""

from __future__ import annotations

import re

from netpersona.flow.window import DAY, MINUTE
from netpersona.flow.words import counted
from netpersona.observation.model import Conversation, NameUse
from netpersona.risk.detectors.acquaintance import knew
from netpersona.risk.detectors.intel_match import own_address
from netpersona.risk.detectors.peers import scope
from netpersona.risk.detectors.report import found, grows
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.detectors.words import shown
from netpersona.risk.finding import Finding, Severity

NAME = "crypto_mining"
COIN_PORTS = frozenset({8233, 8333, 9333, 18080, 18081, 18083, 18084, 18085, 18089, 18090, 28080, 30303, 38080})
POOL_PORTS = frozenset({3333, 3334, 5556, 14433, 14444, 20535, 20580, 33333, 45560, 45700})
MAYBE_POOL_PORTS = frozenset({7777, 9999})  # games and debuggers too
LASTING = MINUTE // 2  # a pool keeps who works for it
_PORTS = COIN_PORTS | POOL_PORTS | MAYBE_POOL_PORTS
ALERT_AT = 0.55
_POOL_NAMES = re.compile(
    r"(^|[.-])(xmr|monero|stratum|minexmr|supportxmr|nanopool|nicehash|moneroocean|hashvault|ethermine|f2pool|2miners"
    r"|minergate|hashrate|xmrpool|monerohash|dwarfpool|poolin|herominers|unmineable|c3pool)(pool)?([.-]|$)"
)


def judge(scene: Scene) -> list[Finding]:
    """One finding for coin peers, one for pool ports and one for pool names."""
    if not scene.outside and not scene.observation.names:
        return []
    at_port = [c for c in scene.outside if c.port in _PORTS]
    findings = _by_port(scene, at_port) if at_port else []
    named = [n for n in scene.observation.names if n.kind != "alert" and _POOL_NAMES.search(n.name)]
    return [*findings, _by_name(scene, named)] if named else findings


def _by_port(scene: Scene, talks: list[Conversation]) -> list[Finding]:
    coin = [c for c in talks if c.port in COIN_PORTS]
    pool = [c for c in talks if c.port not in COIN_PORTS and c.longest >= LASTING and not knew(scene, c)]
    findings = []
    if coin:
        sure = 0.3 + 0.69 * grows(len({c.peer for c in coin}), 2.0)
        findings.append(_finding(scene, coin, sure, "the ports at which the nodes of coins talk to each other"))
    if pool:
        sure = 0.6 if any(c.port in POOL_PORTS for c in pool) else 0.45
        findings.append(
            _finding(scene, pool, sure, "a port at which mining pools hand out work, in a session that lasts")
        )
    return findings


def _by_name(scene: Scene, uses: list[NameUse]) -> Finding:
    names = sorted({n.name for n in uses})
    return found(
        scene,
        "crypto_mining",
        direction="outbound",
        vm_address=own_address(scene),
        peer=None,
        peers={n.peer for n in uses},
        protocol=None,
        port=None,
        first=min(n.first for n in uses),
        last=max(n.last for n in uses),
        confidence=0.8,
        severity=Severity.MEDIUM,
        alert=True,
        why=f"The VM uses {counted(len(names), 'name')} of mining pools ({shown(names[0])}).",
        evidence={"names": [shown(n) for n in names[:5]], "uses": sum(n.uses for n in uses)},
        weight=2.2,
        half_life=DAY,
    )


def _finding(scene: Scene, talks: list[Conversation], confidence: float, what: str) -> Finding:
    peers = {c.peer for c in talks if scope(c.peer) == "public"}
    ports = sorted({c.port for c in talks})
    return found(
        scene,
        "crypto_mining",
        direction="outbound",
        vm_address=talks[0].vm_address,
        peer=None,
        peers=peers,
        protocol="tcp",
        port=ports[0],
        first=min(c.first for c in talks),
        last=max(c.last for c in talks),
        confidence=confidence,
        severity=Severity.MEDIUM,
        alert=confidence >= ALERT_AT,
        why=f"The VM talks to {len(peers)} outside hosts at port {ports[0]}: {what}.",
        evidence={"hosts": len(peers), "ports": [str(p) for p in ports], "flows": sum(c.flows for c in talks)},
        weight=2.2,
        half_life=DAY,
    )
