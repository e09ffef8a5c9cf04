"""Argus flows as `ra` prints them (binetflow): delimited text, its header naming the columns.

The delimiter is a comma, tab, semicolon or bar; fields may be quoted.  What is read of each column, under any
of its names, is in `_NAMES`; the order is free, the rest is left unread.  Times are UTC.  Rows that are not IP
(man, arp, llc, ...) are counted, not read.

Directions (ra(1)): the left address is the originator in `->`, `<->`, `?>` and `<?>`, where Argus guesses
it to be; in `<-` and `<?` it is the responder.  The answer's bytes and packets are the totals less the
source's, where the file does not tell them; where it tells neither, they are null: not said.

States: TCP flags ("FSPA_SRA": source_destination) are read as flags (see `biflow_ends.tcp_state`).  Words:

    REQ INT              no answer: S0            CON EST ACC   answered, open: S1 (TCP) or SF (UDP)
    FIN CLO              closed: SF               RST           answered once by one packet: REJ, else RSTR
    URP URH URN URF ...  unreachable: REJ         TIM           S1 if answered, else S0
    S0 S1 SF REJ ...     Zeek's own words stay    ICMP, others  OTH

An unknown word is null: not said.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import polars as pl

from netpersona.adapters.sensors.address_column import canonical_addresses
from netpersona.adapters.sensors.biflow_ends import ACK, FIN, RST, SYN, tcp_state
from netpersona.adapters.sensors.flow_records import BATCH_ROWS, TRANSPORTS, WITH_PORTS, ExportTally
from netpersona.adapters.sensors.source import blocks, open_source
from netpersona.adapters.sensors.text_columns import lines_of, split_header, split_lines
from netpersona.errors import SourceError
from netpersona.flow.account import SourceAccount
from netpersona.flow.table import FlowBatch

_NAMES = {
    "start": ("starttime", "stime"),
    "last": ("lasttime", "ltime"),
    "dur": ("dur", "duration"),
    "proto": ("proto", "protocol"),
    "source": ("srcaddr", "saddr"),
    "source_port": ("sport", "srcport"),
    "dir": ("dir", "direction"),
    "destination": ("dstaddr", "daddr"),
    "destination_port": ("dport", "dstport"),
    "state": ("state",),
    "packets": ("totpkts", "pkts"),
    "bytes": ("totbytes", "bytes"),
    "source_packets": ("srcpkts", "spkts"),
    "destination_packets": ("dstpkts", "dpkts"),
    "source_bytes": ("srcbytes", "sbytes"),
    "destination_bytes": ("dstbytes", "dbytes"),
    "source_payload": ("sappbytes",),
    "destination_payload": ("dappbytes",),
}
_NEEDED = ("start", "proto", "source", "destination")
_MEANING = {name: meaning for meaning, names in _NAMES.items() for name in names}
EXPECTED = "expected a header line of ra, such as StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,..."

_PROTOCOLS = {name: number for number, name in TRANSPORTS.items()} | {
    "ipv6-icmp": 58, "icmpv6": 58, "ipv6icmp": 58, "ospfigp": 89, "ipnip": 4, "ipip": 4, "ah": 51, "esp": 50,
}  # fmt: skip
_NOT_IP = (
    "arp",
    "rarp",
    "llc",
    "man",
    "lldp",
    "stp",
    "cdp",
    "ipx",
    "ipx/spx",
    "mpls",
    "pppoe",
    "eapol",
    "loop",
    "vlan",
)
# Services as `ra` prints them without -n; the names of /etc/services differ between hosts, these do not.
_SERVICES = {
    "ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "mail": 25, "time": 37, "whois": 43, "nicname": 43,
    "domain": 53, "bootps": 67, "bootpc": 68, "tftp": 69, "gopher": 70, "finger": 79, "http": 80, "www": 80,
    "kerberos": 88, "pop3": 110, "sunrpc": 111, "auth": 113, "ident": 113, "nntp": 119, "ntp": 123, "epmap": 135,
    "loc-srv": 135, "netbios-ns": 137, "netbios-dgm": 138, "netbios-ssn": 139, "imap": 143, "imap2": 143, "snmp": 161,
    "snmp-trap": 162, "snmptrap": 162, "bgp": 179, "irc": 194, "ldap": 389, "https": 443, "microsoft-ds": 445,
    "isakmp": 500, "biff": 512, "exec": 512, "login": 513, "who": 513, "shell": 514, "syslog": 514, "printer": 515,
    "route": 520, "rtsp": 554, "submission": 587, "ipp": 631, "ldaps": 636, "imaps": 993, "pop3s": 995, "socks": 1080,
    "openvpn": 1194, "ms-sql-s": 1433, "ms-sql-m": 1434, "radius": 1812, "ssdp": 1900, "nfs": 2049, "mysql": 3306,
    "ms-wbt-server": 3389, "sip": 5060, "sip-tls": 5061, "xmpp-client": 5222, "mdns": 5353, "postgresql": 5432,
    "llmnr": 5355, "vnc": 5900, "x11": 6000, "ircd": 6667, "http-alt": 8080, "webcache": 8080, "http-proxy": 8080,
}  # fmt: skip
_FLAG_LETTERS = {"F": FIN, "S": SYN, "R": RST, "A": ACK}
_OPEN, _CLOSED, _UNANSWERED = ("CON", "EST", "ACC"), ("FIN", "CLO"), ("REQ", "INT")
_ZEEK = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH")
_DAY_FORMAT = "%Y/%m/%d %H:%M:%S%.f"
_TIME_OF_DAY = r"^[0-9]{2}:[0-9]{2}:[0-9]{2}"


def looks_like(head: bytes) -> bool:
    """Whether the text begins with a header line of `ra`."""
    return _columns(head.split(b"\n", 1)[0][:4096]) is not None


def _columns(line: bytes) -> tuple[str, list[str]] | None:
    """The separator, and each column's meaning (its own name where it has none here); None if no header."""
    separator, names = split_header(line.decode("utf-8", "replace").strip("\r\n").lstrip("\ufeff#"))
    meanings = [_MEANING.get(name.lower(), f"~{name.lower()}") for name in names]
    told = separator != " " and all(needed in meanings for needed in _NEEDED)
    return (separator, meanings) if told else None


