"""What STIX indicators indicate: the names of the malware, actors and campaigns that relationships lead to.

Many producers name the malware once and give its indicators no name.  Only numbers (hashes of ids) are kept for each
relationship, as a bundle may have as many of them as indicators.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import polars as pl

_NAMED = {"malware", "threat-actor", "intrusion-set", "campaign", "tool", "infrastructure", "attack-pattern"}


class Linked(Protocol):
    """The fields of an object that say what it leads to."""

    type: str | None
    id: str | None
    name: str | None
    relationship_type: str | None
    source_ref: str | None
    target_ref: str | None


class Links:
    """The relationships and the names of one document."""

    def __init__(self) -> None:
        self._indicates = [_table([], ("id", "target"))]
        self._names = [_table([], ("target", "name"))]

    def add(self, objects: Iterable[Linked]) -> None:
        """Takes the relationships and the names among these objects."""
        indicates, names = [], []
        for each in objects:
            if each.type == "relationship" and each.relationship_type == "indicates":
                indicates.append((each.source_ref, each.target_ref))
            elif each.type in _NAMED:
                names.append((each.id, each.name))
        self._indicates.append(_table(indicates, ("id", "target")))
        self._names.append(_table(names, ("target", "name")))

    def labelled(self, entries: pl.DataFrame, versions: pl.DataFrame) -> pl.DataFrame:
        """The entries; those without a label get the name of what they indicate.  `versions` has (record, id)."""
        names = pl.concat(self._names).unique("target", keep="first", maintain_order=True)
        meant = pl.concat(self._indicates).join(names, on="target").sort("name").unique("id", keep="first")
        if meant.is_empty():
            return entries
        told = versions.join(meant, on="id").select("record", "name")
        joined = entries.join(told, on="record", how="left", maintain_order="left")
        return joined.with_columns(pl.coalesce("label", "name").alias("label")).select(entries.columns)


def _table(rows: list[tuple[str | None, str | None]], names: tuple[str, str]) -> pl.DataFrame:
    """Two columns of which ids are hashed; rows that lack one are left out."""
    table = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row").drop_nulls()
    return table.with_columns(pl.col(name).hash() for name in names if name != "name")
