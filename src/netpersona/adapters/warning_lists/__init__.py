"""The bundled warning lists, and newer ones that were fetched: where they lie, and which of them counts.

Every list that a fetch has renewed (renew.py) lies in a folder of its own; where it is missing, damaged or older than
the bundled one, the bundled one counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from netpersona.intel.warning import LISTS, Effect, WarningList, WarningLists, read

FOLDER = Path("/var/lib/netpersona/warning-lists")
"""Where renewed lists lie, unless told otherwise."""

BUNDLED = tuple(name for name in LISTS if name != "public-suffixes")  # that one comes with its own package
_LARGEST = 1 << 25  # bytes of a renewed list
_SUFFIXES = ("publicsuffixlist", "public_suffix_list.dat")


class Loaded(NamedTuple):
    """The lists in use, and why any renewed one is not."""

    lists: WarningLists
    problems: tuple[str, ...]


def warning_lists(folder: Path | None = FOLDER) -> WarningLists:
    """The lists in use: the renewed ones of the folder, and for the rest the bundled ones."""
    return loaded(folder).lists


def loaded(folder: Path | None = FOLDER) -> Loaded:
    """The lists in use, with what is wrong with renewed ones; a missing folder is nothing wrong."""
    found, problems = [], []
    for name in BUNDLED:
        chosen = bundled(name)
        try:
            renewed = None if folder is None else _renewed(folder / f"{name}.txt")
            if renewed is not None and renewed.date >= chosen.date:
                chosen = renewed
        except (OSError, ValueError) as error:
            problems.append(f"{folder}/{name}.txt: {error}; the bundled list of {chosen.date} counts")
        found.append(chosen)
    return Loaded(_as_one((public_suffixes(), *found)), tuple(problems))


@cache
def bundled(name: str) -> WarningList:
    """The list of this name that came with the package."""
    return read((files(__name__) / "lists" / f"{name}.txt").read_text(encoding="utf-8"))


@cache
def public_suffixes() -> WarningList:
    """The public suffix list that came with its own package, as a warning list."""
    text = files(_SUFFIXES[0]).joinpath(_SUFFIXES[1]).read_text(encoding="utf-8")
    date = next((line.split()[2][:10] for line in text.splitlines()[:20] if line.startswith("// VERSION:")), "unknown")
    head = (
        "# name: public-suffixes\n# what: a public suffix, below which everybody may register a name\n"
        f"# effect: {Effect.SUFFIX.value}\n# source: https://publicsuffix.org/\n# licence: MPL-2.0\n# date: {date}\n"
    )
    return read(head + "\n".join(sorted(set(_rules(text)))))


def _rules(text: str) -> Iterator[str]:
    """The rules, in A-labels.  Below the `*.` of a private rule each name is a customer's: only its root is shared."""
    private = False
    for line in text.splitlines():
        private = private or "===BEGIN PRIVATE DOMAINS===" in line
        rule = line.partition("//")[0].partition(" ")[0].strip()
        sign = rule[: len(rule) - len(rule.lstrip("!*."))]
        if rule and not (private and sign == "!"):
            yield ("" if private else sign) + rule[len(sign) :].lower().encode("idna").decode()


@lru_cache(maxsize=4)
def _as_one(lists: tuple[WarningList, ...]) -> WarningLists:
    """The same value for the same lists, so that what was computed of them is kept."""
    return WarningLists(lists)


def _renewed(path: Path) -> WarningList | None:
    """A renewed list; None where there is none.  Raises OSError, and ValueError for what is no list of that name."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    if found.st_size > _LARGEST:
        raise ValueError(f"larger than {_LARGEST} bytes")
    return _read(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4 * len(BUNDLED))
def _read(path: Path, _changed: int, _size: int) -> WarningList:
    """The list of a file, read again only when it has changed.  Raises OSError, ValueError."""
    found = read(path.read_text(encoding="utf-8"))
    if found.name != path.stem:
        raise ValueError(f"holds the list {found.name}")
    return found
