"""How a source is opened: decompressed by its magic bytes, and cut into blocks of whole lines.

Compressed data that ends early or is damaged gives what could be decompressed, then ends; `damage` tells
what went wrong, for the reader to count.  Nothing here holds more than one block, but for a JSON array, which
becomes lines (see `json_array`).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar, cast

from netpersona.adapters.sensors import json_array
from netpersona.errors import SourceError

HEAD = 64 * 1024  # bytes that a sensor may look at to recognise its format
BLOCK = 24 * 1024 * 1024  # bytes: some 200,000 rows of a Zeek conn.log; malloc maps 32 MiB and more anew each time
LONGEST_LINE = 4 * 1024 * 1024  # bytes; a longer line is not a record

_PIECE = 64 * 1024
_START = 4096  # bytes in which an array shows itself
_MARK = b"\xef\xbb\xbf"  # of UTF-8, which some tools write before text
_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)


_T = TypeVar("_T")
_Buffered: TypeAlias = "io.BufferedReader[io.FileIO]"


class _Decompressed(io.RawIOBase):
    """A decompressor's output that ends where the compressed data turns out to be damaged."""

    def __init__(self, inner: BinaryIO, compressed: BinaryIO) -> None:
        self._inner = inner
        self._compressed = compressed
        self.damage: str | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._inner.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; a decompressor goes back by beginning again."""
        try:
            return self._inner.seek(offset, whence)
        except _BROKEN as error:
            self.damage = f"compressed data damaged or cut short ({error})"
            return self._inner.tell()

    def tell(self) -> int:
        return self._inner.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self.damage is not None:
            return 0
        try:
            # read1 gives what one step of decompression yields: data before damage is not lost with it
            piece = self._inner.read1(min(len(buffer), _PIECE))  # type: ignore[attr-defined]
        except _BROKEN as error:
            self.damage = f"compressed data damaged or cut short ({error})"
            return 0
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._inner.close()
        self._compressed.close()
        super().close()


def open_source(path: Path) -> BinaryIO:
    """The file's bytes, decompressed (gzip, bzip2, xz, zstd); a JSON array as lines.  Raises SourceError."""
    try:
        plain = io.BufferedReader(path.open("rb", buffering=0), 1 << 20)
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened: {error.strerror or error}") from error
    try:
        magic = plain.peek(6)[:6]
        inner = _decompressor(path, plain, magic)
    except OSError as error:
        plain.close()
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SourceError:
        plain.close()
        raise
    opened = plain if inner is None else cast("_Buffered", io.BufferedReader(_Decompressed(inner, plain), 1 << 20))
    return cast("BinaryIO", _unwrapped(path, opened))


class _Lines(io.BytesIO):
    """What an array became; it keeps the damage of the compressed data it came from."""

    def __init__(self, content: bytes, damage: str | None) -> None:
        super().__init__(content)
        self.raw = self
        self.damage = damage


def _unwrapped(path: Path, opened: _Buffered) -> io.BufferedIOBase:
    """The source itself, or the lines of the JSON array that it is.  Raises SourceError for an array too long."""
    try:
        if opened.peek(len(_MARK)).startswith(_MARK):
            opened.read(len(_MARK))
        if not json_array.is_array(opened.peek(_START)[:_START]):
            return opened
        with opened:
            content = opened.read(json_array.LARGEST + 1)
            broken = damage(cast("BinaryIO", opened))
    except OSError as error:
        opened.close()
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > json_array.LARGEST:
        largest = json_array.LARGEST >> 20
        raise SourceError(
            f"{path}:1: a JSON array of more than {largest} MB, which cannot be read in parts; {json_array.ADVICE}"
        )
    return _Lines(json_array.lines(content), broken)


def _decompressor(path: Path, plain: BinaryIO, magic: bytes) -> BinaryIO | None:
    if magic.startswith(_GZIP):
        return cast("BinaryIO", gzip.GzipFile(fileobj=plain, mode="rb"))
    if magic.startswith(_BZIP2) and magic[3:4].isdigit():
        return cast("BinaryIO", bz2.BZ2File(plain))
    if magic.startswith(_XZ):
        return cast("BinaryIO", lzma.LZMAFile(plain))
    if magic.startswith(_ZSTD):
        return _zstd(path, plain)
    return None


def _zstd(path: Path, plain: BinaryIO) -> BinaryIO:
    try:
        zstandard = import_module("zstandard")
    except ImportError as error:
        advice = "install the package zstandard, or unpack it first"
        raise SourceError(f"{path}: is compressed with zstd; {advice}") from error
    return cast("BinaryIO", zstandard.ZstdDecompressor().stream_reader(plain, read_across_frames=True))


def damage(stream: BinaryIO) -> str | None:
    """What was wrong with the compressed data behind a stream of open_source; None if nothing, so far."""
    return getattr(getattr(stream, "raw", None), "damage", None)


def head(path: Path, size: int = HEAD) -> bytes:
    """The first bytes of a source, decompressed.  Raises SourceError, also where not one byte decompresses."""
    with open_source(path) as stream:
        try:
            start = stream.read(size)
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
        if not start and (reason := damage(stream)):
            raise SourceError(f"{path}: {reason}; expected whole compressed data")
    return start


def blocks(path: Path, stream: BinaryIO, skipped: dict[str, int], size: int = BLOCK) -> Iterator[bytes]:
    """The stream in blocks of whole lines of about `size` bytes; only the last may lack its newline.

    A line longer than LONGEST_LINE and damaged compression are counted into `skipped`.
    """
    rest, in_long_line = b"", False
    while chunk := _read(path, stream, size):
        cut = chunk.rfind(b"\n") + 1
        if in_long_line:
            start = chunk.find(b"\n") + 1
            in_long_line = start == 0
            chunk, cut = (b"", 0) if in_long_line else (chunk[start:], cut - start)
        if cut:
            yield rest + chunk[:cut]
            rest = chunk[cut:]
        else:
            rest += chunk
        if len(rest) > LONGEST_LINE:
            skipped["line too long"] = skipped.get("line too long", 0) + 1
            rest, in_long_line = b"", True
    if rest:
        yield rest
    if damage(stream):
        reason = "compressed data damaged or cut short"
        skipped[reason] = skipped.get(reason, 0) + 1


def ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The items, each made by another thread while the one before is worked on: reading and parsing need no lock."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, items, None)
            yield item


def _read(path: Path, stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
