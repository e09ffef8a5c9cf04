"""Of two ends that talked: who opened, and in which state it ended.

The originator is, by the first rule that decides:

1. who the exporter says it is (RFC 5103, firewalls);
2. TCP: the only side that shows a SYN without an ACK; never a side that shows one single packet, SYN-ACK
   or RST-ACK: those answer a SYN, even one that was not recorded;
3. the side that was seen first;
4. the side with the higher port, as servers sit on low ones;
5. the side whose address text sorts first.
"""

from __future__ import annotations

import polars as pl

from netpersona.adapters.sensors.flow_records import TRANSPORTS, WITH_PORTS

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
SIDES = ("low", "high")  # of the two ends, in the order of their text


def oriented(known: pl.DataFrame) -> pl.DataFrame:
    """Conversations (see `biflow.conversations`) as flows: who opened them, and in which state they ended."""
    turned = known.with_columns(low_opened=_low_opened())

    def of(name: str, *, originator: bool) -> pl.Expr:
        side, other = (name.format(s) for s in (SIDES if originator else SIDES[::-1]))
        return pl.when("low_opened").then(side).otherwise(other)

    has_ports = pl.col("protocol").is_in(WITH_PORTS)
    number = pl.col("protocol")
    flows = turned.select(
        pl.col("start"),
        (pl.col("end") - pl.col("start")).alias("duration"),
        number.replace_strict(TRANSPORTS, default=number.cast(pl.String), return_dtype=pl.String).alias("transport"),
        "protocol",
        originator=of("{}", originator=True),
        originator_port=pl.when(has_ports).then(of("{}_port", originator=True)),
        responder=of("{}", originator=False),
        responder_port=pl.when(has_ports).then(of("{}_port", originator=False)),
        bytes_orig=of("bytes_{}", originator=True),
        bytes_resp=of("bytes_{}", originator=False),
        packets_orig=of("packets_{}", originator=True),
        packets_resp=of("packets_{}", originator=False),
        flags_orig=of("tcp_flags_{}", originator=True),
        flags_resp=of("tcp_flags_{}", originator=False),
        flagged=(pl.col("flagged_low") | (pl.col("records_low") == 0))
        & (pl.col("flagged_high") | (pl.col("records_high") == 0)),
        answered=of("records_{}", originator=False) > 0,
        denied_orig=of("denied_{}", originator=True).fill_null(value=False),
        denied_resp=of("denied_{}", originator=False).fill_null(value=False),
    )
    return flows.with_columns(state=_state()).drop(
        "protocol", "flags_orig", "flags_resp", "flagged", "answered", "denied_orig", "denied_resp"
    )


def _low_opened() -> pl.Expr:
    low_only, high_only = pl.col("records_high") == 0, pl.col("records_low") == 0
    bare_low, bare_high = _bare_syn("low"), _bare_syn("high")
    reply_low, reply_high = _single_reply("low"), _single_reply("high")
    asked_low = pl.col("forward_low") | ~pl.col("forward_high")
    asked_high = pl.col("forward_high") | ~pl.col("forward_low")
    return (
        pl.when(asked_low.fill_null(value=False) & ~asked_high.fill_null(value=False))
        .then(statement=True)
        .when(asked_high.fill_null(value=False) & ~asked_low.fill_null(value=False))
        .then(statement=False)
        .when((bare_low & ~bare_high) | (reply_high & ~reply_low))
        .then(statement=True)
        .when((bare_high & ~bare_low) | (reply_low & ~reply_high))
        .then(statement=False)
        .when(low_only | high_only)
        .then(low_only)
        .when(pl.col("start_low") != pl.col("start_high"))
        .then(pl.col("start_low") < pl.col("start_high"))
        .when(pl.col("low_port") != pl.col("high_port"))
        .then(pl.col("low_port") > pl.col("high_port"))
        .otherwise(statement=True)
    )


def _bare_syn(side: str) -> pl.Expr:
    return (pl.col("protocol") == 6) & ((pl.col(f"tcp_flags_{side}") & (SYN | ACK)) == SYN)


def _single_reply(side: str) -> pl.Expr:
    just = (pl.col(f"tcp_flags_{side}") & (FIN | SYN | RST | PSH | ACK)).is_in((SYN | ACK, RST | ACK))
    return (pl.col("protocol") == 6) & just & (pl.col(f"packets_{side}") == 1)


def _state() -> pl.Expr:
    """Zeek's conn_state word: of the flags for TCP, of who sent for UDP; Zeek calls the rest OTH.

    Null where one side's TCP flags are not told.
    """
    answered = pl.col("answered") & ~pl.col("denied_resp")
    return (
        pl.when(pl.col("denied_orig"))
        .then(pl.lit("REJ"))
        .when(pl.col("protocol").is_in((17, 136)))
        .then(pl.when(answered).then(pl.lit("SF")).otherwise(pl.lit("S0")))
        .when(pl.col("protocol") != 6)
        .then(pl.lit("OTH"))
        .when(pl.col("denied_resp"))
        .then(pl.lit("S0"))
        .when(pl.col("flagged"))
        .then(tcp_state(pl.col("flags_orig"), pl.col("flags_resp"), pl.col("answered")))
    )


def tcp_state(sent: pl.Expr, answer: pl.Expr, answered: pl.Expr) -> pl.Expr:
    """Zeek's conn_state word of the flags (or-ed) that each side sent.

    The order in which flags came is not known, so a connection that both sides closed with FIN is SF, with
    or without an RST afterwards.  SYN unanswered: S0, or SH with a FIN, RSTOS0 with an RST.  SYN answered by
    RST alone: REJ.  No SYN from the originator: SHR or RSTRH where the other side showed a SYN-ACK, else OTH.
    """

    def has(flags: pl.Expr, bit: int) -> pl.Expr:
        return (flags & bit) > 0

    unopened = _first(
        (has(answer, SYN) & has(answer, RST), "RSTRH"),
        (has(answer, SYN) & has(answer, FIN), "SHR"),
        otherwise="OTH",
    )
    unanswered = _first(
        (has(sent, RST), "RSTOS0"),
        (has(sent, FIN), "SH"),
        (has(sent, ACK), "OTH"),
        otherwise="S0",
    )
    return _first(
        (~has(sent, SYN), unopened),
        (~answered, unanswered),
        (has(answer, RST) & ~has(answer, SYN) & ~has(answer, FIN), "REJ"),
        (has(sent, FIN) & has(answer, FIN), "SF"),
        (has(sent, RST), "RSTO"),
        (has(answer, RST), "RSTR"),
        (has(sent, FIN), "S2"),
        (has(answer, FIN), "S3"),
        otherwise="S1",
    )


def _first(*cases: tuple[pl.Expr, pl.Expr | str], otherwise: str) -> pl.Expr:
    """The word of the first case that holds."""
    words = (pl.when(holds).then(pl.lit(word) if isinstance(word, str) else word) for holds, word in cases)
    return pl.coalesce(*words, pl.lit(otherwise))
