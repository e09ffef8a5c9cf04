"""What software a VM shows: products with their versions, as banners, logs and bills of material name them.

A banner is the word of whoever sent it, so it is hostile until typed: short, printable, cut.
Version order: numbers are compared as numbers, and a letter after them counts on (OpenSSL 1.0.1 < 1.0.1f < 1.0.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest

LONGEST = 120  # characters of a banner that are kept
_MARK = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z .+-]{0,39}?)[/_ ]v?(?P<version>[0-9]+(?:[._][0-9]+){0,4}[A-Za-z]{0,2}[0-9]{0,3})"
)
_PARTS = re.compile(r"[0-9]+|[a-z]+")
_PACKAGED = re.compile(
    r"debian|ubuntu|raspbian|red ?hat|centos|fedora|rocky|almalinux|suse|amazon|\bel[5-9]\b|\.el[0-9]"
    r"|etch|lenny|squeeze|wheezy|jessie|deb[0-9]+u",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Software:
    """A product that a VM runs, by one piece of evidence."""

    product: str  # lower case, as it names itself: apache, openssh, microsoft-iis
    version: str | None  # as stated; None: it states none
    port: int | None = None  # where it answers; None: not known
    transport: str = "tcp"
    vendor: str | None = None  # lower case, where the evidence names one
    said: str = ""  # the evidence, cut and printable
    source: str = ""  # the file and line, or what else it came from
    vulnerabilities: tuple[str, ...] = ()  # CVEs that the evidence itself states

    @property
    def packaged(self) -> bool:
        """Whether a distribution built it: fixes are then carried back without a change of the version's number."""
        return _PACKAGED.search(self.said) is not None


def named_in(banner: str) -> list[tuple[str, str | None]]:
    """The products that a banner names, with their versions: `Apache/2.4.10 (Debian) PHP/5.6` names two.

    A banner without a version, like `nginx`, names itself.
    """
    text = printable(banner)
    plain = re.sub(r"\([^)]*\)", " ", re.sub(r"^SSH-[0-9.]+-", "", text))
    found: dict[str, str | None] = {m["name"].strip().lower(): m["version"] for m in _MARK.finditer(plain)}
    if not found and re.fullmatch(r"[A-Za-z][\w .+-]{1,39}", plain.strip()):
        found[plain.strip().lower()] = None
    return list(found.items())


def printable(text: str) -> str:
    """Text from outside, fit to be kept and shown."""
    return "".join(char for char in text[: LONGEST * 2] if char.isprintable())[:LONGEST].strip()


def order(version: str) -> tuple[tuple[int, str], ...]:
    """What versions are sorted by."""
    return tuple((int(part[:18]), "") if part.isdigit() else (-1, part) for part in _PARTS.findall(version.lower()))


def before(one: str, other: str) -> bool:
    """Whether a version comes before another: 2.4 < 2.4.1, and 1.0.1 < 1.0.1f < 1.0.2."""
    for left, right in zip_longest(order(one), order(other)):
        if left != right:
            return _beside(left) < _beside(right)
    return False


def _beside(part: tuple[int, str] | None) -> tuple[int, int, str]:
    """A part of a version in their order: none, then letters, then numbers."""
    if part is None:
        return (0, 0, "")
    return (1, 0, part[1]) if part[0] < 0 else (2, part[0], "")
