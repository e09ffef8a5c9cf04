"""JSON objects as typed structs, field by field: a field of a type that nobody expects is as good as absent."""

from __future__ import annotations

from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from netpersona.intel.formats.json_text import BadValueError, Value, decoded, members

T = TypeVar("T", bound=msgspec.Struct)


class Fields(Generic[T]):
    """Reads objects as one kind of struct, of which every field has a default."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._whole = msgspec.json.Decoder(kind)
        self._each = {
            field.encode_name: (field.name, msgspec.json.Decoder(field.type)) for field in msgspec.structs.fields(kind)
        }

    def read(self, value: Value) -> T:
        """The object.  Raises BadValueError where the value is none."""
        try:
            return self._whole.decode(value.raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._mended(members(value.raw))

    def _mended(self, told: dict[str, msgspec.Raw]) -> T:
        made = self._kind()
        for name in self._each.keys() & told.keys():
            field, decoder = self._each[name]
            with suppress(BadValueError):
                setattr(made, field, decoded(decoder, told[name]))
        return made


def shown(value: Value) -> str:
    """The beginning of a value that cannot be read, as text."""
    return bytes(memoryview(value.raw)[:200]).decode("utf-8", errors="replace")
