"""How the flow tables of open windows and small mappings become bytes in a store."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from io import BytesIO
from typing import TypeVar

import msgspec
import polars as pl

from netpersona.errors import StoreError

T = TypeVar("T")

ROWS_PER_BLOB = 500_000  # a blob stays far below SQLite's limit of 1 GB


def packed_frames(frame: pl.DataFrame) -> Iterator[bytes]:
    """The frame's rows in blobs of bounded size, as Arrow IPC files compressed with zstd; none for no rows."""
    for part in frame.iter_slices(ROWS_PER_BLOB) if frame.height else ():
        buffer = BytesIO()
        part.write_ipc(buffer, compression="zstd")
        yield buffer.getvalue()


def unpacked_frame(blob: bytes) -> pl.DataFrame:
    """The rows of one blob.  Raises StoreError where it is damaged."""
    try:
        return pl.read_ipc(BytesIO(blob))
    except (pl.exceptions.PolarsError, OSError) as e:
        raise StoreError(f"the stored flows of the open windows are damaged: {e}") from e


class PackedNames(Mapping[str, Mapping[str, int]]):
    """DNS answers, name -> address -> last seen, as packed_names() gave them: a fifth of the memory of dicts."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __getitem__(self, name: str) -> Mapping[str, int]:
        return unpacked_names(self.content)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(unpacked_names(self.content))

    def __len__(self) -> int:
        return len(unpacked_names(self.content))

    def items(self) -> ItemsView[str, Mapping[str, int]]:
        """All at once."""
        return unpacked_names(self.content).items()


def packed_names(names: Mapping[str, Mapping[str, int]]) -> bytes:
    """DNS answers, name -> address -> last seen, in canonical order."""
    if isinstance(names, PackedNames):
        return names.content
    return _PACK.encode({name: dict(addresses) for name, addresses in names.items()})


def unpacked_names(blob: bytes) -> dict[str, dict[str, int]]:
    """The inverse of packed_names.  Raises StoreError where the bytes are damaged."""
    return _unpacked(blob, _NAMES)


def packed_counts(counts: Mapping[str, int]) -> bytes:
    """Counts by reason, in canonical order."""
    return _PACK.encode(dict(counts))


def unpacked_counts(blob: bytes) -> dict[str, int]:
    """The inverse of packed_counts.  Raises StoreError where the bytes are damaged."""
    return _unpacked(blob, _COUNTS)


_PACK = msgspec.msgpack.Encoder(order="deterministic")
_NAMES = msgspec.msgpack.Decoder(dict[str, dict[str, int]])
_COUNTS = msgspec.msgpack.Decoder(dict[str, int])


def _unpacked(blob: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    try:
        return decoder.decode(blob)
    except msgspec.MsgspecError as e:
        raise StoreError(f"a stored mapping is damaged: {e}") from e
