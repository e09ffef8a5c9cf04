"""What of the sources could not be read, and whether that ends a replay.

A file that was named, and a folder in which nothing can be read, are errors.  A file that was found in a folder among
others that can be read is left unread, and is said to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from netpersona.adapters.sensors.source import open_source
from netpersona.errors import SourceError
from netpersona.flow.account import SourceAccount
from netpersona.flow.table import FlowBatch
from netpersona.ports import Sensor

_NAMES_FIRST = {"zeek": False, "suricata": False, "argus": True, "vpcflow": True}  # formats of lines


@dataclass(frozen=True, slots=True)
class Readable:
    """What was given to read, and what went wrong with the files of it that a sensor gave up."""

    given: Sequence[Path]
    broken: dict[str, str] = field(default_factory=dict)

    def parts(self, sensor: Sensor) -> Iterator[FlowBatch]:
        """What the sensor has to say.  Raises SourceError where it gives up, but for one file found in a folder."""
        try:
            yield from sensor.batches()
        except SourceError as error:
            files = [account.path for account in sensor.accounts()]
            if len(files) != 1 or Path(files[0]) in self.given:
                raise
            self.broken[files[0]] = str(error)

    def unread(self, accounts: Sequence[SourceAccount]) -> list[tuple[str, str]]:
        """The files that could not be read, each with why.  Raises SourceError for a source that is nothing else."""
        wrong = {account.path: _fault(account) for account in accounts if _is_unreadable(account)} | self.broken
        for source in self.given:
            _check(source, [account for account in accounts if Path(account.path).is_relative_to(source)], wrong)
        return [(path, told.removeprefix(f"{path}:").lstrip()) for path, told in sorted(wrong.items())]


def _check(source: Path, accounts: Sequence[SourceAccount], wrong: Mapping[str, str]) -> None:
    first = next((account.path for account in accounts if account.path in wrong), None)
    if first is None or any(account.flows for account in accounts):
        return
    raise SourceError(
        wrong[first] if first == str(source) else f"{source}: no file in this directory can be read; {wrong[first]}"
    )


def _is_unreadable(account: SourceAccount) -> bool:
    """Whether it has records, and not one of them could be read."""
    return account.flows == 0 and bool(account.skipped) and not any(map(_no_fault, account.skipped))


def _no_fault(reason: str) -> bool:
    """Whether records skipped for this reason are sound, and only say nothing of flows."""
    return reason.startswith(("not IP", "not an IP packet", "NODATA", "SKIPDATA"))


def _fault(account: SourceAccount) -> str:
    said = ", ".join(f"{reason} ({count:,})" for reason, count in sorted(account.skipped.items()))
    line = _first_record(account)
    return (
        f"{account.path}:{'' if line is None else f'{line}:'} recognised as {account.format}, but not one of its"
        f" records could be read: {said}; expected records with a time, two addresses and counters as that format"
        " has them"
    )


def _first_record(account: SourceAccount) -> int | None:
    """The line on which a text's records begin; None for what has no lines."""
    if account.format not in _NAMES_FIRST:
        return None
    with open_source(Path(account.path)) as lines:
        for number, line in enumerate(lines, 1):
            is_names = _NAMES_FIRST[account.format] and not any(byte in b"0123456789" for byte in line)
            if line.strip() and not line.startswith(b"#") and not is_names:
                return number
    return None
