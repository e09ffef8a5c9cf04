"""What feeds call things: the columns of a table, and the types of its values.

Names are compared in lower case with `_` for blanks and hyphens.  Sources: the headers that abuse.ch, CISA, FIRST, OTX,
MISP, Team Cymru, DataPlane, Shadowserver and Spamhaus publish; the types of Zeek's Intel framework and of MISP.
"""

from __future__ import annotations

import re

import polars as pl

from netpersona.intel.indicator import INDICATOR_TYPES, IndicatorType

GENERAL = ("indicator", "indicator_value", "indicatorvalue", "ioc_value", "value", "observable", "ioc", "data")
_PLACES = (
    "ip", "ip_address", "ipaddress", "ip_addr", "address", "addr", "dst_ip", "dest_ip", "destination_ip", "dstip",
    "src_ip", "source_ip", "srcip", "saddr", "src", "ipv4", "ipv6", "ip_cidr", "ip_range", "ip_prefix", "network",
    "cidr", "subnet", "prefix", "netblock", "c2_ip", "ip_attacked", "attacker", "ipaddr", "remote_ip", "remote_host",
    "attacker_ip", "host_ip", "ip_str", "c2", "c2_server",
)  # fmt: skip
_NAMES = (
    "domain",
    "domain_name",
    "host",
    "hostname",
    "host_name",
    "fqdn",
    "c2_domain",
    "site",
    "domainaddress",
    "domainname",
)
_URLS = ("url", "uri", "phish_url", "c2_url", "malware_url")
HASHES = (
    "sha256_hash", "sha256", "sha_256", "sha1_hash", "sha1", "sha_1", "md5_hash", "md5", "sha512", "hash", "file_hash",
)  # fmt: skip
_JA3 = ("ja3", "ja3_md5", "ja3_hash", "ja3_fingerprint", "ja3_digest")
_CVE = ("cve", "cveid", "cve_id", "cve_number", "vulnerability_id")
_ASN = ("asn", "as_number", "as")
SPECIAL = (*_JA3, *_PLACES, *_NAMES, *_URLS, *HASHES, *_CVE)
LAST = _ASN  # a number of an AS stands beside many things, and is the indicator only where there is nothing else
LABELS = (
    "malware_printable", "malware", "malware_family", "family", "botname", "listingreason", "listing_reason", "reason",
    "signature", "label", "threat_name", "vulnerabilityname", "vulnerability_name", "application", "app", "tag", "tags",
    "threat", "target", "desc", "description", "meta_desc", "comment", "comments", "optional_information", "title",
    "name", "asname", "as_name", "note", "notes",
)  # fmt: skip
KEV = "cisa-kev"
EXPLOITED = ("vendorproject", "product", "vulnerabilityname")  # CISA KEV's: together they are its label
CATEGORIES = ("threat_type", "category", "threat", "report", "classification")
CONFIDENCES = (
    "confidence_level", "confidence", "confidence_score", "confidencelevel", "meta_confidence", "epss", "epss_score",
    "abuseconfidencescore", "abuse_confidence_score",
)  # fmt: skip
ENDS = (
    "valid_until", "expires", "expires_at", "expiration", "expirationtime", "expiration_time", "expirationdatetime",
    "expiry", "deletedate", "datawykreslenia",
)  # fmt: skip
"""Until when a row holds; CERT Polska's list says when a name was taken off it."""
TYPES = ("ioc_type", "indicator_type", "indicatortype", "type", "observable_type", "iocs_type")

_NO, _YES = ("0", "false", "no", "f", "n"), ("1", "true", "yes", "t", "y")
OBJECTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "to_ids": (_NO, "its to_ids is false: its author does not call it an indicator"),
    "action": (("allow", "allowed", "permit", "whitelist"), "the feed calls it allowed"),
    "classification": (("benign",), "the feed calls it benign"),
    "whitelisted": (_YES, "the feed calls it allowed"),
    "is_whitelisted": (_YES, "the feed calls it allowed"),
    "false_positive": (_YES, "the feed calls it a false positive"),
    "revoked": (_YES, "revoked by its author"),
    "is_active": (_NO, "no longer active, says the feed"),
    "verified": (_NO, "the feed has not verified it"),
}
"""Columns that say that a row is not meant: with which values, in lower case, and what that means."""

COLUMN_TYPES: dict[str, str] = {
    **dict.fromkeys(_JA3, IndicatorType.JA3.value),
    **dict.fromkeys(_URLS, IndicatorType.URL.value),
    **dict.fromkeys(_CVE, IndicatorType.CVE.value),
    **dict.fromkeys(_ASN, IndicatorType.ASN.value),
}
"""The types that a column's name states."""

