"""What feeds and sinks on the Web have in common: which credentials are sent, and whose certificates are believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from netpersona.adapters.feeds.access import Access
from netpersona.adapters.feeds.secrets import Credentials, Place, checked_header
from netpersona.errors import ConfigError


class AccessKeys(Protocol):
    """The keys of a configuration that say how a place on the Web is asked."""

    @property
    def headers_from(self) -> Mapping[str, str]:
        """Headers, and where each one's text is: env:NAME or file:PATH."""

    @property
    def basic_from(self) -> str | None:
        """Where user:password is."""

    @property
    def verify(self) -> bool:
        """Whether certificates are verified."""


def access_of(keys: AccessKeys, ca: Path | None, here: Path | None, what: str) -> Access:
    """What the keys mean; paths are relative to `here`.  Raises ConfigError, which begins with `what`."""
    if ca is not None and not keys.verify:
        raise ConfigError(f"{what}: ca and verify: false contradict each other; with ca, certificates are verified")
    headers = {
        checked_header(name, f"{what}: headers_from"): Place.of(text, f"{what}: headers_from", here)
        for name, text in keys.headers_from.items()
    }
    basic = None if keys.basic_from is None else Place.of(keys.basic_from, f"{what}: basic_from", here)
    if basic is not None and any(name.lower() == "authorization" for name in headers):
        raise ConfigError(f"{what}: basic_from and a header Authorization are the same; give one of them")
    return Access(Credentials(headers, basic), ca, keys.verify)
