"""What differs between two personas, in the words of the resource: of one VM at two versions, or of two VMs.

    status.traffic_profile.peers[203.0.113.7 tcp/443].share    0.2 -> 0.31
    status.behavioral_signatures[c2_beacon 203.0.113.7]        absent -> {...}

Entries of lists are told apart by what they are about, never by their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

# What an entry of each list is about.
_ABOUT = {
    "services": ("service",),
    "peers": ("peer", "service"),
    "names": ("name",),
    "fingerprints": ("fingerprint",),
    "behavioral_signatures": ("name", "peer"),
    "risk_ledger": ("source", "peer", "at"),
    "mitigations": ("policy", "rule"),
    "mitigation_rules": ("name",),
}


class Change(NamedTuple):
    """One thing that differs; None stands for what is absent."""

    path: str
    before: Any
    after: Any


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs between two persona resources, in the order of the paths; nothing for equal ones."""
    return sorted(_differences("", "", before, after), key=lambda change: change.path)


def _differences(path: str, name: str, before: Any, after: Any) -> Iterator[Change]:
    """The differences below `path`, whose last word is `name`."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in (*before, *(key for key in after if key not in before)):
            yield from _differences(f"{path}.{key}" if path else key, key, before.get(key), after.get(key))
    elif name in _ABOUT and _is_list(before) and _is_list(after):
        ours, theirs = _by_subject(name, before or ()), _by_subject(name, after or ())
        for subject in (*ours, *(subject for subject in theirs if subject not in ours)):
            yield from _differences(f"{path}[{subject}]", "", ours.get(subject), theirs.get(subject))
    else:
        yield Change(path, before, after)


def _is_list(value: Any) -> bool:
    return value is None or (isinstance(value, Sequence) and not isinstance(value, str))


def _by_subject(name: str, entries: Sequence[Any]) -> dict[str, Any]:
    """The entries by what they are about; a second one about the same thing is `... #2`."""
    found: dict[str, Any] = {}
    for entry in entries:
        words = (
            [str(entry[word]) for word in _ABOUT[name] if word in entry] if isinstance(entry, Mapping) else [str(entry)]
        )
        subject, count = " ".join(words), 1
        while subject in found:
            count += 1
            subject = f"{' '.join(words)} #{count}"
        found[subject] = entry
    return found
