"""What an exporter says of its sampling, and what its counters stand for.

An exporter that looks at one packet in N counts what it looked at.  So that a sampled source can be held against
others, its packets and bytes are multiplied by N where N is told: in the header of NetFlow v5; in options records
(samplingInterval, samplerRandomInterval, samplingPacketInterval with its space, samplingSize of samplingPopulation),
for the sampler that a record names, or for all records of the exporter where it told one rate only; or in the record
itself.  Where a record may have been sampled at one of several rates, nothing is guessed: it stays as exported, and
the account says so.

Source: RFC 3954 (8), RFC 5477, and IANA's registry of IPFIX information elements.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from netpersona.flow.words import counted

Values = Mapping[int, npt.NDArray[np.uint64]]  # by element number
Rates = npt.NDArray[np.float64]  # for each record, how many packets one that was counted stands for

SAMPLER_IDS = (48, 302)  # samplerId, selectorId
_INTERVALS = (34, 50)  # samplingInterval, samplerRandomInterval: one packet in so many
_TAKEN, _LEFT = 305, 306  # samplingPacketInterval, samplingPacketSpace
_SIZE, _POPULATION = 309, 310
SAMPLING = (*SAMPLER_IDS, *_INTERVALS, _TAKEN, _LEFT, _SIZE, _POPULATION)
_TELLING = (*_INTERVALS, _TAKEN, _SIZE)
_MOST = 1 << 24  # a higher N is a broken field
_MOST_SAMPLERS = 65_536


@dataclass(slots=True)
class Sampling:
    """What one exporter told of its sampling so far."""

    by_sampler: dict[int, float] = field(default_factory=dict)
    of_all: tuple[float, ...] = ()  # the rates told without a sampler's number, the last time

    def tell(self, values: Values) -> None:
        """Take the options records of one set."""
        told = rates(values)
        if told is None:
            return
        named = _sampler(values)
        if named is None:
            self.of_all = tuple(sorted(set(told.tolist())))
        elif len(self.by_sampler) < _MOST_SAMPLERS:
            self.by_sampler.update(zip(named.tolist(), told.tolist(), strict=True))

    def of_any(self) -> float | None:
        """The rate of a record that names no sampler; None where it may be one of several."""
        choice = {*self.of_all, *self.by_sampler.values()}
        return None if len(choice) > 1 else next(iter(choice), 1.0)


@dataclass(slots=True)
class Sampled:
    """How many records were given at which rate, for the account."""

    counts: Counter[float] = field(default_factory=Counter)
    undecided: int = 0  # they were sampled at one of several rates

    def notes(self) -> list[str]:
        """What an account says of it; nothing of a source that was not sampled."""
        said = [
            f"sampled 1:{rate:g}: packets and bytes of {counted(count, 'record')} are multiplied by {rate:g}"
            for rate, count in sorted(self.counts.items())
            if rate > 1.0
        ]
        if self.undecided:
            unknown = counted(self.undecided, "record")
            said.append(f"sampled at several rates: at which, is not told of {unknown}, with counters as exported")
        if said and self.counts[1.0]:
            said.append(f"{counted(self.counts[1.0], 'record')} of no known sampling, with counters as exported")
        return said


def record_rates(values: Values, parts: Sequence[tuple[int, Sampling]], sampled: Sampled) -> Rates:
    """The rate of each data record, 1 where none is told or it cannot be decided.

    `parts` are the records' exporters in their order: so many records, and what their exporter told.
    """
    found = rates(values)
    undecided = 0
    if found is None:
        found = np.ones(sum(rows for rows, _ in parts))
        named, at = _sampler(values), 0
        for rows, sampling in parts:
            here = slice(at, at + rows)
            if named is not None and sampling.by_sampler:
                found[here] = [sampling.by_sampler.get(number, 1.0) for number in named[here].tolist()]
            else:
                rate = sampling.of_any()
                found[here] = 1.0 if rate is None else rate
                undecided += rows if rate is None else 0
            at += rows
    for value, count in zip(*np.unique(found, return_counts=True), strict=True):
        sampled.counts[float(value)] += int(count)
    sampled.counts[1.0] -= undecided
    sampled.undecided += undecided
    return found


def rates(values: Values) -> Rates | None:
    """The rate that each record itself tells; None where the records do not speak of it."""
    if not any(element in values for element in _TELLING):
        return None
    parts = [_bounded(values[element].astype(np.float64)) for element in _INTERVALS if element in values]
    if _TAKEN in values:
        taken = values[_TAKEN].astype(np.float64)
        left = values[_LEFT].astype(np.float64) if _LEFT in values else None
        # who tells no space between the packets taken in a row means one packet in so many
        parts.append(_bounded(taken if left is None else _ratio(taken + left, taken)))
    if _SIZE in values and _POPULATION in values:
        parts.append(_bounded(_ratio(values[_POPULATION].astype(np.float64), values[_SIZE].astype(np.float64))))
    return np.max(parts, axis=0) if parts else None


def scaled(counter: npt.NDArray[np.uint64], rate: Rates) -> npt.NDArray[np.uint64]:
    """A counter multiplied by its records' rates; those of rate 1 stay as they are, to the bit."""
    more = np.rint(np.minimum(counter.astype(np.float64) * rate, 2.0**62)).astype(np.uint64)
    return np.where(rate > 1.0, more, counter)


def _sampler(values: Values) -> npt.NDArray[np.uint64] | None:
    return next((values[element] for element in SAMPLER_IDS if element in values), None)


def _ratio(whole: Rates, part: Rates) -> Rates:
    return np.divide(whole, part, out=np.ones_like(whole), where=part > 0)


def _bounded(told: Rates) -> Rates:
    """The rates that can be true; 1 in place of the others."""
    return np.where((told >= 1.0) & (told <= _MOST), told, 1.0)
