"""What the kernel told of denied packets, kept for who asks why: the latest of each VM and rule.

A VM that is denied a lot tells a lot, so each of its rules has room of its own: it hides no other's receipts.  The
latest of them are in every checkpoint, so a restart still knows them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from netpersona.adapters.enforcers.nftables.receipts import Receipt
from netpersona.flow.vm import VmId

EACH, RULES = 200, 200  # receipts of one VM and rule, and how many such there are room for
STORED_EACH, STORED = 50, 2_000  # of them in a checkpoint

_Key = tuple[VmId | None, str, str]  # VM, policy, rule


class Told:
    """Receipts by VM and rule."""

    def __init__(self, content: bytes | None = None) -> None:
        """With those that to_bytes() was given of."""
        self._kept: dict[_Key, deque[Receipt]] = {}
        self._content = content or b""
        self._changed = False
        if content is not None:
            self.add(_DECODER.decode(content))
            self._changed = False

    def add(self, receipts: Iterable[Receipt]) -> None:
        """Take what was told, in the order in which it was."""
        for receipt in receipts:
            key = (receipt.vm, receipt.policy, receipt.rule)
            kept = self._kept.pop(key, None) or deque(maxlen=EACH)
            kept.append(receipt)
            self._kept[key] = kept
            self._changed = True
        while len(self._kept) > RULES:
            del self._kept[next(iter(self._kept))]

    def of(self, vm: VmId | None) -> list[Receipt]:
        """Those of one VM, or of all, oldest first."""
        found = [receipt for key, kept in self._kept.items() if vm is None or key[0] == vm for receipt in kept]
        return sorted(found, key=_at)

    def to_bytes(self) -> bytes:
        """For the store: the latest of each."""
        if self._changed:
            latest = [receipt for kept in self._kept.values() for receipt in list(kept)[-STORED_EACH:]]
            self._content = _ENCODER.encode(sorted(latest, key=_at)[-STORED:])
            self._changed = False
        return self._content or _ENCODER.encode([])


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Receipt])


def _at(receipt: Receipt) -> int:
    return receipt.at
