"""A VM's summary as a resource, and back again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SPEC = ("addresses", "learning")
_METADATA = ("labels", "version")


def as_resource(told: Mapping[str, Any]) -> dict[str, Any]:
    """A summary as a resource."""
    metadata = {name: told[name] for name in _METADATA}
    spec = {name: told[name] for name in _SPEC}
    rest = {name: value for name, value in told.items() if name not in {"vm", *_METADATA, *_SPEC}}
    head = {"name": told["vm"], **metadata}
    return {"apiVersion": "netpersona/v1", "kind": "PersonaSummary", "metadata": head, "spec": spec, "status": rest}


def of_resource(told: Mapping[str, Any]) -> dict[str, Any]:
    """The summary that as_resource() was given."""
    head, spec = told["metadata"], told["spec"]
    return {
        "vm": head["name"],
        "addresses": spec["addresses"],
        "labels": head["labels"],
        "version": head["version"],
        "learning": spec["learning"],
        **told["status"],
    }
