"""Which attacks there are, what each does, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack: what it does, of what it makes how many, how far apart, and after how long it is broken off."""

    name: str
    does: str
    unit: str  # what --count counts
    count: int
    most: int
    every: float  # seconds between two of them
    limit: int  # seconds for the whole
    technique: str  # MITRE ATT&CK

    @property
    def module(self) -> str:
        """Where it is written."""
        return f"netpersona.app.lab.attacks.{self.name.replace('-', '_')}"


ATTACKS = {
    attack.name: attack
    for attack in (
        Attack("callback", "calls a listed control server by name", "calls", 3, 100, 1.0, 60, "T1071.001"),
        Attack("beacon", "calls an unlisted peer at regular intervals", "calls", 24, 1_000, 2.5, 600, "T1571"),
        Attack("scan", "tries ports of one host, and one port of many hosts", "ports", 60, 2_000, 0.02, 120, "T1046"),
        Attack("brute-force", "guesses passwords of another VM, FTP, SSH", "log-ins", 120, 2_000, 0.05, 120, "T1110"),
        Attack("dns-tunnel", "carries data out in names", "names", 80, 5_000, 0.05, 120, "T1071.004"),
        Attack("exfiltration", "sends much to a new peer", "megabytes", 30, 1_000, 0.25, 300, "T1048"),
        Attack("lateral-movement", "logs in to the other VMs, copies files to them", "rounds", 1, 50, 1.0, 60, "T1021"),
        Attack("spoofing", "sends packets with another VM's addresses", "packets", 20, 2_000, 0.05, 120, "T1557"),
    )
}  # fmt: skip
"""By name."""
