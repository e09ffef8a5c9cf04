"""The block compressions of nfdump files: LZO1X and LZ4 in Python, bzip2 and zstd from libraries.

LZ4 and LZO are decoded here because no library of the standard set has them; a sequence of either is a few
literal bytes and a copy, so that the cost is by sequence, not by byte.  Both are safe on hostile input:
output never grows past `most`, and whatever is wrong raises CodecError.
"""

from __future__ import annotations

import bz2
from collections.abc import Callable
from importlib import import_module


class CodecError(ValueError):
    """The bytes are not what the codec produces."""


def plain(data: bytes, most: int) -> bytes:
    """Not compressed."""
    if len(data) > most:
        raise CodecError("block too long")
    return data


def unbz2(data: bytes, most: int) -> bytes:
    """One bzip2 stream."""
    stream = bz2.BZ2Decompressor()
    try:
        out = stream.decompress(data, most)
    except (OSError, ValueError, EOFError) as error:
        raise CodecError(str(error)) from error
    if not stream.eof:
        raise CodecError("bzip2 block ends early, or is too long")
    return out


def unzstd(data: bytes, most: int) -> bytes:
    """One zstd frame (RFC 8878), of which the size may be told or not; needs the package zstandard."""
    try:
        zstandard = import_module("zstandard")
    except ImportError as error:
        raise CodecError("compressed with zstd; install the package zstandard") from error
    try:
        told = zstandard.get_frame_parameters(data).content_size
        if most < told < zstandard.CONTENTSIZE_UNKNOWN:  # the library would make room for all of it
            raise CodecError("block too long")
        return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=most))
    except zstandard.ZstdError as error:
        raise CodecError(str(error)) from error


def unlz4(data: bytes, most: int) -> bytes:
    """One LZ4 block (lz4_Block_format.md)."""
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            token = data[at]
            at += 1
            length = token >> 4
            if length == 15:
                length, at = _run(data, at, 15)
            if length:
                out += data[at : at + length]
                at += length
            if at >= end:
                break
            distance = data[at] | data[at + 1] << 8
            at += 2
            length = (token & 15) + 4
            if length == 19:
                length, at = _run(data, at, 19)
            _copy(out, distance, length, most)
    except IndexError as error:
        raise CodecError("LZ4 block ends early") from error
    if at > end or len(out) > most:
        raise CodecError("LZ4 block ends early")
    return bytes(out)


def _run(data: bytes, at: int, length: int) -> tuple[int, int]:
    """A length that goes on in bytes of 255, and where it ends."""
    while data[at] == 255:
        length += 255
        at += 1
    return length + data[at], at + 1


def _copy(out: bytearray, distance: int, length: int, most: int) -> None:
    """Repeat `length` bytes from `distance` back; the copy may overlap what it writes."""
    start = len(out) - distance
    if distance == 0 or start < 0 or len(out) + length > most:
        raise CodecError("copy from outside the block")
    if length <= distance:
        out += out[start : start + length]
        return
    out += (out[start:] * (length // distance + 1))[:length]


def unlzo(data: bytes, most: int) -> bytes:
    """One LZO1X block, to its end marker (the format as the Linux kernel's lzo.rst describes it)."""
    try:
        return _unlzo(data, most)
    except IndexError as error:
        raise CodecError("LZO block ends early") from error


def _unlzo(data: bytes, most: int) -> bytes:
    out = bytearray()
    at, after = 0, 0  # after: how many literals came with the last instruction; 4: a run of them
    if data[0] > 17:
        length = data[0] - 17
        out += data[1 : 1 + length]
        at, after = 1 + length, min(length, 4)
    while True:
        code = data[at]
        at += 1
        if code < 16 and after == 0:
            length, at = _zeros(data, at, 15) if code == 0 else (code, at)
            out += data[at : at + length + 3]
            at, after = at + length + 3, 4
            continue
        if code >= 64:
            distance, length = 1 + (code >> 2 & 7) + (data[at] << 3), (code >> 5) + 1
            at, after = at + 1, code & 3
        elif code < 16:
            near = after != 4
            distance, length = (code >> 2) + (data[at] << 2) + (1 if near else 2049), 2 if near else 3
            at, after = at + 1, code & 3
        else:
            mask = 31 if code >= 32 else 7
            length, at = _zeros(data, at, mask) if code & mask == 0 else (code & mask, at)
            word = data[at] | data[at + 1] << 8
            at, after, length = at + 2, word & 3, length + 2
            distance = (word >> 2) + 1
            if code < 32:
                distance = (word >> 2) + ((code & 8) << 11)
                if distance == 0:
                    return bytes(out)
                distance += 0x4000
        _copy(out, distance, length, most)
        if after:
            out += data[at : at + after]
            at += after


def _zeros(data: bytes, at: int, length: int) -> tuple[int, int]:
    """A length that goes on in zero bytes of 255 each, and where it ends."""
    while data[at] == 0:
        length += 255
        at += 1
    return length + data[at], at + 1


DECODERS: dict[int, Callable[[bytes, int], bytes]] = {0: plain, 1: unlzo, 2: unbz2, 3: unlz4, 4: unzstd}
