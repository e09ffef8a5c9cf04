"""Which addresses on the Web a feed may have, how they are shown, and where a server may send us.

A redirect never leads nearer than where it comes from: not from the Internet into a network of our own, not from
there to this host, and never to link-local addresses, where clouds keep their credentials.  It is judged by the
address that is connected to, not by the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

from netpersona.errors import ConfigError, FeedError

_LONGEST = 2048  # characters
_METADATA = {  # where clouds answer machines about themselves, beside link-local addresses
    ip_address(text) for text in ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
}
_SHARED = ip_network("100.64.0.0/10")
_SIX_TO_FOUR = ip_network("2002::/16")
_NAT64 = ip_network("64:ff9b::/96")
_LIKE_A_KEY = re.compile(r"(?=.*[0-9])[\w-]{20,}|[\w.~%=+-]{40,}", re.ASCII)


class Reach(IntEnum):
    """How far away an address is."""

    NOBODY = 0  # nothing may be fetched there: link-local, metadata, multicast, unspecified, reserved
    HOST = 1
    INSIDE = 2
    PUBLIC = 3

    @property
    def words(self) -> str:
        """For messages."""
        return {0: "an address that no feed may have", 1: "this host", 2: "a private network", 3: "public"}[self]


def reach(address: str) -> Reach:
    """How far away an address is.  Raises ValueError for text that is none."""
    found = _inner(ip_address(address.partition("%")[0]))
    if found in _METADATA or found.is_link_local or found.is_multicast or found.is_unspecified:
        return Reach.NOBODY
    if found.is_loopback:
        return Reach.HOST
    if isinstance(found, IPv4Address) and (found in _SHARED or str(found).startswith("0.")):
        return Reach.INSIDE if found in _SHARED else Reach.NOBODY
    if found.is_private or getattr(found, "is_site_local", False):
        return Reach.NOBODY if found.is_reserved else Reach.INSIDE
    return Reach.NOBODY if found.is_reserved else Reach.PUBLIC


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if not isinstance(address, IPv6Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _SIX_TO_FOUR and address.sixtofour is not None:
        return address.sixtofour
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


@dataclass(frozen=True, slots=True, repr=False)
class WebPlace:
    """An http or https URL without user and password; it is shown without what may be a secret."""

    url: httpx.URL

    @classmethod
    def of(cls, text: str, what: str) -> WebPlace:
        """The place that the text names.  Raises ConfigError, which does not repeat it."""
        if len(text) > _LONGEST:
            raise ConfigError(f"{what}: the URL is longer than {_LONGEST} characters")
        try:
            url = httpx.URL(text.strip())
        except (httpx.InvalidURL, ValueError, TypeError):
            raise ConfigError(f"{what}: no URL; write https://HOST/PATH") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigError(f"{what}: no URL of http or https; write https://HOST/PATH, or 'file' for a file")
        if url.userinfo:
            raise ConfigError(
                f"{what}: a URL with user and password is refused, as URLs are shown; "
                "write basic_from: env:NAME or file:PATH, which holds user:password"
            )
        return cls(url.copy_with(fragment=None))

    def __str__(self) -> str:
        """The URL with every value of the query masked, and what looks like a key in the path."""
        path = "/".join("***" if _LIKE_A_KEY.fullmatch(word) else word for word in self.url.path.split("/"))
        query = "&".join(f"{word.partition('=')[0]}=***" if "=" in word else "***" for word in self._query)
        return f"{self.url.scheme}://{self.url.netloc.decode()}{path}" + (f"?{query}" if query else "")

    def __repr__(self) -> str:
        return f"WebPlace({str(self)!r})"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: credentials go to no other."""
        return self.url.scheme, self.host, self.port

    @property
    def host(self) -> str:
        """As it is resolved."""
        return self.url.raw_host.decode("ascii")

    @property
    def port(self) -> int:
        """The port, also where the URL names none."""
        return self.url.port or (443 if self.url.scheme == "https" else 80)

    def sent_to(self, location: str) -> WebPlace:
        """Where a server that answered from here sends us.  Raises FeedError where that may not be."""
        try:
            url = self.url.join(location[:_LONGEST])
        except (httpx.InvalidURL, ValueError, TypeError):
            raise FeedError("it redirects to what is no URL; nothing was followed") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise FeedError(f"it redirects to {url.scheme[:16]}:, and only http and https are followed")
        if self.url.scheme == "https" and url.scheme == "http":
            raise FeedError("it redirects from https to http; that is not followed")
        if url.userinfo:
            raise FeedError("it redirects to a URL with user and password; that is not followed")
        return WebPlace(url.copy_with(fragment=None))

    def below(self, path: str, **query: str) -> WebPlace:
        """A place below this one, which is taken for a folder; `path` is our own text, or checked."""
        whole = self.url.path if self.url.path.endswith("/") else self.url.path + "/"
        url = self.url.copy_with(path=whole + path) if path else self.url
        return WebPlace(url.copy_merge_params(query)) if query else WebPlace(url)

    @property
    def _query(self) -> list[str]:
        text = self.url.query.decode("ascii", "replace")
        return text.split("&") if text else []
