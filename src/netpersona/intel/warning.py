"""Warning lists: what a feed lists by mistake, and which list says so.

A list says of each of its entries whose it is, and what its effect is:

    refuse   many depend on it, so no feed may have it blocked: a public resolver, the edge of a content network
    share    it changes hands and many rent it: one address of it may well be bad, a wide network of it cannot be
    suffix   names below which everybody may register: one site below is bad, the name itself is nobody's

A list's text is a head of `# key: value` lines (_HEAD) and then one entry in each line: a canonical value, a space,
and its owner, which may be missing.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from ipaddress import ip_address, ip_network

import polars as pl

from netpersona.intel.matching import AddressMatcher
from netpersona.intel.prefix import prefixes
from netpersona.intel.spans import spans_of

LISTS = (
    "public-suffixes", "public-resolvers", "root-servers", "public-time", "shared-hosting", "code-hosts", "cdn",
    "clouds", "top-sites",
)  # fmt: skip
"""The names of all lists, the more telling first: of several that hold an entry the first gives the reason."""

LONGEST = 200_000  # entries of one list
SHARED_FROM = {4: 24, 6: 48}  # a network wider than this is no single customer's
_HEAD = ("name", "what", "effect", "source", "licence", "date")
_ENTRIES = {"value": pl.String, "owner": pl.String}
_BARE_SUFFIX = r"^!|^\*\."


class Effect(StrEnum):
    """What the gate makes of an entry that a list holds."""

    REFUSE = "refuse"
    SHARE = "share"
    SUFFIX = "suffix"


@dataclass(frozen=True, eq=False)
class WarningList:
    """One list: what its entries are, who says so, under which licence and as of when."""

    name: str
    what: str  # of one entry, with its article: "a public DNS resolver"
    effect: Effect
    source: str
    licence: str
    date: str  # ISO 8601
    entries: pl.DataFrame  # value: address, network or domain, canonical; owner: empty where none is named

    def __len__(self) -> int:
        return self.entries.height


@dataclass(frozen=True, eq=False)
class WarningLists:
    """All lists as one value, asked in columns.  Equal only to itself."""

    lists: tuple[WarningList, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the lists, as `allow` may override them."""
        return tuple(each.name for each in self.lists)

    def __len__(self) -> int:
        return sum(map(len, self.lists))

    def of_addresses(self, points: pl.DataFrame) -> pl.DataFrame:
        """(id, gate, reason, shared) for each address or network that a list speaks of; one may have several.

        `points` has `id`, `value` and the columns of a table of prefixes.  `shared` is the owner where the point is so
        narrow that its list only notes it; then it is admitted.
        """
        inside = self._inside(points).with_columns(holds=pl.lit(value=False))
        met = pl.concat([inside, self._around(points).with_columns(holds=pl.lit(value=True))])
        found = met.join(self._addresses, on="indicator").join(points.select("id", "value", "length", "version"), "id")
        narrow = pl.col("length") >= pl.col("version").replace_strict(SHARED_FROM, return_dtype=pl.Int64)
        noted = (pl.col("effect") == Effect.SHARE) & narrow
        named = (
            pl.when(pl.col("value") == pl.col("entry"))
            .then(pl.lit("it is "))
            .when("holds")
            .then(pl.format("it holds {}, ", "entry"))
            .otherwise(pl.format("it lies in {}, ", "entry"))
        )
        return found.sort("id", "indicator").select(
            "id", "gate", reason=pl.concat_str(named, "says"), shared=pl.when(noted).then("owner")
        )

    def of_names(self, names: pl.DataFrame) -> pl.DataFrame:
        """(id, gate, reason) for each domain that is on a list, or above an entry; `names` has `id` and `value`."""
        itself = (pl.col("value") == pl.col("entry")) | (pl.col("value") == pl.format("www.{}", "entry"))
        listed = names.join(self._names, on="value").with_columns(itself=itself)
        listed = listed.sort("id", ~pl.col("itself"), "place", "entry")
        named = pl.when("itself").then(pl.lit("it is ")).otherwise(pl.format("it stands above {}, ", "entry"))
        met = listed.unique("id", keep="first", maintain_order=True)
        return pl.concat([self._suffixes(names), met.select("id", "gate", reason=pl.concat_str(named, "says"))])

    def may_speak_of(self, address: str) -> bool:
        """Whether any list holds this address: quick, for one."""
        found = ip_address(address)
        starts, ends = self._ranges[found.version]
        place = bisect_right(starts, int(found)) - 1
        return place >= 0 and int(found) <= ends[place]

    def about(self, value: str) -> tuple[str, ...]:
        """What the lists say of one address, network or name, a sentence for each list."""
        asked = pl.DataFrame({"id": [0], "value": [value]})
        points = pl.concat([asked, prefixes(asked["value"])], how="horizontal")
        if points["version"].item() is None:
            return tuple(self.of_names(asked)["reason"])
        return tuple(self.of_addresses(points).unique("gate", keep="first", maintain_order=True)["reason"])

    def _inside(self, points: pl.DataFrame) -> pl.DataFrame:
        return self._matcher.covering(points.filter(self._matcher.listed(points)))

    def _around(self, points: pl.DataFrame) -> pl.DataFrame:
        """(id, indicator) for networks that hold an entry whole, for each list the first entry."""
        width = pl.when(pl.col("version") == 4).then(32).otherwise(128)
        wide = AddressMatcher(points.filter(pl.col("length") < width).rename({"id": "indicator"}))
        held = wide.covering(self._matcher.table.rename({"indicator": "id"}))
        pairs = held.rename({"id": "indicator", "indicator": "id"}).select("id", "indicator")
        first = pairs.join(self._addresses.select("indicator", "gate"), on="indicator").sort("id", "indicator")
        return first.unique(["id", "gate"], keep="first", maintain_order=True).select("id", "indicator")

    def _suffixes(self, names: pl.DataFrame) -> pl.DataFrame:
        """The names that are public suffixes (publicsuffix.org: exact rules, `*.` rules and their exceptions)."""
        found = []
        for each in self._of(Effect.SUFFIX):
            rules = each.entries["value"]
            wild = rules.filter(rules.str.starts_with("*.")).str.slice(2)
            exact = pl.concat([rules.filter(~rules.str.contains(_BARE_SUFFIX)), wild]).unique()
            free = rules.filter(rules.str.starts_with("!")).str.slice(1)
            above = pl.col("value").str.splitn(".", 2).struct.field("field_1")
            public = pl.col("value").is_in(exact.implode()) | above.is_in(wild.implode()).fill_null(value=False)
            own = names.filter(public & ~pl.col("value").is_in(free.implode()))
            found.append(own.select("id", gate=pl.lit(each.name), reason=pl.lit(f"it is {_says(each)}")))
        return pl.concat(
            [pl.DataFrame(schema={"id": names.schema["id"], "gate": pl.String, "reason": pl.String}), *found]
        )

    def _of(self, *effects: Effect) -> list[WarningList]:
        return [each for each in self.lists if each.effect in effects]

    @cached_property
    def _entries(self) -> pl.DataFrame:
        """All entries of lists that are no suffixes: gate, place of the list, entry, owner, effect, says."""
        tables = [
            each.entries.select(
                gate=pl.lit(each.name),
                place=pl.lit(place, pl.UInt32),
                entry="value",
                owner="owner",
                effect=pl.lit(each.effect.value),
                says=pl.concat_str(
                    pl.lit(each.what),
                    pl.when(pl.col("owner") != "").then(pl.format(" ({})", "owner")).otherwise(pl.lit("")),
                    pl.lit(_on_list(each.name)),
                ),
            )
            for place, each in enumerate(self.lists)
            if each.effect is not Effect.SUFFIX
        ]
        schema = dict.fromkeys(("gate", "entry", "owner", "effect", "says"), pl.String)
        empty = pl.DataFrame(schema={"gate": pl.String, "place": pl.UInt32, **schema})
        return pl.concat([empty, *tables])

    @cached_property
    def _addresses(self) -> pl.DataFrame:
        rows = pl.concat([self._entries, prefixes(self._entries["entry"])], how="horizontal")
        return rows.rename({"length": "bits", "version": "ip"}).drop_nulls("ip").with_row_index("indicator")

    @cached_property
    def _matcher(self) -> AddressMatcher:
        columns = {"ip": "version", "bits": "length"}
        table = self._addresses.select("indicator", "ip", "hi", "lo", "bits").rename(columns)
        return AddressMatcher(table.sort("version", "hi", "lo", "length", "indicator"))

    @cached_property
    def _ranges(self) -> dict[int, tuple[list[int], list[int]]]:
        """All listed addresses by IP version, as disjoint ranges: where each begins and ends."""
        versions = {v: self._addresses.filter(pl.col("ip") == v)["entry"].to_list() for v in (4, 6)}
        spans = {v: spans_of([ip_network(text) for text in texts], v) for v, texts in versions.items()}
        return {v: (found.starts.tolist(), found.ends.tolist()) for v, found in spans.items()}

    @cached_property
    def _names(self) -> pl.DataFrame:
        """Every listed name, its www. and every name above it: value, and the entry that it stands for."""
        rows = self._entries.filter(prefixes(self._entries["entry"])["version"].is_null())
        found = [rows.with_columns(value=pl.format("www.{}", "entry"))]
        rows = rows.with_columns(value="entry")
        while rows.height:
            found.append(rows)
            rows = rows.with_columns(pl.col("value").str.splitn(".", 2).struct.field("field_1").alias("value"))
            rows = rows.filter(pl.col("value").str.contains(".", literal=True))
        return pl.concat(found)


