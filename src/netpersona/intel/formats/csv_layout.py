"""Where separated values have what: their separator, their header, and which column is the indicator.

The column is the one the operator names (by header, or by number from 1); else, of the columns whose header is a known
word, the first that holds what indicators look like; else, without a header, the first column that does.  A header may
stand in a comment (`# id,dateadded,url`), names may be quoted.  Two columns that are named as the two ends of a range
are the indicator together, and so are an address and its mask; without a name, a second column of addresses has to be
chosen from by the operator.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from netpersona.intel.formats import words
from netpersona.intel.formats.entry import FormatError
from netpersona.intel.formats.lines import COMMENT, data_lines
from netpersona.intel.prefix import IPV4, MASK

_SEPARATORS = (",", "\t", ";", "|")
_DOT = r"(?:\.|\[\.\]|\(\.\)|\[dot\])"
_PLACE = rf"(?:{IPV4}|(?:[0-9]{{1,3}}{_DOT}){{3}}[0-9]{{1,3}})(?::[0-9]{{1,5}}|/[0-9]{{1,2}})?"
_TELLING = "|".join(
    (
        _PLACE,
        r"[0-9A-Fa-f:]*::?[0-9A-Fa-f:]+(?:/[0-9]{1,3})?",
        rf"(?:\*\.)?(?:[\w-]+{_DOT})+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9](?::[0-9]{{1,5}})?",
        rf"(?:[\w-]+{_DOT})+[A-Za-z]{{2,24}}(?::[0-9]{{1,5}})?/\S*",
        r"(?i:h[tx][tx]ps?|ftp)\[?:\]?//\S+",
        r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128}",
        r"(?i:cve-[0-9]{4}-[0-9]{4,})|(?i:as)[0-9]{1,10}",
    )
)
_NUMBERED = rf"{_TELLING}|[0-9]+"
_LISTED = re.compile(_TELLING)
_MASKS = ("netmask", "mask", "subnet_mask", "network_mask", "prefix_length", "prefixlen", "masklen", "mask_length")
_LENGTH = rf"{MASK}|[0-9]{{1,3}}"
_BEGINS = re.compile(r"(?:.*_)?(?:ip_?)?(?:start|first|from|begin|low)(?:_?ip|_address)?")
_ENDS = re.compile(r"(?:.*_)?(?:ip_?)?(?:end|last|to|stop|high)(?:_?ip|_address)?")
_WORDS = re.compile(r"[^\W\d_]\w{0,40}|")  # a column's name in any language, or none
_HEAD = 200  # rows that are looked at
_ABOVE = 40  # comments among which a header is looked for
_WIDEST = 4096  # characters of a header


@dataclass(frozen=True, slots=True)
class Layout:
    """How the values are separated, and which column (from 0) means what."""

    separator: str
    value: int
    names: tuple[str, ...] = ()  # of the header; empty where there is none
    header: int | None = None  # the line of the header, if it is no comment
    also: tuple[str, ...] = field(default=())  # other columns that could have been meant
    beside: tuple[int, ...] = ()  # where `value` is a hash of a file: the columns of its other hashes
    until: int | None = None  # the column of the range's end, where `value` is its start
    unusable: str | None = None  # the name of the value's column, where it says that it holds no indicators
    mask: int | None = None  # the column of the network's mask or length, where `value` is its address

    def column(self, wanted: Sequence[str]) -> int | None:
        """The first of the wanted columns that there is and that is not the value itself."""
        return next(
            (self.names.index(n) for n in wanted if n in self.names and self.names.index(n) != self.value), None
        )

    @property
    def dialect(self) -> str | None:
        """Whose table it is, by its columns."""
        held = set(self.names)
        return next((name for name, columns in words.DIALECTS if columns <= held), None)

    @property
    def stated(self) -> str | None:
        """The type that the value column's name states."""
        return words.COLUMN_TYPES.get(self.names[self.value]) if self.names else None


def layout(lines: pl.DataFrame, column: str | int | None = None) -> Layout | None:
    """The layout of separated values, None where they are none.  Raises FormatError for a column that is not there."""
    rows = data_lines(lines.head(2000)).head(_HEAD)
    if rows.is_empty():
        return None
    named = _by_header(lines, rows, column)
    if named is not None:
        return named
    return _by_values(rows) if column is None else _by_number(rows, column)


