"""Every version of the policies, who brought it, and whether it waits to be confirmed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from netpersona.app.live.service import PolicyVersion
from netpersona.errors import ConfigError

KEPT = 100


@dataclass(slots=True)
class PolicyLedger:
    """The versions, oldest first; the last one is in force."""

    versions: list[PolicyVersion] = field(default_factory=list)

    @property
    def confirm_by(self) -> int | None:
        """When the current version goes back by itself, µs; None: it stays."""
        return self.versions[-1].confirm_by if self.versions else None

    @property
    def current(self) -> PolicyVersion | None:
        """What is in force."""
        return self.versions[-1] if self.versions else None

    def add(
        self, texts: Mapping[str, str], at: int, who: str, why: str, confirm_by: int | None = None
    ) -> PolicyVersion:
        """The next version; what waited to be confirmed before it is what it goes back to no longer."""
        number = self.versions[-1].number + 1 if self.versions else 1
        version = PolicyVersion(number, at, who, why, dict(texts), confirm_by is None, confirm_by)
        self.versions = [*self.versions, version][-KEPT:]
        return version

    def confirm(self) -> PolicyVersion:
        """Keep what waits.  Raises ConfigError where nothing waits."""
        if self.confirm_by is None or not self.versions:
            raise ConfigError("nothing waits to be confirmed: the policies in force stay")
        self.versions[-1] = replace(self.versions[-1], confirmed=True, confirm_by=None)
        return self.versions[-1]

    def before(self, number: int | None = None) -> PolicyVersion:
        """The version with this number, or the last confirmed one before the current.  Raises ConfigError."""
        known = self.versions if number is not None else [v for v in self.versions[:-1] if v.confirmed]
        found = [v for v in known if number is None or v.number == number]
        if not found:
            some = f"version {number}" if number is not None else "earlier confirmed version"
            raise ConfigError(f"there is no {some} of the policies; 'netpersona policy history' lists them")
        return found[-1]

    def to_bytes(self) -> bytes:
        """For the store."""
        return json.dumps([asdict(version) for version in self.versions]).encode()

    @classmethod
    def of_bytes(cls, content: bytes | None) -> PolicyLedger:
        """What to_bytes() was given; an empty one for an empty store."""
        if content is None:
            return cls()
        return cls([PolicyVersion(**version) for version in json.loads(content)])
