"""The errors of ours as they are told over HTTP: the status, the word that stays, and what to do; and back again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from netpersona.app.answers.known import UnknownError
from netpersona.errors import (
    ConfigError,
    EnforcerError,
    FeedError,
    InventoryError,
    NetpersonaError,
    PolicyError,
    SourceError,
    StoreError,
)

TYPE = "urn:netpersona:problem:"


class Kind(NamedTuple):
    """How an error of ours is answered; `advice` stands beside what its message says."""

    error: type[NetpersonaError]
    status: int
    word: str  # in the type
    title: str
    advice: str


KINDS = (  # the first that fits counts
    Kind(UnknownError, 404, "unknown", "There is nothing of this name", "List what there is, and ask again."),
    Kind(PolicyError, 422, "policy", "The policies are refused", "Mend them at the place named; nothing was changed."),
    Kind(ConfigError, 400, "value", "A value is refused", "Correct the value and ask again; nothing was changed."),
    Kind(FeedError, 422, "feed", "The indicators are refused", "Correct them and push again; nothing was changed."),
    Kind(InventoryError, 503, "inventory", "The list of VMs cannot be read", "Mend the inventory; see /api/v1/health."),
    Kind(StoreError, 503, "store", "The store does not answer", "See /api/v1/health; the rules in force stay."),
    Kind(
        EnforcerError, 503, "enforcer", "The kernel refused", "The rules before are still in force; see /api/v1/health."
    ),
    Kind(SourceError, 503, "source", "A sensor cannot read", "See /api/v1/health."),
    Kind(NetpersonaError, 409, "state", "That cannot be done now", "See /api/v1/health, then ask again."),
)


def kind_of(error: NetpersonaError) -> Kind:
    """How this error is told."""
    return next(kind for kind in KINDS if isinstance(error, kind.error))


def error_of(told: Mapping[str, Any]) -> NetpersonaError:
    """The error that a problem tells of, for those who asked."""
    word = str(told.get("type", "")).removeprefix(TYPE)
    known = {kind.word: kind.error for kind in KINDS} | {"request": ConfigError, "size": ConfigError}
    detail = str(told.get("detail") or told.get("title") or "the controller refused, and did not say why")
    advice = str(told.get("advice") or "")
    said = f"{detail}; {advice[:1].lower()}{advice[1:].rstrip('.')}" if word == "access" and advice else detail
    return known.get(word, NetpersonaError)(said)
