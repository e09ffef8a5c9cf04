"""What stands where suspicious traffic is redirected to: it takes connections, and counts all packets it sees.

The counts are in a file: {"packets": 12, "from": {"10.77.0.21 tcp 8443": 12}}.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import time
from collections import Counter
from pathlib import Path

_ALL = 0x0003  # ETH_P_ALL
_OUTGOING = 4  # PACKET_OUTGOING
_NAMES = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp6"}
_KINDS = 1_000  # counted apart, at most


def kind(frame: bytes) -> str | None:
    """Who sent what to which port: "10.77.0.21 tcp 8443"; None for what is not IP."""
    if frame[12:14] == b"\x08\x00" and len(frame) >= 34:
        source, protocol, at = socket.inet_ntop(socket.AF_INET, frame[26:30]), frame[23], 14 + (frame[14] & 15) * 4
    elif frame[12:14] == b"\x86\xdd" and len(frame) >= 54:
        source, protocol, at = socket.inet_ntop(socket.AF_INET6, frame[22:38]), frame[20], 54
    else:
        return None
    name = _NAMES.get(protocol, str(protocol))
    ported = protocol in (6, 17) and len(frame) >= at + 4
    return f"{source} {name} {struct.unpack_from('!H', frame, at + 2)[0]}" if ported else f"{source} {name}"


def main() -> None:
    """Count until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count-in", type=Path, required=True)
    said = parser.parse_args()
    seen: Counter[str] = Counter()
    noted = time.monotonic()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as watching:
        watching.bind(("eth0", 0))
        watching.settimeout(0.5)
        while True:
            try:
                frame, where = watching.recvfrom(128)
                what = kind(frame) if where[2] != _OUTGOING else None
                if what is not None and (what in seen or len(seen) < _KINDS):
                    seen[what] += 1
            except TimeoutError:
                pass
            if time.monotonic() - noted >= 0.5:
                noted = time.monotonic()
                fresh = said.count_in.with_suffix(".new")
                fresh.write_text(json.dumps({"packets": seen.total(), "from": dict(sorted(seen.items()))}))
                fresh.replace(said.count_in)


if __name__ == "__main__":
    main()
