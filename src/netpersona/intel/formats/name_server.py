"""What name servers are told to answer wrongly: a zone of response policies, dnsmasq, unbound, BIND.

    evil.example CNAME .                        a response policy zone; also *.evil.example, and 24.0.2.0.192.rpz-ip
    address=/evil.example/0.0.0.0               dnsmasq
    local-zone: "evil.example" always_nxdomain  unbound; also local-data: "evil.example A 0.0.0.0"
    zone "evil.example" {type master; ...};     BIND
    PRIMARY evil.example blocked.dns            Microsoft's boot file

Only the names, addresses and networks are indicators; what passes (rpz-passthru, transparent) is refused.
Sources: draft-vixie-dnsop-dns-rpz, dnsmasq(8), unbound.conf(5).
"""

from __future__ import annotations

from ipaddress import ip_network

import polars as pl

from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import records

NAME = "name-server"
_RPZ = r"(?i)^([^\s;]+)\s+(?:[0-9]+\s+)?(?:IN\s+)?(?:CNAME\s+(\S+)|(?:A|AAAA)\s+[0-9a-f.:]+)\s*(?:;.*)?$"
_DNSMASQ = r"^(?:address|server|local)=/(.+)/"
_FORWARDS = r"^(?:server|local)=/.+/[^/\s]"
_UNBOUND = r"(?i)^local-zone:\s*\"?([^\"\s]+)\"?\s+\"?([a-z_]+)"
_DATA = r"(?i)^local-data:\s*[\"']([^\"'\s]+)\s"
_BIND = r'(?i)^zone\s+"([^"]+)"'
_BOOT = r"(?i)^primary\s+([^\s/]+\.[^\s/]+)\s+\S+$"
_ENTRY = f"{_DNSMASQ}|{_UNBOUND}|{_DATA}|{_BIND}|{_BOOT}"
_ORIGIN = r"(?i)^(?:\$ORIGIN\s+(\S+)\.\s*(?:;.*)?$|(\S+)\.\s+(?:[0-9]+\s+)?(?:IN\s+)?SOA\s)"
_FRAME = (
    r"(?i)^(?:#|;|//|\$|@|server:|[{}();]+$|[0-9]+[a-z]?\s*(?:;.*|\))?$|\S*\s*(?:[0-9]+\s+)?(?:IN\s+)?(?:SOA|NS)\s)"
)
_RPZ_FRAME = r"(?i)^(?:\$(?:TTL|ORIGIN)\s|\S*\s*(?:[0-9]+\s+)?(?:IN\s+)?SOA\s)"
_PASSES = r"(?i)^(?:rpz-passthru\.?|transparent|typetransparent|always_transparent|nodefault)$"
_OTHERS = r"(?i)\.rpz-(?:nsdname|nsip|client-ip)\.?$"
_IP = r"(?i)\.rpz-ip\.?$"


def recognised(lines: pl.DataFrame) -> bool:
    """Whether most of the first lines are of one of the kinds; records of a zone need the zone's head."""
    head = lines.head(500)["text"]
    rows = head.filter(~head.str.contains(_FRAME))
    zone = bool(head.str.contains(_RPZ_FRAME).any() or rows.str.contains(r"(?i)\sCNAME\s+(?:\*?\.|rpz-)").any())
    entry = f"{_ENTRY}|{_RPZ}" if zone else _ENTRY
    return len(rows) > 0 and rows.str.contains(entry).sum() * 5 >= len(rows) * 4


def read(lines: pl.DataFrame) -> Entries:
    """The entries; a line that is none keeps its text, so that it is refused."""
    text = pl.col("text")
    rows = records(lines.filter(~text.str.contains(_FRAME)))
    name = pl.coalesce(
        text.str.extract(_DNSMASQ, 1), text.str.extract(_UNBOUND, 1), text.str.extract(_DATA, 1),
        text.str.extract(_BIND, 1), text.str.extract(_BOOT, 1), text.str.extract(_RPZ, 1), text,
    )  # fmt: skip
    several = pl.when(text.str.contains(_DNSMASQ)).then(name.str.split("/")).otherwise(pl.concat_list(name))
    table = rows.select(
        "record",
        "line",
        raw=several,
        answer=pl.coalesce(text.str.extract(_RPZ, 2), text.str.extract(_UNBOUND, 2)),
        forwards=text.str.contains(_FORWARDS),
    ).explode("raw")
    table = table.with_columns(_relative(lines).str.strip_chars_end("."))
    reason = (
        pl.when(pl.col("answer").str.contains(_PASSES))
        .then(pl.lit("it lets the name through, and lists nothing"))
        .when(pl.col("forwards"))
        .then(pl.lit("it asks another server for the name, and lists nothing"))
        .when(pl.col("raw").str.contains(_OTHERS))
        .then(pl.lit("a trigger by name server or client, which is no indicator here"))
    )
    judged = table.with_columns(reason.alias("reason"))
    kept = _with_addresses(judged.filter(pl.col("reason").is_null()))
    return found(NAME, kept, judged.drop_nulls("reason"))


def _relative(lines: pl.DataFrame) -> pl.Expr:
    """The names as they stand in their zone: a transfer writes the zone's own name behind each."""
    heads = lines.head(500)["text"].str.extract_groups(_ORIGIN).struct.unnest()
    zone = heads.select(pl.coalesce(pl.all())).to_series().drop_nulls().head(1).to_list()
    return pl.col("raw").str.strip_suffix(f".{zone[0]}.") if zone else pl.col("raw")


def _with_addresses(table: pl.DataFrame) -> pl.DataFrame:
    """The table with the addresses of response policies written the usual way."""
    coded = table["raw"].str.contains(_IP)
    if not coded.any():
        return table
    usual = [_usual(raw) if is_coded else raw for raw, is_coded in zip(table["raw"], coded, strict=True)]
    return table.with_columns(pl.Series("raw", usual, dtype=pl.String))


def _usual(raw: str) -> str:
    """`24.0.2.0.192.rpz-ip` as 192.0.2.0/24: the length, then the parts from the last to the first; zz is `::`."""
    length, *parts = raw.lower().removesuffix(".").removesuffix(".rpz-ip").split(".")
    parts.reverse()
    joined = ".".join(parts) if len(parts) == 4 and "zz" not in parts else ":".join(parts)
    joined = joined.replace(":zz:", "::").removeprefix("zz").removesuffix("zz")
    try:
        return str(ip_network(f"{joined}/{length}"))
    except ValueError:
        return raw
