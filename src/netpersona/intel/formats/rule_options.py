"""What the options of one rule list by themselves: a host, a URL, a fingerprint of a client or a certificate.

A host stands for itself where a whole name, or the end of one, is all that the rule looks for.  A rule that looks for
more beside it does not list the host: `raw.githubusercontent.com` with one path is no reason to block GitHub.  Host and
path together, each complete, are a URL.
Sources: Suricata user guide, payload, DNS, TLS, HTTP and JA3 keywords; Snort users manual, content and its modifiers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

MAYBE = (
    r"(?i)dns[._]query|(?:tls|quic)[._]sni|http[._]host|http[._]raw_host|ja3[._]hash|tls[._](?:cert_)?fingerprint|"
    r'content\s*:\s*"[^"]*00\|'
)
"""What stands in a rule whose options are worth reading."""

_HOSTS = {"dns_query", "tls_sni", "quic_sni", "http_host", "http_host_raw", "http_raw_host"}
_PATHS = {"http_uri", "http_uri_raw", "http_raw_uri"}
_CERTIFICATES = {"tls_cert_fingerprint", "tls_fingerprint"}
_HARMLESS = {"http_method"}
_PLACES = re.compile(
    r"(?:http|dns|tls|ssl|ja3s?|ja4|file|ssh|smb|quic|krb5|snmp|sip|mqtt|quic|rfb|ike|ftp|smtp|email|pkt|base64)_\w+"
)
_OLD_STYLE = re.compile(r"http_\w+")  # names the place of the content before it; other places hold for what follows
_CONDITIONS = {
    "pcre", "byte_test", "byte_jump", "byte_math", "dataset", "datarep", "lua", "luajit", "iprep", "geoip", "filemd5",
    "filesha1", "filesha256", "filename", "fileext", "uricontent", "xbits", "asn1", "entropy",
}  # fmt: skip
_OPTION = re.compile(r'\s*([\w.-]+)\s*(?::((?:"(?:[^"\\]|\\.)*"|[^;"])*))?;')
_QUOTED = re.compile(r'\s*(!?)\s*"((?:[^"\\]|\\.)*)"\s*(.*)$', re.DOTALL)
_HEX = re.compile(r"\|([0-9A-Fa-f\s]*)\|")
_ESCAPED = re.compile(r"\\(.)")


class Listed(NamedTuple):
    """What a rule lists, with its type where it states one; or why it lists nothing."""

    value: str | None = None
    type: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Content:
    """One content that a rule looks for, and where."""

    buffer: str
    value: bytes
    negated: bool
    begins: bool = False  # at the beginning of the buffer
    late: bool = False  # somewhere after it
    ends: bool = False  # at its end


def listed(rule: str) -> Listed:
    """What the options of a rule list."""
    contents, conditions = _contents(rule)
    wanted = [c for c in contents if c.buffer not in _HARMLESS and not (c.buffer == "" and _is_flags(c.value))]
    if conditions or any(c.negated for c in wanted):
        return Listed(reason="what it names counts only together with other conditions")
    by = {c.buffer: c for c in wanted}
    if len(wanted) == 1:
        return _alone(wanted[0])
    hosts, paths = by.keys() & _HOSTS, by.keys() & _PATHS
    if len(wanted) == 2 and len(hosts) == len(paths) == 1:
        return _url(by[hosts.pop()], by[paths.pop()])
    return Listed(reason="what it names counts only together with other conditions")


def _alone(content: _Content) -> Listed:
    """What a single content lists."""
    text = content.value.decode("utf-8", "replace")
    if content.buffer == "ja3_hash":
        return Listed(text, "ja3")
    if content.buffer in _CERTIFICATES:
        return Listed(text.replace(":", ""), "hash")
    if content.buffer in _HOSTS:
        return Listed(text.lstrip(".")) if content.ends else Listed(reason="it looks for a part of a host's name only")
    if content.buffer == "" and (name := _dns_name(content.value)) is not None:
        return Listed(name, "domain")
    return Listed(reason="it names no address, host or fingerprint")


def _url(host: _Content, path: _Content) -> Listed:
    if host.begins and host.ends and path.begins and path.ends:
        return Listed(f"http://{host.value.decode('utf-8', 'replace')}{path.value.decode('utf-8', 'replace')}", "url")
    return Listed(reason="it looks for parts of a URL only")


def _contents(rule: str) -> tuple[list[_Content], bool]:
    """The contents of a rule, and whether it asks for anything else that is not a matter of course."""
    contents: list[_Content] = []
    sizes: dict[str, str] = {}
    buffer, conditions = "", False
    for written, value in _options(rule):
        name = written.replace(".", "_")
        conditions |= name in _CONDITIONS or (name == "flowbits" and "isset" in value)
        if name == "content" or (value and name in _CERTIFICATES):
            contents.append(_content(buffer if name == "content" else name, value))
        elif name == "bsize":
            sizes[buffer] = value
        elif not value and _PLACES.fullmatch(name):
            if contents and _OLD_STYLE.fullmatch(written) and not buffer:
                contents[-1].buffer = name
            else:
                buffer = name
        elif contents:
            _bound(contents[-1], name, value)
    for content in contents:
        if sizes.get(content.buffer) == str(len(content.value)):
            content.begins = content.ends = True
    return contents, conditions


def _options(rule: str) -> list[tuple[str, str]]:
    """(name, value) of the options."""
    inside = rule.partition("(")[2]
    return [(name.lower(), value.strip()) for name, value in _OPTION.findall(inside)]


def _content(buffer: str, written: str) -> _Content:
    """A content as the bytes it means; Snort 3 writes what bounds it behind it, by commas."""
    found = _QUOTED.match(written)
    negated, text, behind = found.groups() if found is not None else ("!" if written[:1] == "!" else "", written, "")
    parts = _HEX.split(_ESCAPED.sub(lambda m: m.group(1) if m.group(1) != "|" else "|7c|", text))
    value = b"".join(_unhexed(part) if n % 2 else part.encode() for n, part in enumerate(parts))
    content = _Content(buffer, value, negated == "!")
    for bound in behind.split(","):
        name, _, number = bound.strip().partition(" ")
        _bound(content, name, number)
    return content


def _unhexed(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b"?"


def _bound(content: _Content, name: str, value: str) -> None:
    """What a modifier says of where the content lies."""
    if name in {"offset", "distance"} and value != "0":
        content.late, content.begins = True, False
    elif (name == "depth" and value == str(len(content.value)) and not content.late) or name == "startswith":
        content.begins = True
    elif name == "endswith" or (name == "isdataat" and value.replace(" ", "").startswith("!1")):
        content.ends = True


def _is_flags(value: bytes) -> bool:
    """Whether a content is only bytes of a header, as rules of Snort have before a DNS name."""
    return bool(value) and all(byte < 0x20 or byte > 0x7E for byte in value)


def _dns_name(value: bytes) -> str | None:
    """The name that is written as on the wire, to its end; None where it is none."""
    labels, rest = [], value
    while rest and 0 < rest[0] < 64 and len(rest) > rest[0]:
        labels.append(rest[1 : rest[0] + 1])
        rest = rest[rest[0] + 1 :]
    if rest != b"\0" or len(labels) < 2:
        return None
    return b".".join(labels).decode("utf-8", "replace")
