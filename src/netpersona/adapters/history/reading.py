"""A day of the history as a hunt reads it, while another process may write it.

What was put together meanwhile, or let go, is looked up anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import polars as pl

from netpersona.adapters.history.segment import KINDS, scanned, segments
from netpersona.errors import StoreError
from netpersona.intel.rollup import answering, talks_with

_TRIES = 5  # a writer puts a day's segments together seldom

T = TypeVar("T")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Errors of reading are StoreErrors that name the place."""
    try:
        yield
    except (OSError, ValueError, pl.exceptions.PolarsError, msgspec.MsgspecError) as error:
        raise StoreError(f"history {path}: cannot be read: {error}; move what is damaged away") from error


@dataclass(frozen=True, slots=True)
class DayOnDisk:
    """A day of the history: an intel.hunt.Day.  Raises StoreError."""

    path: Path
    start: int  # µs

    def rows(self, kind: str) -> pl.LazyFrame:
        """All rows of a kind: flows, said, talks, uses."""
        return scanned([file for each in segments(self.path) for file in each.files(kind)], kind)

    def peers(self) -> pl.DataFrame:
        """The peers as numbers (version, hi, lo), each at least once."""
        numbers = ("version", "hi", "lo")
        another = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in numbers)
        # they are sorted in each file, so equal ones stand together; to find them by hash would cost half of a hunt
        return self._read(lambda: self.rows("talks").select(numbers).filter(another).collect()).drop_nulls()

    def names(self) -> pl.Series:
        """The names that were used, each once."""

        def both() -> pl.Series:
            found = [self.rows(kind).select(pl.col("name").unique()).collect()["name"] for kind in ("talks", "uses")]
            return pl.concat(found).drop_nulls().unique()

        return self._read(both)

    def talks_with(self, peers: pl.Series, names: pl.Series) -> pl.DataFrame:
        """The talks whose peer has one of these lower halves (`lo`), or which have one of these names."""
        return self._read(lambda: self.rows("talks").filter(talks_with(peers, names)).collect())

    def uses_of(self, names: pl.Series) -> pl.DataFrame:
        """The uses of these names."""
        return self._read(lambda: self.rows("uses").filter(pl.col("name").is_in(names.implode())).collect())

    def uses_answering(self, addresses: pl.Series) -> pl.DataFrame:
        """The DNS questions that were answered with one of these addresses."""
        return self._read(lambda: self.rows("uses").filter(answering(addresses)).collect())

    def _read(self, read: Callable[[], T]) -> T:
        with readable(self.path):
            for _ in range(_TRIES):
                before = [each.path for each in segments(self.path)]
                try:
                    return read()
                except (OSError, pl.exceptions.PolarsError) as error:
                    if all(path.exists() for path in before):
                        raise StoreError(f"history {self._damaged()}: cannot be read: {error}; move it away") from error
            return read()

    def _damaged(self) -> Path:
        """The first segment that cannot be read, or the day."""
        for each in segments(self.path):
            for file in (file for kind in KINDS for file in each.files(kind)):
                try:
                    pl.read_parquet(file)
                except (OSError, pl.exceptions.PolarsError):
                    return each.path
        return self.path
