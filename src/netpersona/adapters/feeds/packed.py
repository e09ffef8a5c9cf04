"""How a feed's bytes are unpacked: gzip, bzip2, xz, zstd, or a zip of one file; never more than is reasonable.

What it is, its first bytes say.  Data that grows without end is noticed after a few steps: real lists shrink to a
hundredth at best, a bomb to a thousandth.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, cast

import zstandard

LARGEST = 1 << 30  # bytes after unpacking
RATIO = 100  # bytes that one packed byte may become
_FREE = 16 << 20  # bytes that anything may become
_STEP = 4 << 20  # bytes unpacked at a time
_ZSTD_STEP = 512  # packed bytes at a time: each may become 32,000
_WINDOW = 128 << 20  # bytes that zstd may look back
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, MemoryError, zlib.error)
_DAMAGED = (*_BROKEN, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile)


class PackedError(ValueError):
    """Packed bytes cannot be unpacked, or would become too many."""


def unpacked(content: bytes, largest: int = LARGEST) -> bytes:
    """The bytes themselves, unpacked if they are packed.  Raises PackedError for more than `largest` of them."""
    pieces = next((pieces for magic, pieces in _PACKED.items() if content.startswith(magic)), None)
    if pieces is None:
        return _within(content, largest)
    source, whole = io.BytesIO(content), bytearray()
    try:
        for piece in pieces(source):
            whole += piece
            if len(_within(whole, largest)) > _FREE + RATIO * source.tell():
                raise PackedError(f"packed data becomes more than {RATIO} times its size; no list does")
    except _DAMAGED as error:
        if isinstance(error, PackedError):
            raise
        raise PackedError(f"packed data is damaged or cut short ({str(error) or type(error).__name__})") from error
    return bytes(whole)


def _within(content: bytes | bytearray, largest: int) -> bytes:
    if len(content) > largest:
        raise PackedError(f"more than {largest >> 20} MiB; a shorter list is expected")
    return cast("bytes", content)


def _read(inner: IO[bytes]) -> Iterator[bytes]:
    with inner:
        while piece := inner.read(_STEP):
            yield piece


def _zstd(source: io.BytesIO) -> Iterator[bytes]:
    """What every frame holds; its own reader would not tell that the last one is cut short."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    frame = decompressor.decompressobj()
    while packed := source.read(_ZSTD_STEP):
        while packed:
            frame = decompressor.decompressobj() if frame.eof else frame
            yield frame.decompress(packed)
            packed = frame.unused_data
    if not frame.eof:
        raise EOFError("the last frame does not end")


def _zip(source: io.BytesIO) -> Iterator[bytes]:
    """What the one file of a zip holds, folders and what macOS adds left aside.  Raises PackedError."""
    with zipfile.ZipFile(source) as archive:
        members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
        if len(members) != 1:
            raise PackedError(f"a zip of {len(members)} files; a zip of one is expected")
        if members[0].flag_bits & 1:
            raise PackedError("the zip has a password; unpack it first")
        yield from _read(archive.open(members[0]))


_PACKED: dict[bytes, Callable[[io.BytesIO], Iterator[bytes]]] = {
    b"\x1f\x8b": lambda source: _read(cast("IO[bytes]", gzip.GzipFile(fileobj=source))),
    b"BZh": lambda source: _read(cast("IO[bytes]", bz2.BZ2File(source))),
    b"\xfd7zXZ\x00": lambda source: _read(cast("IO[bytes]", lzma.LZMAFile(source))),  # noqa: SIM115 (_read closes it)
    b"\x28\xb5\x2f\xfd": _zstd,
    b"PK\x03\x04": _zip,
}