def cells(separator: str, index: int, *, quoted: bool) -> pl.Expr:
    """The field of each line, without its quotes; null where the line has fewer."""
    if not quoted:
        return pl.col("text").str.split(separator).list.get(index, null_on_oob=True).str.strip_chars()
    mark = re.escape(separator)
    one = rf'(?:\s*"(?:[^"]|"")*"\s*|[^{mark}]*)'
    cell = pl.col("text").str.extract(rf"(?s)^(?:{one}{mark}){{{index}}}({one})(?:{mark}|$)", 1).str.strip_chars()
    return cell.str.replace(r'(?s)^"(.*)"$', "${1}").str.replace_all('""', '"', literal=True).str.strip_chars()


def _by_header(lines: pl.DataFrame, rows: pl.DataFrame, column: str | int | None) -> Layout | None:
    first = int(rows["line"][0])
    wanted = () if column is None or _number(column) is not None else (words.name_of(str(column)),)
    known = {*wanted, *words.GENERAL, *words.SPECIAL, *words.LAST}
    for text, line in ((str(rows["text"][0]), first), *((above, None) for above in _above(lines, first))):
        for separator in _SEPARATORS:
            names = _names(text, separator)
            if known & set(names) and (len(names) > 1 or line is not None) and not _lists(text, separator):
                named = _named(names, rows if line is None else rows.slice(1), separator, line, column)
                if named is not None:
                    return named
    return None


def _lists(text: str, separator: str) -> bool:
    """Whether a cell of what could be a header is an indicator itself: then it is a row."""
    cells_ = next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    return any(_LISTED.fullmatch(cell.strip()) for cell in cells_)


def _above(lines: pl.DataFrame, first: int) -> list[str]:
    """The comments above the first row, the nearest first, without their signs."""
    comments = lines.filter((pl.col("line") < first) & pl.col("text").str.contains(COMMENT)).tail(_ABOVE)["text"]
    return [re.sub(r"(?i)^[#;/\s]+(?:fields\s+|format:\s*)?", "", text) for text in comments.to_list()[::-1]]


def _named(
    names: tuple[str, ...], rows: pl.DataFrame, separator: str, line: int | None, column: str | int | None
) -> Layout | None:
    """The layout that a header gives; None where it is none, because no column holds what its name says."""
    known = [n for n in words.GENERAL if n in names] + [n for n in names if n in words.SPECIAL]
    known = list(dict.fromkeys([*known, *(n for n in names if n in words.LAST)]))
    told = _tells(rows, separator)
    good = [name for name in known if told(names.index(name), _NUMBERED if name in words.LAST else _TELLING)]
    if good and set(good) <= set(words.LAST):  # an AS beside addresses is whose they are, whatever they are called
        good = [name for index, name in enumerate(names) if name and told(index, _PLACE)][:1] or good
    if not good and line is None and (column is None or words.name_of(str(column)) not in names):
        return None  # a sentence in a comment, with a comma and a known word
    number = None if column is None else _number(column)
    value: int | None = None
    if column is None:
        value = names.index((good or known)[0])
    elif number is not None:
        value = number - 1
    elif words.name_of(str(column)) in names:
        value = names.index(words.name_of(str(column)))
    if value is None or not 0 <= value < len(names):
        raise FormatError(line or 1, f"there is no column {column!r}", f"one of {', '.join(names)}")
    mask = next((names.index(n) for n in _MASKS if n in names and told(names.index(n), _LENGTH)), None)
    hashes = tuple(names.index(n) for n in good if n in words.HASHES and names.index(n) != value)
    beside = hashes if names[value] in words.HASHES and column is None else ()
    also = tuple(name for name in good if names.index(name) not in {value, mask, *beside})
    return Layout(separator, value, names, line, also, beside, mask=mask)


