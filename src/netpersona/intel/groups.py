"""From listed prefixes to the addresses and networks a firewall set holds.

Addresses and networks stay apart, because a kernel keeps addresses in a hash set, where a change is cheap,
and networks in an interval set, where each change costs the whole set.  So networks are collapsed as far as
they go, and neighbouring addresses are not turned into networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import numpy.typing as npt

from netpersona.intel.prefix import WIDTH
from netpersona.intel.spans import Bools, Numbers, Spans, blocks, union

_ADDRESS = {4: IPv4Address, 6: IPv6Address}


@dataclass(frozen=True, slots=True)
class PeerGroup:
    """Peers as a firewall takes them: canonical, no address in a network, no network in another, in numeric order."""

    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prefixes:
    """Prefixes of one IP version, each once, by first address, the wider before the narrower, with their texts.

    `free` are the ranges that no allow-list holds: nothing outside them comes into a group.
    """

    version: int
    starts: Numbers
    ends: Numbers
    texts: npt.NDArray[np.object_]
    free: Spans

    def __len__(self) -> int:
        return len(self.starts)

    def group(self, chosen: Bools) -> PeerGroup:
        """The union of the chosen prefixes."""
        wide = chosen & ~self._single
        spans = union(self.starts[wide], self.ends[wide]).overlap(self.free)
        networks, split = self._written(spans, wide)
        single = self._addresses(chosen, spans)
        addresses: list[str] = self.texts[single].tolist()
        places = np.searchsorted(self.starts[single], np.array(split, self.starts.dtype)).tolist()
        for place, number in zip(reversed(places), reversed(split), strict=True):
            addresses.insert(place, str(_ADDRESS[self.version](number)))
        return PeerGroup(tuple(addresses), tuple(networks))

    @cached_property
    def _single(self) -> Bools:
        """Which are addresses."""
        found: Bools = self.starts == self.ends
        return found

    @cached_property
    def _free_single(self) -> Bools:
        return self._single & self.free.holds(self.starts)

    @cached_property
    def nested(self) -> Bools:
        """Which lie in another one."""
        found = np.zeros(len(self.starts), dtype=np.bool_)
        found[1:] = self.starts[1:] <= np.maximum.accumulate(self.ends)[:-1]
        return found

    def _addresses(self, chosen: Bools, spans: Spans) -> Bools:
        """The chosen addresses that are free and in none of these ranges."""
        found = chosen & self._free_single
        asked = np.flatnonzero(found & self.nested)
        found[asked[spans.holds(self.starts[asked])]] = False
        return found

    def _written(self, spans: Spans, wide: Bools) -> tuple[list[str], list[int]]:
        """The networks that cover these ranges, and the addresses that remain beside them where one was cut."""
        if not len(spans):
            return [], []
        starts, ends = self.starts[wide], self.ends[wide]
        place = np.minimum(np.searchsorted(starts, spans.starts, side="left"), len(starts) - 1)
        texts: list[str] = self.texts[wide][place].tolist()
        whole = (starts[place] == spans.starts) & (ends[place] == spans.ends)
        return (texts, []) if whole.all() else self._cut(spans, texts, whole)

    def _cut(self, spans: Spans, texts: list[str], whole: Bools) -> tuple[list[str], list[int]]:
        networks: list[str] = []
        addresses: list[int] = []
        for start, end, text, known in zip(
            spans.starts.tolist(), spans.ends.tolist(), texts, whole.tolist(), strict=True
        ):
            if known:
                networks.append(text)
                continue
            for first, bits in blocks(start, end):
                if bits:
                    networks.append(f"{_ADDRESS[self.version](first)}/{WIDTH[self.version] - bits}")
                else:
                    addresses.append(first)
        return networks, addresses