DIALECTS: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (name, frozenset(columns.split()))
    for name, columns in (
        ("threatfox", "ioc_value ioc_type threat_type"),
        ("malwarebazaar", "sha256_hash md5_hash sha1_hash"),
        ("urlhaus", "url url_status"),
        ("urlhaus", "url filetype md5 sha256"),
        ("feodo", "dst_ip c2_status"),
        ("feodo", "dstip dstport malware"),
        ("sslbl-ip", "firstseen dstip dstport"),
        ("sslbl", "sha1 listingreason"),
        ("ja3", "ja3_md5"),
        ("ja3", "ja3"),
        ("ja3", "ja3_hash"),
        (KEV, "cveid vendorproject"),
        ("epss", "cve epss"),
        ("otx", "indicator indicator_type"),
        ("misp-csv", "uuid event_id type value"),
        ("phishtank", "phish_id url"),
        ("team-cymru", "report ip asn timestamp"),
        ("team-cymru", "category address asn timestamp"),
        ("dataplane", "asn asname category"),
        ("shadowserver", "timestamp ip port asn geo"),
    )
)
"""The tables that are known by their columns; the first whose columns are all there."""

_MEANT: dict[IndicatorType, str] = {
    IndicatorType.ADDRESS: "ip ipv4 ipv6 ip_dst ip_src ip:port ip_dst_port ip_src_port ip_port ipv4_addr ipv6_addr "
    "addr ip_address ipaddress address host_ip dst_ip src_ip ipv4address ipv6address",
    IndicatorType.NETWORK: "cidr subnet network netblock ip_range cidr4 cidr6 prefix",
    IndicatorType.DOMAIN: "domain hostname host fqdn domain_name domainname effective_domain dns",
    IndicatorType.URL: "url uri link",
    IndicatorType.HASH: "hash file_hash cert_hash md5 sha1 sha256 sha512 sha224 sha384 md5_hash sha1_hash sha256_hash "
    "filemd5 filesha1 filesha256 "
    "sha512_hash filehash_md5 filehash_sha1 filehash_sha256 filehash_sha512 x509_fingerprint_sha1 x509_fingerprint_md5 "
    "x509_fingerprint_sha256 sslcertfingerprint",
    IndicatorType.JA3: "ja3 ja3_fingerprint_md5 ja3_md5 ja3_hash",
    IndicatorType.ASN: "asn as autonomous_system",
    IndicatorType.CVE: "cve vulnerability",
}
_MEANS = {word: kind.value for kind, words in _MEANT.items() for word in words.split()}
_SILENT = (
    "email email_src email_dst email_addr email_subject email_attachment envelope_from body_from from_address user "
    "user_name username filename file_name filepath file_path mutex regkey registry_key user_agent software yara sigma "
    "snort pattern_in_file pattern_in_traffic pattern_in_memory ssdeep imphash tlsh impfuzzy authentihash pehash vhash "
    "pubkey_hash sha3_384_hash sha3_384 btc bitcoin_address iban phone_number port size_in_bytes named_pipe text "
    "comment other ja3s jarm hassh hasshserver hassh_server hassh_md5 hasshserver_md5 ja4 ja4s mac_address"
)
_UNUSABLE = dict.fromkeys(_SILENT.split(), True)


def name_of(text: str) -> str:
    """A column's or a type's name as it is compared here."""
    bare = re.sub(r"\(.*?\)", "", text.strip().strip('"').lower()).strip()
    return re.sub(r"[\s._/-]+", "_", bare).strip("_")


def stated_type(word: pl.Expr) -> pl.Expr:
    """The type that a feed's word means; null for a word that is not known."""
    return _name(word).replace_strict(_MEANS, default=None, return_dtype=INDICATOR_TYPES)


def unusable(word: pl.Expr) -> pl.Expr:
    """Whether a feed's word means something that is no indicator here: a file's name, a mail address."""
    return _name(word).replace_strict(_UNUSABLE, default=False, return_dtype=pl.Boolean)


def is_unusable(name: str) -> bool:
    """Whether a column so named holds what is no indicator here."""
    return name in _UNUSABLE


def _name(word: pl.Expr) -> pl.Expr:
    return word.str.strip_chars().str.to_lowercase().str.strip_prefix("intel::").str.replace_all(r"[\s._/|-]+", "_")
