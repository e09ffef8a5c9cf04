"""How much an answer in gzip (RFC 1952) may hold: it is counted as it is unpacked, so a bomb costs no more."""

from __future__ import annotations

import zlib

from netpersona.errors import FeedError

_STEP = 1 << 20  # bytes unpacked at a time


class Gunzip:
    """Unpacks a stream piece by piece, up to `largest` bytes.  Raises FeedError."""

    def __init__(self, largest: int) -> None:
        self._left = self._largest = largest
        self._member = zlib.decompressobj(31)
        self._begun = False

    def feed(self, packed: bytes) -> bytes:
        """What these bytes unpack to."""
        pieces = []
        while packed:
            if self._member.eof:
                self._member = zlib.decompressobj(31)
            try:
                piece = self._member.decompress(packed, min(_STEP, self._left + 1))
            except zlib.error as error:
                raise FeedError("what it sends as gzip is damaged") from error
            self._begun = True
            self._left -= len(piece)
            if self._left < 0:
                raise FeedError(too_much(self._largest))
            pieces.append(piece)
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return b"".join(pieces)

    def close(self) -> None:
        """Raises FeedError where the data broke off."""
        if self._begun and not self._member.eof:
            raise FeedError("what it sends as gzip breaks off")


def too_much(largest: int) -> str:
    """What is said of a list that is too big."""
    return f"it is more than {shown_size(largest)}; expected a shorter list, or 'largest' in the feed's configuration"


def shown_size(size: int) -> str:
    """A number of bytes for people."""
    for unit, width in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= width:
            return f"{size / width:.4g} {unit}"
    return f"{size} bytes"
