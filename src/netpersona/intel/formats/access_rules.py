r"""Rules by which servers and firewalls keep addresses out, one to a line.

    deny 203.0.113.7;                                    nginx; also `Deny from` and `Require not ip` of Apache
    ALL: 203.0.113.7, 203.0.113.9                        hosts.deny
    -A INPUT -s 203.0.113.0/24 -j DROP                   iptables-save, and calls of iptables
    access-list 10 deny 203.0.113.0 0.0.0.255            Cisco; also `deny ip host` and prefix lists
    add list=bad address=203.0.113.7                     RouterOS
    blackhole 203.0.113.0/24                             routes

Only what is kept out is listed; of a rule with conditions (ports, protocols) the address is taken, as of other formats.
What lets through, and what names no address, is refused.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import data_lines, records, trailing_comment

NAME = "access-rules"
_PLACE = r"[0-9A-Fa-f]*[0-9:.][0-9A-Fa-f:.]*(?:/[0-9.]+)?"
_PLACES = rf"{_PLACE}(?:[\s,]+{_PLACE})*"
_ADDRESS = r"^[0-9]+\.[0-9]"  # how a line of a plain list begins
_WILD = r"\s+((?:0|255)\.[0-9.]+)$"
_DROPS = r"\s(?:-j|--jump)\s+(?:DROP|REJECT|TARPIT|BLACKHOLE|BLACKLIST)\b"
_CISCO = r"(?i)^(?:access-list\s+\S+\s+|ip(?:v6)?\s+prefix-list\s+\S+\s+)?(?:(?:seq\s+)?[0-9]+\s+)?"
_RULES = (
    rf"(?i)^(?:ufw\s+)?(?:deny|reject)\s+(?:from\s+)?({_PLACES})\s*;?$",
    rf"(?i)^require\s+not\s+(?:ip|host)\s+({_PLACES})$",
    rf"(?i)^(?:all|[a-z]+d)\s*:\s*({_PLACES})(?:\s*:\s*deny)?$",
    rf"^(?:\[[0-9:]+\]\s*)?(?:ip6?tables\s+)?-[AI]\s.*?(?:^|\s)(?:-s|--source)\s+({_PLACE})(?:\s.*)?{_DROPS}",
    rf"^(?:\[[0-9:]+\]\s*)?(?:ip6?tables\s+)?-[AI]\s.*?(?:^|\s)(?:-d|--destination)\s+({_PLACE})(?:\s.*)?{_DROPS}",
    rf"{_CISCO}deny\s+(?:(?:ip|ipv6|tcp|udp)\s+)?(?:host\s+)?({_PLACE}(?:\s+[0-9.]+)?)(?:\s+[a-z].*)?$",
    rf"^(?:/ip\S*\s.*\s)?add\s(?:.*\s)?address=({_PLACE})(?:\s|$)",
    rf"(?i)^(?:ip\s+(?:-6\s+)?route\s+add\s+)?(?:blackhole|unreachable|prohibit)\s+({_PLACE})(?:\s|$)",
)
_PASSES = r"(?i)(?:^|\s)(?:allow|permit|accept|return)\b|^require\s"
_FRAME = (
    r"(?i)^(?:\*[a-z0-9]+$|:\S+\s+\S+\s+\[|COMMIT$|order\s|satisfy\s|/ip\S*\s+firewall\s+address-list$|!|exit$|end$)"
)


def recognised(lines: pl.DataFrame) -> bool:
    """Whether at least half of the first lines keep an address out."""
    first = data_lines(lines.head(500)).filter(~pl.col("text").str.contains(_FRAME))
    if not first.height or first["text"].str.contains(_ADDRESS).sum() * 2 > first.height:
        return False
    return first.filter(_places().is_not_null()).height * 2 >= first.height


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the rules."""
    text = pl.col("text")
    rules = records(data_lines(lines).filter(~text.str.contains(_FRAME)))
    told = rules.with_columns(_places().alias("places"), trailing_comment(text).alias("label"))
    each = told.drop_nulls("places").with_columns(pl.col("places").str.extract_all(_PLACE).alias("raw")).explode("raw")
    lets = pl.lit("it lets through, and lists nothing")
    why = pl.when(text.str.contains(_PASSES)).then(lets).otherwise(pl.lit("a rule that keeps no address out"))
    gone = told.filter(pl.col("places").is_null()).with_columns(text.alias("raw"), why.alias("reason"))
    return found(NAME, each, gone)


def _places() -> pl.Expr:
    """The addresses that a rule keeps out, a mask behind its address; null where there are none."""
    bare = pl.col("text").str.replace(r"\s+#.*$", "")
    return pl.coalesce(*(bare.str.extract(rule, 1) for rule in _RULES)).str.replace(_WILD, "/${1}")