class ArgusSensor:
    """Flows of one file that `ra` printed."""

    format = "argus"

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._tally = ExportTally()
        self._first_line = ""

    @property
    def records(self) -> int:
        """How many of the exporter's records have been read so far; rows that became flows, or not."""
        return self._tally.records

    def batches(self) -> Iterator[FlowBatch]:
        """All flows.  Raises SourceError where the first line is no header."""
        self._tally = ExportTally()
        with open_source(Path(self.path)) as source:
            yield from self._read(source)

    def accounts(self) -> list[SourceAccount]:
        """What the file gave; complete once `batches` is exhausted."""
        return [self._tally.account(self.path, self.format)]

    def _read(self, source: BinaryIO) -> Iterator[FlowBatch]:
        header: tuple[str, list[str]] | None = None
        for block in blocks(Path(self.path), source, self._tally.skipped):
            if header is None:
                header = self._header(block)
            for flows in self._flows(block, *header).iter_slices(BATCH_ROWS):
                yield self._tally.batch(flows)
        if header is None:
            raise SourceError(f"{self.path}:1: the file is empty; {EXPECTED}")
        rest = self._tally.batch(pl.DataFrame())
        if rest.skipped:
            yield rest

    def _header(self, block: bytes) -> tuple[str, list[str]]:
        first = block.split(b"\n", 1)[0]
        self._first_line = first.decode("utf-8", "replace").rstrip("\r")
        header = _columns(first)
        if header is None:
            shown = first[:80].decode("utf-8", "replace")
            raise SourceError(f"{self.path}:1: {shown!r} is no header; {EXPECTED}")
        return header

    def _flows(self, block: bytes, separator: str, meanings: list[str]) -> pl.DataFrame:
        lines = lines_of(block)
        lines = lines.filter(lines != self._first_line)
        table, bad = split_lines(lines, separator, meanings)
        self._tally.records += lines.len()
        self._skip("row with another number of columns", bad)
        rows = _ip_rows(_complete(table), self)
        return _flow_table(rows, self)

    def _skip(self, reason: str, count: int) -> None:
        if count:
            self._tally.skipped[reason] += count

    def keep(self, table: pl.DataFrame, good: pl.Expr, reason: str) -> pl.DataFrame:
        """The rows for which `good` holds; the others are counted."""
        kept = table.filter(good.fill_null(value=False))
        self._skip(reason, table.height - kept.height)
        return kept


def _complete(table: pl.DataFrame) -> pl.DataFrame:
    """The table with every known column, empty text being null; columns without meaning are left out."""
    empty = pl.lit(None, dtype=pl.String)
    return table.select(
        (pl.when(pl.col(name) != "").then(name) if name in table.columns else empty).alias(name) for name in _NAMES
    )


