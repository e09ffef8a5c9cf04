"""What a hunt reads instead of flows: who talked to whom, and who used which name, each once with its counts.

Of 100 M flows few are of a kind: a VM talks to the same peers at the same ports all day.  So a day is rolled up into

    talks   a row for each (VM, direction, peer, transport, port, name): flows, bytes, first and last time
    uses    a row for each (VM, kind, name, peer) that was said inside flows: DNS questions with their answers, TLS and
            HTTP names, JA3 fingerprints

Roll-ups add up: those of two halves put together are that of the whole, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from netpersona.flow.orient import OUTBOUND, answered_by_responder
from netpersona.intel.prefix import prefixes

TALK_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "version": pl.UInt8,  # the peer as a number, see prefix; null: no canonical address
    "hi": pl.UInt64,
    "lo": pl.UInt64,
    "peer": pl.String,
    "vm": pl.String,
    "direction": pl.String,  # outbound: the VM opened them | inbound
    "transport": pl.String,
    "port": pl.Int32,  # the responder's; 0 where there is none
    "name": pl.String,  # by which the peer was addressed inside the flow, in TLS or HTTP; null: by none
    "vm_address": pl.String,  # the alphabetically first, where there were several
    "flows": pl.Int64,
    "answered": pl.Int64,
    "bytes_out": pl.Int64,  # sent by the VM, with headers
    "bytes_in": pl.Int64,
    "first": pl.Int64,  # µs: the earliest start
    "last": pl.Int64,  # µs: the latest end
    "source": pl.String,  # of the first flow
}
USE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "kind": pl.String,  # dns | tls | http | ja3
    "name": pl.String,  # lower case
    "vm": pl.String,
    "direction": pl.String,
    "peer": pl.String,  # who was asked, or addressed
    "transport": pl.String,
    "port": pl.Int32,
    "vm_address": pl.String,
    "uses": pl.Int64,
    "first": pl.Int64,  # µs
    "last": pl.Int64,
    "answers": pl.List(pl.String),  # dns: the addresses answered, sorted; null: none
    "answered_at": pl.List(pl.Int64),  # µs: when each of them was first asked for
    "source": pl.String,
}
_TALK = ["version", "hi", "lo", "peer", "vm", "direction", "transport", "port", "name"]
_USE = ["kind", "name", "vm", "direction", "peer", "transport", "port"]
_ADDRESS = r"^[0-9]+(?:\.[0-9]+){3}$|:"


@dataclass(frozen=True, slots=True)
class Rollup:
    """Two tables with the columns of TALK_SCHEMA and USE_SCHEMA, sorted by them."""

    talks: pl.DataFrame
    uses: pl.DataFrame

    def peers(self) -> pl.DataFrame:
        """The peers as numbers (version, hi, lo), each once."""
        return self.talks.select("version", "hi", "lo").drop_nulls().unique()

    def names(self) -> pl.Series:
        """The names of both tables, each once."""
        return pl.concat([self.talks["name"], self.uses["name"]]).drop_nulls().unique()

    def talks_with(self, peers: pl.Series, names: pl.Series) -> pl.DataFrame:
        """The talks whose peer has one of these lower halves (`lo`), or which have one of these names."""
        return self.talks.filter(talks_with(peers, names))

    def uses_of(self, names: pl.Series) -> pl.DataFrame:
        """The uses of these names."""
        return self.uses.filter(pl.col("name").is_in(names.implode()))

    def uses_answering(self, addresses: pl.Series) -> pl.DataFrame:
        """The DNS questions that were answered with one of these addresses."""
        return self.uses.filter(answering(addresses))


def talks_with(peers: pl.Series, names: pl.Series) -> pl.Expr:
    """What holds of the rows that Rollup.talks_with() gives."""
    return pl.col("lo").is_in(peers.implode()) | pl.col("name").is_in(names.implode())


def answering(addresses: pl.Series) -> pl.Expr:
    """What holds of the rows that Rollup.uses_answering() gives."""
    return pl.col("answers").list.eval(pl.element().is_in(addresses.implode())).list.any()


def rolled_up(flows: pl.DataFrame, transactions: pl.DataFrame) -> Rollup:
    """The roll-up of oriented flows and transactions (flow.orient.oriented), which have a `source`."""
    return Rollup(_talks(flows), _uses(flows, transactions))


def together(parts: Sequence[Rollup]) -> Rollup:
    """The roll-up of everything that the parts are roll-ups of."""
    if len(parts) == 1:
        return parts[0]
    talks = pl.concat([pl.DataFrame(schema=TALK_SCHEMA), *(part.talks for part in parts)])
    uses = pl.concat([pl.DataFrame(schema=USE_SCHEMA), *(part.uses for part in parts)])
    sums = [pl.col(name).sum() for name in ("flows", "answered", "bytes_out", "bytes_in")]
    used = uses.sort("first", "source").group_by(_USE).agg(pl.col("uses").sum(), *_SPAN)
    return Rollup(
        _sorted(talks.sort("first", "source").group_by(_TALK).agg(*sums, *_SPAN), TALK_SCHEMA, _TALK),
        _sorted(_with_answers(used, one_by_one(uses)), USE_SCHEMA, _USE),
    )


def one_by_one(uses: pl.DataFrame) -> pl.DataFrame:
    """The uses once for each answer: `answers` is one address, `answered_at` when it was first asked for (µs).

    Where a roll-up was written without these times, the first question's is taken.
    """
    times = pl.coalesce("answered_at", pl.col("first").repeat_by(pl.col("answers").list.len()))
    return uses.with_columns(times.alias("answered_at")).explode("answers", "answered_at").drop_nulls("answers")


_SPAN = [pl.col("vm_address").min(), pl.col("first").min(), pl.col("last").max(), pl.col("source").first()]


def _talks(flows: pl.DataFrame) -> pl.DataFrame:
    sent = pl.when(pl.col("direction") == OUTBOUND)
    rows = flows.select(
        *("vm", "direction", "peer", "transport", "port", "vm_address", "source"),
        name="server_name",
        flows=(pl.col("part").fill_null(0) == 0).cast(pl.Int64),
        answered=answered_by_responder().cast(pl.Int64),
        bytes_out=sent.then("bytes_orig").otherwise("bytes_resp").fill_null(0),
        bytes_in=sent.then("bytes_resp").otherwise("bytes_orig").fill_null(0),
        first="start",
        last=pl.col("start") + pl.col("duration").fill_null(0),
    )
    key = [name for name in _TALK if name in rows.columns]
    sums = [pl.col(name).sum() for name in ("flows", "answered", "bytes_out", "bytes_in")]
    grouped = rows.sort("first", "source").group_by(key).agg(*sums, *_SPAN)
    peers = grouped.select(pl.col("peer").unique())
    numbers = pl.concat([peers, prefixes(peers["peer"]).drop("length")], how="horizontal")
    return _sorted(grouped.join(numbers, on="peer", nulls_equal=True), TALK_SCHEMA, _TALK)


def _uses(flows: pl.DataFrame, transactions: pl.DataFrame) -> pl.DataFrame:
    said = transactions.filter(pl.col("kind").is_in(["dns", "tls", "http"]) & pl.col("name").is_not_null())
    shown = flows.filter(pl.col("tls_fingerprint").is_not_null()).with_columns(
        kind=pl.lit("ja3"), name="tls_fingerprint", answers=pl.lit(None, pl.List(pl.String))
    )
    columns = [*_USE, "vm_address", "start", "answers", "source"]
    rows = pl.concat([said.select(columns), shown.select(columns)]).sort("start", "source")
    grouped = rows.group_by(_USE).agg(
        pl.col("vm_address").min(),
        uses=pl.len().cast(pl.Int64),
        first=pl.col("start").min(),
        last=pl.col("start").max(),
        source=pl.col("source").first(),
    )
    answers = rows.select(*_USE, "answers", answered_at="start").explode("answers")
    return _sorted(_with_answers(grouped, answers.filter(pl.col("answers").str.contains(_ADDRESS))), USE_SCHEMA, _USE)


def _with_answers(uses: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """The uses with the lists `answers` and `answered_at`, of rows with one answer each."""
    first = answers.group_by(*_USE, "answers").agg(pl.col("answered_at").min()).sort("answers")
    return uses.join(first.group_by(_USE).agg("answers", "answered_at"), on=_USE, how="left", nulls_equal=True)


def _sorted(rows: pl.DataFrame, schema: dict[str, pl.DataType | type[pl.DataType]], key: list[str]) -> pl.DataFrame:
    return rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).sort(key)