def _tells(rows: pl.DataFrame, separator: str) -> Callable[[int, str], bool]:
    """Asks whether at least half of a column's cells that are not empty have this form."""
    quoted = bool(rows["text"].str.contains('"', literal=True).any())

    def told(index: int, form: str) -> bool:
        held = rows.select(cells(separator, index, quoted=quoted).alias("cell"))["cell"].drop_nulls()
        held = held.filter(held != "")
        return len(held) > 0 and held.str.contains(rf"^(?:{form})$").sum() * 2 >= len(held)

    return told


def _by_values(rows: pl.DataFrame) -> Layout | None:
    """The first column in which at least four fifths of the lines hold something telling.

    A column whose name says that it holds no indicators is taken only where there is no other, so that it is refused.
    """
    quoted = bool(rows["text"].str.contains('"', literal=True).any())
    unusable: Layout | None = None
    for separator, pattern in ((",", r'[^\s,]",|\S,["\S]|",'), ("|", r"\|"), (";", r"\S;\S"), ("\t", r"\t")):
        closely = rows.filter(pl.col("text").str.contains(pattern))
        if closely.height * 5 < rows.height * 4:
            continue
        width = len(_names(str(closely["text"][closely.height // 2]), separator))
        head = _heading(str(rows["text"][0]), separator) if rows.height > 1 else ()
        told = _tells(rows.slice(1) if head else rows, separator)
        if separator == "\t" and not head and _plain_first(closely):
            continue
        for index in range(min(width, 64)):
            held = closely.select(cells(separator, index, quoted=quoted).alias("cell"))["cell"]
            many = held.str.contains(rf"^(?:{_TELLING})$").sum() * 5 >= (rows.height - bool(head)) * 4
            if many and index < len(head) and words.is_unusable(head[index]):
                unusable = unusable or Layout(separator, index, head, int(rows["line"][0]), unusable=head[index])
            elif many and not told(index, MASK):
                others = range(index, min(width, 64))
                places = [column for column in others if told(column, _PLACE) and not told(column, MASK)]
                mask = next((column for column in others if told(column, MASK)), None)
                found = Layout(separator, index, head, int(rows["line"][0]) if head else None, mask=mask)
                return _of_many(found, places) if len(places) > 1 and places[0] == index else found
    return unusable


def _of_many(found: Layout, places: list[int]) -> Layout:
    """Which of several columns of addresses is meant.  Raises FormatError where nothing says it."""
    first, second, *more = places
    if not found.names:
        columns = ", ".join(str(place + 1) for place in places)
        raise FormatError(1, f"the columns {columns} all hold addresses", "--column with the number of the one meant")
    is_range = not more and _BEGINS.fullmatch(found.names[first]) and _ENDS.fullmatch(found.names[second])
    return replace(found, until=second) if is_range else found


def _heading(text: str, separator: str) -> tuple[str, ...]:
    """The names in a first row of nothing but words, as above what is found by its values; empty if it is no header."""
    names = _names(text, separator)
    return names if all(map(_WORDS.fullmatch, names)) and not _lists(text, separator) else ()


def _plain_first(rows: pl.DataFrame) -> bool:
    """Whether the lines begin with what they list: a plain list with counts is no table; an AS is only whose it is."""
    begins = rows["text"].str.contains(rf"^(?:{_TELLING})\s") & ~rows["text"].str.contains(r"(?i)^as[0-9]")
    return bool(begins.sum() * 5 >= rows.height * 4)


def _by_number(rows: pl.DataFrame, column: str | int) -> Layout:
    number = _number(column)
    line, first = int(rows["line"][0]), str(rows["text"][0])
    if number is None:
        raise FormatError(line, f"no header names a column {column!r}", "a header, or a column's number")
    counts = [(len(_names(first, separator)), -index) for index, separator in enumerate(_SEPARATORS)]
    width, best = max(counts)
    if not 1 <= number <= width:
        raise FormatError(line, f"there is no column {number}", f"1 to {width}")
    return Layout(_SEPARATORS[-best], number - 1)


def _names(text: str, separator: str) -> tuple[str, ...]:
    if len(text) > _WIDEST:
        return ()
    row = next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    return tuple(words.name_of(name) for name in row)


def _number(column: str | int) -> int | None:
    """A column's number, if it is one."""
    if isinstance(column, int):
        return column
    return int(column) if column.strip().isdigit() else None
