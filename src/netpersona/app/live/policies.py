"""Which policies are in force, in which version; how they come to be so is the loop's (loop.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netpersona.app import policies as policy_files
from netpersona.app.live.ledger import PolicyLedger
from netpersona.app.live.service import PolicyVersion
from netpersona.policy.model import PolicySet
from netpersona.ports import Store


class LivePolicies:
    """The texts of the policies and their versions; `read`: what texts mean here, raises PolicyError."""

    def __init__(
        self, read: Callable[[Mapping[str, str]], PolicySet], store: Store, texts: Mapping[str, str], at: int
    ) -> None:
        self._read = read
        self._versions = policy_files.decode(store.context("policies"))[1]
        self.ledger = PolicyLedger.of_bytes(store.context("policy-ledger"))
        if self.ledger.current is None:
            self.ledger.add(texts, at, "configuration", "at the first start")

    @property
    def texts(self) -> Mapping[str, str]:
        """What is in force, as it was written."""
        current = self.ledger.current
        return {} if current is None else current.texts

    @property
    def confirm_by(self) -> int | None:
        """When what is in force goes back by itself, µs; None: it stays."""
        return self.ledger.confirm_by

    def understood(self, texts: Mapping[str, str]) -> PolicySet:
        """What these texts would mean, each policy with the version that it would have.  Raises PolicyError."""
        return policy_files.versioned(self._read(texts), self._versions)[0]

    def came(
        self, texts: Mapping[str, str], policies: PolicySet, at: int, who: str, why: str, confirm_by: int | None
    ) -> PolicyVersion:
        """These are in force now, as understood() gave them."""
        self._versions = policy_files.versioned(policies, self._versions)[1]
        return self.ledger.add(texts, at, who, why, confirm_by)

    def to_bytes(self) -> dict[str, bytes]:
        """What the store keeps of it."""
        texts = policy_files.encode(dict(self.texts), self._versions)
        return {"policies": texts, "policy-ledger": self.ledger.to_bytes()}
