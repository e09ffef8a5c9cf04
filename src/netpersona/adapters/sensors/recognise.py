"""Which sensor reads a source: decided by what the source says, never by what it is called.

A file that was named must be readable, or that is an error.  A directory is searched to its depths; what
nobody recognises in it is left unread, and is said to be.  Zeek's logs that belong together are one sensor.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from netpersona.adapters.sensors.account import SourceAccount
from netpersona.adapters.sensors.source import head, open_source
from netpersona.adapters.sensors.wrapped import advice
from netpersona.errors import SourceError
from netpersona.flow.table import FlowBatch
from netpersona.ports import Sensor

__all__ = ["Recognised", "open_source", "recognise", "sensors"]

_EXPECTED = (
    "Zeek logs (TSV or JSON), Suricata EVE, pcap, pcapng, argus binetflow, nfdump, "
    "NetFlow or IPFIX datagrams, AWS VPC flow logs"
)
_STRANGERS = (
    (re.compile(rb"\x83\x10"), "a file of argus itself: print it with `ra -r FILE -n -u -c ,`"),
    (re.compile(rb"\s*\w+ +.*SrcAddr +"), "argus in columns of fixed width: print it with `ra -r FILE -n -u -c ,`"),
    (
        re.compile(rb"snoop\0|\x34\xcd\xb2\xa1|\xa1\xb2\xcd\x34|GMBU|XCP\0"),
        "a capture in a form that is not read: rewrite it with `editcap -F pcap`",
    ),
    (re.compile(rb"PAR1"), "Parquet: have it delivered as text"),
    (re.compile(rb"\xff\xfe|\xfe\xff"), "text in UTF-16: make it UTF-8 with `iconv -f UTF-16 -t UTF-8 FILE`"),
    (
        re.compile(rb"\x00\x05\x00[\x01-\x1e]|\x00\x09\x00|\x00\x0a.{14}\x00[\x02\x03]", re.DOTALL),
        "NetFlow or IPFIX, but not each datagram behind its length in 4 bytes: record them as pcap, or with nfcapd",
    ),
    (
        re.compile(rb"[^\n{]*\beni-[0-9a-f]{8,17}\b"),
        "VPC flow log lines of a custom format: put the line of its field names before them",
    ),
    (
        re.compile(rb'"?@timestamp"?,"?@message"?[,\r\n]'),
        "results of CloudWatch Logs Insights: take the lines out with `sed '1d;s/\"//g;s/^[^,]*,//;s/,.*//' FILE`",
    ),
    (
        re.compile(rb"[^\n]*@timestamp[^\n]*\bsrcAddr\b", re.IGNORECASE),
        "results of CloudWatch Logs Insights that say too little: query start, end, srcPort, dstPort, action, too",
    ),
    (
        re.compile(rb'\{[^\n]*"dataset"\s*:\s*"zeek\.'),
        "Zeek in Elastic's schema: give Zeek's own logs; what Filebeat kept of them gives `jq -r .event.original FILE`",
    ),
)
"""How files begin that come from the right tools in the wrong form, and what helps."""
_ZEEK = "zeek"
# Modules and their sensors, in the order in which they are asked: magic numbers first, then text from strict to lax.
_MAKERS = (
    ("pcap", "PcapSensor"),
    ("nfdump", "NfdumpSensor"),
    (_ZEEK, "ZeekSensor"),
    ("suricata", "SuricataSensor"),
    ("argus", "ArgusSensor"),
    ("vpcflow", "VpcFlowSensor"),
    ("netflow", "NetflowSensor"),
)


@dataclass(frozen=True, slots=True)
class Recognised:
    """The sensors of the sources given, and the files in directories that none of them can read, each with why."""

    sensors: list[Sensor]
    unread: list[tuple[Path, str]]
    given: Sequence[Path]


class EmptySource:
    """A source without a byte in it: nothing happened, which is no error."""

    format = "empty"

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> str:
        """The file."""
        return str(self._path)

    def batches(self) -> Iterator[FlowBatch]:
        """Nothing."""
        return iter(())

    def accounts(self) -> list[SourceAccount]:
        """One file, no flows."""
        return [SourceAccount(self.path, self.format, 0)]


def sensors(paths: Sequence[Path]) -> list[Sensor]:
    """The sensors that read these files and directories; see `recognise`."""
    return recognise(paths).sensors


def recognise(paths: Sequence[Path]) -> Recognised:
    """The sensors that read these files and directories, each file once, in the order of their names.

    Raises SourceError for a path that does not exist or may not be read, for a named file of no known format,
    and for a directory in which no file can be read.
    """
    found: dict[Path, str | None] = {}
    unread: list[tuple[Path, str]] = []
    for path in paths:
        if _mode(path, stat.S_ISDIR):
            _search(path, found, unread)
        elif _mode(path, stat.S_ISREG):
            found.setdefault(path, _maker(path))
        else:
            raise SourceError(f"{path}: neither a file nor a directory; expected {_EXPECTED}")
    return Recognised(_made(_once(found)), sorted(set(unread)), paths)


def _mode(path: Path, is_such: Callable[[int], bool]) -> bool:
    try:
        return is_such(path.stat().st_mode)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{path}: {getattr(error, 'strerror', None) or error}; expected a file or a directory"
        ) from error


def _search(top: Path, found: dict[Path, str | None], unread: list[tuple[Path, str]]) -> None:
    """Add what is recognised below a directory to `found`, the rest to `unread`."""
    before = len(found), len(unread)
    for file in _files(top, unread):
        try:
            if not file.is_file():
                unread.append((file, "not a regular file"))
                continue
            maker = _maker(file)
        except SourceError as error:
            unread.append((file, str(error).removeprefix(f"{file}:").lstrip()))
        else:
            found.setdefault(file, maker)
    if (len(found), len(unread)) == before:
        raise SourceError(f"{top}: no files in this directory; expected {_EXPECTED}")
    if len(found) == before[0]:
        path, reason = unread[before[1]]
        raise SourceError(f"{top}: no file in this directory can be read; {path.name}: {reason}")


def _files(top: Path, unread: list[tuple[Path, str]]) -> Iterator[Path]:
    def refused(error: OSError) -> None:
        unread.append((Path(error.filename or top), error.strerror or "cannot be listed"))

    for where, below, names in os.walk(top, onerror=refused):
        below.sort()
        links = [Path(where, name) for name in below if Path(where, name).is_symlink()]
        unread.extend((link, "a link to a directory: name it itself") for link in links)
        yield from (Path(where, name) for name in sorted(names))


def _maker(path: Path) -> str | None:
    """The module whose sensor reads the file; None for an empty file.  Raises SourceError if there is none."""
    start = head(path)
    if not start.strip(b" \t\r\n\0") and len(start) < 64:
        return None
    for module, _ in _MAKERS:
        if _module(module).looks_like(start):
            return module
    raise _unknown(path, start)


def _module(name: str) -> Any:
    return import_module(f"netpersona.adapters.sensors.{name}")


def _unknown(path: Path, start: bytes) -> SourceError:
    from netpersona.adapters.sensors.zeek_tsv import headerless, looks_headerless  # noqa: PLC0415  # loads polars

    if looks_headerless(start):
        return headerless(path, 1)
    stranger = next((told for begin, told in _STRANGERS if begin.match(start)), None) or advice(start, _is_known)
    if stranger is not None:
        return SourceError(f"{path}:1: {stranger}; expected {_EXPECTED}")
    first = start.split(b"\n", 1)[0].rstrip(b"\r")[:60]
    text = first.decode("ascii", "backslashreplace").replace("\t", " ")
    shown = text if text.isprintable() else first[:16].hex(" ")
    return SourceError(f"{path}:1: not recognised: it begins with {shown!r}; expected {_EXPECTED}")


def _is_known(start: bytes) -> bool:
    return any(_module(module).looks_like(start) for module in (_ZEEK, "suricata", "vpcflow"))


def _once(found: dict[Path, str | None]) -> dict[Path, str | None]:
    """Each file once, by whichever of its names comes first."""
    seen: dict[Path, Path] = {}
    for path in sorted(found):
        seen.setdefault(path.resolve(), path)
    return {path: found[path] for path in sorted(seen.values())}


def _made(found: dict[Path, str | None]) -> list[Sensor]:
    made: list[Sensor] = []
    zeek = [path for path, module in found.items() if module == _ZEEK]
    made.extend(_together(zeek))
    classes = dict(_MAKERS)
    for path, module in found.items():
        if module is None:
            made.append(EmptySource(path))
        elif module != _ZEEK:
            made.append(getattr(_module(module), classes[module])(path))
    return sorted(made, key=lambda sensor: sensor.path)


def _together(files: Iterable[Path]) -> Iterator[Sensor]:
    from netpersona.adapters.sensors.zeek import ZeekSensor, home  # noqa: PLC0415  # loads polars

    groups: dict[Path, list[Path]] = {}
    for file in files:
        groups.setdefault(home(file), []).append(file)
    for group in groups.values():
        yield ZeekSensor(*group)
