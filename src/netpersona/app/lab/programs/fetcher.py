"""A client that fetches one address after the other, at a steady pace: a person browsing, visitors, updates.

Which address, from which of our own addresses, over which family and after which pause follows from the seed alone.
What came of it is counted in a file, rewritten after each: {"asked": 12, "answered": 12, "failed": 0, ...}.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

_PATIENCE = 5  # seconds


class _Errand(NamedTuple):
    address: str
    family: int  # 4 or 6
    source: str | None
    pause: float  # until the next, against the average; nobody comes like clockwork


def errands(seed: int, addresses: list[str], sources: list[str]) -> Iterator[_Errand]:
    """What to fetch, without end.  The first addresses are the favourites, as with people."""
    chance = random.Random(seed)  # noqa: S311 - a story that can be told again, not a secret
    weights = [1.0 / (1 + place) for place in range(len(addresses))]
    while True:
        address = chance.choices(addresses, weights)[0]
        family = _family(address) or chance.choice((4, 6))
        own = [source for source in sources if ip_address(source).version == family]
        yield _Errand(address, family, chance.choice(own) if own else None, min(chance.expovariate(1.0), 5.0))


def _family(address: str) -> int | None:
    """The family of an address that names a host by number; None for a name."""
    try:
        return ip_address(urlsplit(address).hostname or "").version
    except ValueError:
        return None


def _by_curl(errand: _Errand, curl: str, trust: str | None) -> str | None:
    """Fetch; what went wrong, or None."""
    words = [curl, "-q", "--silent", "--show-error", "--fail", "--output", "/dev/null", "--noproxy", "*"]
    words += [f"-{errand.family}", "--max-time", str(_PATIENCE)]
    words += ["--cacert", trust] if trust is not None else []
    words += ["--interface", f"host!{errand.source}"] if errand.source is not None else []
    done = subprocess.run(  # noqa: S603 - our own words, no shell
        [*words, "--", errand.address], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else " ".join(done.stderr.split()) or f"curl: {done.returncode}"


def _by_python(errand: _Errand, trust: str | None) -> str | None:
    """Fetch; what went wrong, or None."""
    where = urlsplit(errand.address)
    port = where.port or (443 if where.scheme == "https" else 80)
    family = socket.AF_INET if errand.family == 4 else socket.AF_INET6
    source = None if errand.source is None else (errand.source, 0)
    try:
        found = socket.getaddrinfo(where.hostname, port, family, socket.SOCK_STREAM)[0][4]
        with socket.create_connection((str(found[0]), port), _PATIENCE, source) as plain:
            line = plain
            if where.scheme == "https":
                line = ssl.create_default_context(cafile=trust).wrap_socket(plain, server_hostname=where.hostname)
            asking = http.client.HTTPConnection(where.hostname or "", port)
            asking.sock = line
            asking.request("GET", where.path, headers={"Connection": "close"})
            answer = asking.getresponse()
            answer.read()
            return None if answer.status < 400 else f"HTTP {answer.status}"
    except (OSError, http.client.HTTPException) as error:
        return str(error)


def _note(path: Path, counts: dict[str, object]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(counts))
    fresh.replace(path)


def main() -> None:
    """Fetch until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=float, required=True, help="seconds, on average")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count-in", type=Path, required=True)
    parser.add_argument("--curl")
    parser.add_argument("--trust")
    parser.add_argument("--from", action="append", default=[], dest="sources")
    parser.add_argument("addresses", nargs="+")
    said = parser.parse_args()
    failed = 0
    last = ""
    due = time.monotonic()
    for asked, errand in enumerate(errands(said.seed, said.addresses, said.sources), start=1):
        problem = _by_curl(errand, said.curl, said.trust) if said.curl else _by_python(errand, said.trust)
        failed += problem is not None
        last = last if problem is None else f"{errand.address} over IPv{errand.family}: {problem}"[:200]
        _note(said.count_in, {"asked": asked, "answered": asked - failed, "failed": failed, "last_failure": last})
        due = max(due + said.every * errand.pause, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
