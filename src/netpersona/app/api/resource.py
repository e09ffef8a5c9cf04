"""The shape that everything has: apiVersion, kind, metadata, spec, status; and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi.responses import Response

from netpersona.persona.resource import API_VERSION

_JSON = msgspec.json.Encoder()


def resource(
    kind: str, name: str, spec: Mapping[str, Any] | None, status: Mapping[str, Any] | None, **metadata: Any
) -> dict[str, Any]:
    """A resource; without spec or status where there is none."""
    parts = {"spec": spec, "status": status}
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, **metadata},
        **{part: dict(value) for part, value in parts.items() if value is not None},
    }


def answer(value: Mapping[str, Any], status: int = 200) -> Response:
    """The value as JSON.  The declared models are held against it by the tests, not at each answer."""
    return Response(_JSON.encode(value), status, media_type="application/json")
