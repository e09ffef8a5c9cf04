r"""Zeek's logs as a sensor: any number of conn, dns, http, ssl and ssh logs, joined by uid.

    dns http ssl ssh logs --sound--> transactions
                              \----> Mentions (uid -> name, fingerprint, log-in)
    conn logs ---------------sound--> flows --told by Mentions--> flows
                                      Mentions that no conn row told of --> flows of their own

Logs of other kinds (x509, files, notice, ...) are recognised as Zeek's and say nothing of flows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from netpersona.adapters.sensors.account import SourceAccount, Tally
from netpersona.adapters.sensors.mentions import Mentions
from netpersona.adapters.sensors.source import ahead, head, open_source
from netpersona.adapters.sensors.zeek_fields import Rows, sound
from netpersona.adapters.sensors.zeek_json import kinds_of_json, looks_like_json, read_json
from netpersona.adapters.sensors.zeek_shape import flows, mentions, transactions
from netpersona.adapters.sensors.zeek_tsv import headerless, kinds_of_tsv, looks_headerless, looks_like_tsv, read_tsv
from netpersona.errors import SourceError
from netpersona.flow.table import FlowBatch, batch

_ROTATED = re.compile(r"\d{4}-?\d\d(-?\d\d)?|current|\d\d")  # directories into which Zeek rotates its logs


def looks_like(head: bytes) -> bool:
    """Whether a source that begins so is a log of Zeek's, of any kind."""
    return looks_like_tsv(head) or looks_like_json(head)


def home(path: Path) -> Path:
    """The directory whose logs belong together: the file's own, above any that only hold a day's logs."""
    where = path.resolve().parent
    while _ROTATED.fullmatch(where.name):
        where = where.parent
    return where


class ZeekSensor:
    """Zeek logs that belong together.  Rows that name no sensor get the name of the logs' directory."""

    format = "zeek"

    def __init__(self, path: Path, *more: Path) -> None:
        self._files = sorted({path, *more})
        self._label = home(self._files[0]).name or "zeek"
        self._tallies = [Tally(str(file), self.format) for file in self._files]

    @property
    def path(self) -> str:
        """The file, or the directory that holds the files."""
        return str(self._files[0]) if len(self._files) == 1 else os.path.commonpath(self._files)

    def batches(self) -> Iterator[FlowBatch]:
        """Transactions of the applications' logs, then flows.  Raises SourceError for a file that is no Zeek log."""
        self._tallies = [Tally(str(file), self.format) for file in self._files]
        kinds = [_kinds(file) for file in self._files]
        known = Mentions()
        for file, tally, held in zip(self._files, self._tallies, kinds, strict=True):
            if held and held != {"conn"}:
                yield from self._said(file, tally, known)
        for file, tally, held in zip(self._files, self._tallies, kinds, strict=True):
            if "conn" in held:
                yield from self._happened(file, tally, known, said="conn" in held and len(held) > 1)
        for own in known.flows():
            yield batch(flows=own)

    def accounts(self) -> list[SourceAccount]:
        """What was read of each file, once `batches` is exhausted."""
        return [tally.account() for tally in self._tallies]

    def _said(self, file: Path, tally: Tally, known: Mentions) -> Iterator[FlowBatch]:
        """The rows of applications in one file, as transactions; what they mention becomes known."""
        for rows in _sound_rows(file):
            if rows.kind is None or rows.kind == "conn":
                tally.skip(rows.skipped)
                if rows.skipped:
                    yield batch(skipped=rows.skipped)
                continue
            known.add(mentions(rows, self._label, str(file)))
            yield _used(tally, rows, batch(transactions=transactions(rows, self._label), skipped=rows.skipped))

    def _happened(self, file: Path, tally: Tally, known: Mentions, *, said: bool) -> Iterator[FlowBatch]:
        """The conn rows of one file, as flows that know what is known of them.

        `said`: the file's other rows were read before, and what was skipped was counted then.
        """
        for rows in _sound_rows(file):
            if rows.kind == "conn":
                skipped = {} if said else rows.skipped
                told = known.tell(flows(rows, self._label, str(file)))
                yield _used(tally, Rows(rows.kind, rows.frame, skipped), batch(flows=told, skipped=skipped))
            elif not said:
                yield _used(tally, rows, batch(transactions=transactions(rows, self._label), skipped=rows.skipped))


def _kinds(file: Path) -> set[str | None]:
    """Which kinds of rows the file begins with; none for an empty file.  Raises SourceError for another format."""
    start = head(file)
    if not start.strip():
        return set()
    if looks_headerless(start):
        raise headerless(file, 1)
    if not looks_like(start):
        shown = start.lstrip()[:60]
        raise SourceError(
            f"{file}:1: {shown!r} begins no Zeek log; expected '#' header lines or JSON objects with 'ts'"
        )
    whole = start[: start.rfind(b"\n") + 1] or start
    return kinds_of_tsv(whole) if looks_like_tsv(start) else kinds_of_json(whole)


def _sound_rows(file: Path) -> Iterator[Rows]:
    """The file's sound rows; what was skipped outside of any table comes last, of no kind."""
    beside: dict[str, int] = {}
    with open_source(file) as stream:
        read = read_tsv if looks_like_tsv(head(file)) else read_json
        for rows in ahead(read(file, stream, beside)):
            yield sound(rows)
    if beside:
        yield Rows(None, pl.DataFrame(), beside)


def _used(tally: Tally, rows: Rows, given: FlowBatch) -> FlowBatch:
    tally.skip(rows.skipped)
    if rows.frame.height:
        first, last = rows.frame.select(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last")).row(0)
        tally.use(rows.frame.height, round(first * 1e6), round(last * 1e6))
    return given