NO_LISTS = WarningLists()


def read(text: str) -> WarningList:
    """The list of a text.  Raises ValueError, which names the line and what was expected."""
    lines = text.splitlines()
    head = dict(_head_line(line, number) for number, line in enumerate(lines[: len(_HEAD)], 1))
    missing = [key for key in _HEAD if not head.get(key)]
    if missing:
        raise ValueError(f"a warning list opens with the lines '# key: value' of {', '.join(_HEAD)}; no {missing[0]}")
    if len(lines) > LONGEST:
        raise ValueError(f"more than {LONGEST} lines; expected a shorter list")
    effect = Effect(head["effect"])
    entries = [_entry(line, number, effect) for number, line in enumerate(lines, 1) if line and line[0] != "#"]
    table = pl.DataFrame(entries, schema=_ENTRIES, orient="row")
    return WarningList(head["name"], head["what"], effect, head["source"], head["licence"], head["date"], table)


def written(each: WarningList) -> str:
    """The text of which read() makes this list."""
    head = [f"# {key}: {getattr(each, key)}" for key in _HEAD]
    return "\n".join([*head, *(f"{value} {owner}".rstrip() for value, owner in each.entries.iter_rows())]) + "\n"


def _head_line(line: str, number: int) -> tuple[str, str]:
    key, colon, value = line.removeprefix("# ").partition(": ")
    if not line.startswith("# ") or not colon or key not in _HEAD or not value.isprintable():
        raise ValueError(f"line {number}: {line[:60]!r}; expected '# key: value' with one of {', '.join(_HEAD)}")
    return key, value.strip()


