"""The names of the ATT&CK techniques that findings have (MITRE ATT&CK, Enterprise): they carry only their ids."""

from __future__ import annotations

ATTACK = "17.1"  # the version of ATT&CK

NAMES = {
    "T1018": "Remote System Discovery",
    "T1021": "Remote Services",
    "T1030": "Data Transfer Size Limits",
    "T1036": "Masquerading",
    "T1041": "Exfiltration Over C2 Channel",
    "T1046": "Network Service Discovery",
    "T1048": "Exfiltration Over Alternative Protocol",
    "T1071": "Application Layer Protocol",
    "T1071.001": "Web Protocols",
    "T1071.003": "Mail Protocols",
    "T1071.004": "DNS",
    "T1095": "Non-Application Layer Protocol",
    "T1110": "Brute Force",
    "T1190": "Exploit Public-Facing Application",
    "T1205": "Traffic Signaling",
    "T1496": "Resource Hijacking",
    "T1557": "Adversary-in-the-Middle",
    "T1568": "Dynamic Resolution",
    "T1568.002": "Domain Generation Algorithms",
    "T1571": "Non-Standard Port",
    "T1572": "Protocol Tunneling",
    "T1573": "Encrypted Channel",
}


def named(technique: str) -> str:
    """Its name; its id, where that is not known."""
    return NAMES.get(technique, technique)
