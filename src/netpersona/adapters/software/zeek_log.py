"""What Zeek's logs tell of servers' software: software.log, and the banners in ssh.log.

They are small beside conn.log, and are read row by row.  Clients' software is left out: nobody can reach it.
A row that cannot be read is passed over; these logs are evidence beside the flows, and their other rows stay good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from netpersona.adapters.sensors.source import head, open_source
from netpersona.errors import SourceError
from netpersona.flow.vm import canonical_address
from netpersona.intel.software import LONGEST, Software, named_in, printable

_MOST = 1_000_000  # rows of one log
_SERVERS = ("SERVER", "APPSERVER")  # the ends of Zeek's software types that are answered by somebody


class Seen(NamedTuple):
    """Software at an address."""

    address: str
    software: Software


def software_logs(sources: Sequence[Path]) -> list[Path]:
    """The files among these, and in these directories, that tell of software; by what they hold, not by their names."""
    files = [f for source in sources for f in (sorted(source.rglob("*")) if source.is_dir() else [source])]
    return [file for file in dict.fromkeys(files) if file.is_file() and _tells(file)]


def read_software(path: Path) -> Iterator[Seen]:
    """What one log tells, in its order."""
    for number, row in enumerate(islice(_rows(path), _MOST), 1):
        address, port, banner = _server(row)
        try:
            host = canonical_address(address)
        except ValueError:
            continue
        for product, version in named_in(banner):
            yield Seen(
                host,
                Software(product, version, port, said=printable(banner), source=f"{path}, row {number}"),
            )


def newest(seen: Iterable[Seen]) -> dict[str, tuple[Software, ...]]:
    """By address, the last that was seen of each product at each port, in their order."""
    found: dict[str, dict[tuple[str, int | None], Software]] = {}
    for address, software in seen:
        found.setdefault(address, {})[software.product, software.port] = software
    return {
        address: tuple(each[key] for key in sorted(each, key=lambda key: (key[0], key[1] or 0)))
        for address, each in found.items()
    }


def _tells(file: Path) -> bool:
    try:
        start = head(file)
    except SourceError:
        return False
    first = start.lstrip()[:1]
    if first == b"{":
        return b'"software_type"' in start or (b'"auth_attempts"' in start and b'"server"' in start)
    return first == b"#" and any(mark in start for mark in (b"\tsoftware_type\t", b"#path\tssh"))


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with open_source(path) as stream:
        names: list[str] = []
        for raw in stream:
            line = raw.decode("utf-8", errors="replace").rstrip("\r\n")
            if line.startswith("{"):
                row = _object(line)
                if row is not None:
                    yield row
            elif line.startswith("#fields\t"):
                names = line.split("\t")[1:]
            elif names and line and not line.startswith("#"):
                yield dict(zip(names, line.split("\t"), strict=False))


def _object(line: str) -> Mapping[str, Any] | None:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _server(row: Mapping[str, Any]) -> tuple[str, int | None, str]:
    """Address, port and banner of a server that a row tells of; no banner where it tells of none."""
    kind = str(row.get("software_type", ""))
    if kind:
        banner = row.get("unparsed_version") or row.get("name") or ""
        return str(row.get("host", "")), _port(row.get("host_p")), _text(banner) if kind.endswith(_SERVERS) else ""
    names = ("id.resp_h", "id_resp_h"), ("id.resp_p", "id_resp_p")
    address, port = (next((row[name] for name in each if name in row), "") for each in names)
    return str(address), _port(port), _text(row.get("server", ""))


def _text(value: object) -> str:
    text = str(value)[: LONGEST * 2]
    return "" if text in {"-", "(empty)"} else text


def _port(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdigit() and 0 < int(text) < 65536 else None