def _entry(line: str, number: int, effect: Effect) -> tuple[str, str]:
    value, _, owner = line.partition(" ")
    if not (line.isprintable() and is_entry(value, suffix=effect is Effect.SUFFIX)):
        raise ValueError(f"line {number}: {line[:60]!r}; expected a canonical address, network or name, and its owner")
    return value, owner.strip()


def is_entry(value: str, *, suffix: bool = False) -> bool:
    """Whether a value may stand on a list: a canonical address or network, or a name in lower case and A-labels."""
    try:
        network = ip_network(value)
    except ValueError:
        name = value.removeprefix("!").removeprefix("*.") if suffix else value
        labels = name.split(".")
        named = len(labels) > 1 and not labels[-1].isdigit()
        return (named or suffix) and len(name) <= 253 and all(map(_is_label, labels))
    return value in (str(network), str(network.network_address) if network.num_addresses == 1 else "")


def _is_label(label: str) -> bool:
    plain = label.replace("-", "").replace("_", "")
    return 0 < len(label) <= 63 and plain.isascii() and plain.isalnum() and label == label.lower()


def _says(each: WarningList) -> str:
    return f"{each.what}{_on_list(each.name)}"


def _on_list(name: str) -> str:
    return f": warning list {name} (allow: [{name}] admits it)"