def _ip_rows(table: pl.DataFrame, sensor: ArgusSensor) -> pl.DataFrame:
    name = pl.col("proto").str.to_lowercase()
    number = name.replace_strict(_PROTOCOLS, default=name.cast(pl.UInt8, strict=False), return_dtype=pl.UInt8)
    table = table.with_columns(protocol=number, proto=name)
    for word in _NOT_IP:
        table = sensor.keep(table, pl.col("proto") != word, f"not IP: {word}")
    ends = [pl.col(end).map_batches(canonical_addresses, return_dtype=pl.String) for end in ("source", "destination")]
    table = table.with_columns(ends)
    has_both = pl.col("source").is_not_null() & pl.col("destination").is_not_null()
    return sensor.keep(table, has_both, "not IP: no IP addresses")


def _flow_table(table: pl.DataFrame, sensor: ArgusSensor) -> pl.DataFrame:
    undated = pl.col("start").str.contains(_TIME_OF_DAY).fill_null(value=False)
    named = (
        sensor.keep(table, ~undated, "a time of day without its day (ra -u prints both)")
        .with_columns(
            start=_instant("start"),
            last=_instant("last"),
            duration=(pl.col("dur").cast(pl.Float64, strict=False) * 1e6).round(0).cast(pl.Int64, strict=False),
            source_port=_port("source_port"),
            destination_port=_port("destination_port"),
            **{name: pl.col(name).cast(pl.Int64, strict=False) for name in _NAMES if name.endswith(_COUNTERS)},
        )
        .with_columns(duration=pl.coalesce("duration", pl.col("last") - pl.col("start")))
    )
    named = sensor.keep(named, pl.col("start").is_not_null(), "unreadable time")
    sane = pl.col("duration").fill_null(0).is_between(0, 1 << 53)
    named = sensor.keep(named, sane, "impossible duration")
    ports = pl.col("protocol").is_in(WITH_PORTS).fill_null(value=False)
    told = pl.col("source_port").is_not_null() & pl.col("destination_port").is_not_null()
    named = sensor.keep(named, ~ports | told, "unknown port")
    named = named.with_columns(
        pl.when(ports).then("source_port").alias("source_port"),
        pl.when(ports).then("destination_port").alias("destination_port"),
    )
    return _turned(sensor.keep(_split_totals(named), _counters_possible(), "impossible counter"))


_COUNTERS = ("packets", "bytes", "payload")


def _instant(name: str) -> pl.Expr:
    """µs since the epoch, of "2019/04/04 16:23:00.325010" (UTC; also with - and T) or of epoch seconds."""
    text = (
        pl.col(name).str.replace_all("-", "/", literal=True).str.replace("T", " ", literal=True).str.strip_suffix("Z")
    )
    day = text.str.to_datetime(_DAY_FORMAT, time_unit="us", strict=False).dt.epoch("us")
    seconds = pl.col(name).cast(pl.Float64, strict=False) * 1e6
    epoch = pl.when(seconds.is_between(0, 1 << 53)).then(seconds.round(0)).cast(pl.Int64, strict=False)
    return pl.coalesce(day, epoch).alias(name)


def _port(name: str) -> pl.Expr:
    """Decimal, hexadecimal with 0x, or the name of a service; null for another."""
    text = pl.col(name).str.to_lowercase()
    hexadecimal = text.str.strip_prefix("0x").str.to_integer(base=16, strict=False)
    number = pl.when(text.str.starts_with("0x")).then(hexadecimal).otherwise(text.cast(pl.Int64, strict=False))
    service = text.replace_strict(_SERVICES, default=None, return_dtype=pl.Int64)
    return pl.coalesce(number, service).cast(pl.UInt16, strict=False).alias(name)


def _split_totals(table: pl.DataFrame) -> pl.DataFrame:
    """Each way's bytes and packets, where two of source, destination and total are told.

    Of packets only the total may be told: where the bytes show that nothing came back all are the source's, and
    of two packets with bytes each way, each way has one.
    """

    def less(name: str, part: str) -> pl.Expr:
        return pl.coalesce(
            f"{part}_{name}", pl.col(name) - pl.col(f"{'source' if part == 'destination' else 'destination'}_{name}")
        )

    sides = ("source", "destination")
    split = table.with_columns(
        less(name, side).alias(f"{side}_{name}") for name in ("bytes", "packets") for side in sides
    )
    one_way = pl.col("source_packets").is_null() & (pl.col("destination_bytes") == 0) & (pl.col("source_bytes") > 0)
    both = (pl.col("packets") == 2) & (pl.col("source_bytes") > 0) & (pl.col("destination_bytes") > 0)
    each = both & pl.col("source_packets").is_null()
    return split.with_columns(
        source_packets=pl.when(one_way).then("packets").when(each).then(1).otherwise("source_packets"),
        destination_packets=pl.when(one_way).then(0).when(each).then(1).otherwise("destination_packets"),
    )


