"""Which addresses on the Web a feed may have, how they are shown, and where a server may send us.

A redirect never leads nearer than where it comes from: not from the Internet into a network of our own, not from
there to this host, and never to link-local addresses, where clouds keep their credentials.  It is judged by the
address that is connected to, not by the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import quote, urlencode, urljoin, urlsplit

from netpersona.errors import ConfigError, FeedError

_LONGEST = 2048  # characters
_PORTS = {"http": 80, "https": 443}
_NEVER = re.compile(r"[\s\\<>\"]")  # in a URL; a backslash is a slash to some
_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?\.?")
_IN_PATH = "/%:@!$&'()*+,;=~"
_IN_QUERY = _IN_PATH + "?[]"
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

    scheme: str
    host: str  # ASCII, as it is resolved; IPv6 without brackets
    port: int
    path: str  # percent-encoded
    query: str = ""  # percent-encoded

    @classmethod
    def of(cls, text: str, what: str) -> WebPlace:
        """The place that the text names.  Raises ConfigError, which does not repeat it."""
        if len(text) > _LONGEST:
            raise ConfigError(f"{what}: the URL is longer than {_LONGEST} characters")
        try:
            return cls._parsed(text.strip())
        except _UserError:
            raise ConfigError(
                f"{what}: a URL with user and password is refused, as URLs are shown; "
                "write basic_from: env:NAME or file:PATH, which holds user:password"
            ) from None
        except ValueError:
            raise ConfigError(
                f"{what}: no URL of http or https; write https://HOST/PATH, or 'file' for a file"
            ) from None

    @classmethod
    def _parsed(cls, text: str) -> WebPlace:
        """Raises ValueError, and _UserError where a user stands in it."""
        if not text.isprintable() or _NEVER.search(text):
            raise ValueError("characters that no URL has")
        parts = urlsplit(text)
        scheme = parts.scheme.lower()
        if scheme not in _PORTS:
            raise _SchemeError(scheme)
        if "@" in parts.netloc:
            raise _UserError("a user")
        port = parts.port
        return cls(
            scheme,
            _host(parts.hostname or ""),
            _PORTS[scheme] if port is None else port,
            quote(parts.path, safe=_IN_PATH) or "/",
            quote(parts.query, safe=_IN_QUERY),
        )

    def __str__(self) -> str:
        """The URL with every value of the query masked, and what looks like a key in the path."""
        path = "/".join("***" if _LIKE_A_KEY.fullmatch(word) else word for word in self.path.split("/"))
        words = self.query.split("&") if self.query else []
        query = "&".join(f"{word.partition('=')[0]}=***" if "=" in word else "***" for word in words)
        return f"{self.scheme}://{self.netloc}{path}" + (f"?{query}" if query else "")

    def __repr__(self) -> str:
        return f"WebPlace({str(self)!r})"

    @property
    def netloc(self) -> str:
        """Host and port, as a Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """What is asked for at the host."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def url(self) -> str:
        """The whole URL, for asking; never for showing: a secret may stand in it."""
        return f"{self.scheme}://{self.netloc}{self.target}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Credentials go to no other."""
        return self.scheme, self.host, self.port

    def sent_to(self, location: str) -> WebPlace:
        """Where a server that answered from here sends us.  Raises FeedError where that may not be."""
        try:
            whole = urljoin(self.url, location[:_LONGEST])
            found = self._parsed(whole)
        except _SchemeError as error:
            raise FeedError(f"it redirects to {error}:, and only http and https are followed") from None
        except _UserError:
            raise FeedError("it redirects to a URL with user and password; that is not followed") from None
        except ValueError:
            raise FeedError("it redirects to what is no URL; nothing was followed") from None
        if self.scheme == "https" and found.scheme == "http":
            raise FeedError("it redirects from https to http; that is not followed")
        return found

    def below(self, path: str, **query: str) -> WebPlace:
        """A place below this one, which is taken for a folder; `path` is our own text, or checked."""
        folder = self.path if self.path.endswith("/") else self.path + "/"
        asked = "&".join(each for each in (self.query, urlencode(query)) if each)
        return replace(self, path=folder + path if path else self.path, query=asked)


class _UserError(ValueError):
    """A URL names a user."""


class _SchemeError(ValueError):
    """A URL is not of http or https."""

    def __init__(self, scheme: str) -> None:
        super().__init__(scheme[:16] if scheme.isalnum() else "something else")


def _host(text: str) -> str:
    """The host as it is resolved.  Raises ValueError."""
    if ":" in text:
        return str(ip_address(text.partition("%")[0]))
    name = text.encode("idna").decode("ascii").lower()
    if not _HOST.fullmatch(name):
        raise ValueError("no host")
    return name
