"""Which part of a name somebody registered: `mail.example.co.uk` belongs to `example.co.uk`.

The public suffix list comes bundled with its package; its table is built once, when the first name is asked about.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache

from publicsuffixlist import PublicSuffixList


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)


@lru_cache(maxsize=1 << 13)  # of names that are asked about in a row; a day brings ever new ones
def registered_domain(name: str) -> str | None:
    """The registered domain of a lower-case name; None where its ending is on no public suffix list.

    A public suffix itself (`co.uk`) belongs to nobody: None.
    """
    found = _suffixes().privatesuffix(name.rstrip("."))
    return None if found is None else str(found)


def same_site(name: str) -> Iterator[str]:
    """A lower-case name, and each above it up to its registered domain; itself alone where it has none."""
    top = registered_domain(name)
    yield name
    while top is not None and name != top:
        name = name.partition(".")[2]
        yield name