def _counters_possible() -> pl.Expr:
    names = [f"{side}_{name}" for side in ("source", "destination") for name in _COUNTERS]
    return pl.all_horizontal(pl.col(name).is_null() | pl.col(name).is_between(0, 1 << 48) for name in names)


def _turned(table: pl.DataFrame) -> pl.DataFrame:
    """The rows as flows: the left address is the originator unless the arrow says otherwise."""
    arrow = pl.col("dir").fill_null("").str.strip_chars()
    rows = table.with_columns(backwards=arrow.str.contains("<", literal=True) & ~arrow.str.contains(">", literal=True))

    def ways(name: str) -> tuple[pl.Expr, pl.Expr]:
        source, destination = name.format("source"), name.format("destination")
        orig = pl.when("backwards").then(destination).otherwise(source)
        return orig, pl.when("backwards").then(source).otherwise(destination)

    columns = {"{}": ("originator", "responder"), "{}_port": ("originator_port", "responder_port")} | {
        "{}_" + name: (f"{name}_orig", f"{name}_resp") for name in _COUNTERS
    }
    number = pl.col("protocol")
    named = number.replace_strict(TRANSPORTS, default=number.cast(pl.String), return_dtype=pl.String)
    flows = rows.select(
        "start",
        "duration",
        "protocol",
        pl.coalesce(named, "proto").alias("transport"),
        *(
            expression.alias(alias)
            for name, aliases in columns.items()
            for alias, expression in zip(aliases, ways(name), strict=True)
        ),
        backwards="backwards",
        word=pl.col("state").str.strip_chars(),
        sensor=pl.lit("argus"),
    )
    return flows.with_columns(state=_state()).drop("protocol", "backwards", "word")


def _state() -> pl.Expr:
    word, number = pl.col("word"), pl.col("protocol")
    is_tcp, is_udp = (number == 6).fill_null(value=False), (number == 17).fill_null(value=False)
    answered = (pl.col("packets_resp") > 0) | (pl.col("bytes_resp") > 0)
    answered = answered.fill_null(value=False)
    once = (pl.col("packets_orig") <= 1) & (pl.col("packets_resp") <= 1)
    return (
        pl.when(~is_tcp & ~is_udp)
        .then(pl.lit("OTH"))
        .when(word.is_in(_ZEEK))
        .then(word)
        .when(is_tcp & word.str.contains(r"^[FSRPAEUCW]*_[FSRPAEUCW]*$"))
        .then(_by_flags())
        .when(word.str.starts_with("UR"))
        .then(pl.lit("REJ"))
        .when(word.is_in(_UNANSWERED))
        .then(pl.lit("S0"))
        .when(word.is_in(_CLOSED) | (is_udp & word.is_in(_OPEN)))
        .then(pl.lit("SF"))
        .when(word.is_in(_OPEN))
        .then(pl.lit("S1"))
        .when(word == "TIM")
        .then(pl.when(answered).then(pl.lit("S1")).otherwise(pl.lit("S0")))
        .when(word == "RST")
        .then(pl.when(once & answered).then(pl.lit("REJ")).otherwise(pl.lit("RSTR")))
    )


def _by_flags() -> pl.Expr:
    parts = pl.col("word").str.split_exact("_", 1).struct
    source, destination = _flags(parts.field("field_0")), _flags(parts.field("field_1"))
    sent = pl.when("backwards").then(destination).otherwise(source)
    answer = pl.when("backwards").then(source).otherwise(destination)
    return tcp_state(sent, answer, answer > 0)


def _flags(letters: pl.Expr) -> pl.Expr:
    """The letters as flag bits; any letter sets a high bit, so that a lone P still tells that someone spoke."""
    bits = pl.when(letters.fill_null("") != "").then(256).otherwise(0)
    return pl.sum_horizontal(
        bits,
        *(
            pl.when(letters.str.contains(letter, literal=True)).then(bit).otherwise(0)
            for letter, bit in _FLAG_LETTERS.items()
        ),
    )
