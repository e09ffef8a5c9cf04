"""How personas and all that is kept beside them become bytes: canonical, schema-versioned, checked.

    [schema, name of the type, value]          in MessagePack; fields by name, named tuples as arrays

Canonical: equal values give equal bytes, whatever the order in which their dicts and sets were filled.  Checked:
what is written has been read back with its types, so a store never holds a value that cannot be read again.
A form of the two schemas before is migrated when it is read; one of a newer schema is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from netpersona.errors import StoreError

SCHEMA = 1
READS_BACK = 2  # schemas before this one that are still read

T = TypeVar("T")
Migration = Callable[[str, Any], Any]  # (name of the type, its plain value in the older schema) -> in the next one
_Order = Callable[[Any], Any]

# From which schema, how to the next.  A migration is pure, and gets every type: it returns untouched what it does
# not concern.  Those of schemas older than READS_BACK may be deleted.
MIGRATIONS: Mapping[int, Migration] = MappingProxyType({})


class _Envelope(NamedTuple):
    schema: int
    name: str
    value: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Codec:
    """One schema with the migrations that lead to it."""

    schema: int = SCHEMA
    migrations: Mapping[int, Migration] = field(default_factory=lambda: MIGRATIONS)

    def encode(self, value: object) -> bytes:
        """The value's one text in bytes.

        The value is a struct, a dataclass or a named tuple, made of such, of dicts, tuples, texts, numbers and bytes.
        Raises StoreError where it holds something that its own types do not allow.
        """
        kind = _any(type(value))
        try:
            plain = _PACK.encode(_ordered(kind)(value))
            checked = _reader(kind).decode(plain)
        except (TypeError, ValueError, OverflowError) as e:
            raise StoreError(f"a {kind.__name__} cannot be stored: {e}") from e
        return _PACK.encode((self.schema, kind.__name__, checked))

    def decode(self, data: bytes, kind: type[T]) -> T:
        """The value that was encoded.  Raises StoreError for a newer or too old schema, another type, or damage."""
        envelope = _opened(data, kind.__name__)
        try:
            current = envelope.schema == self.schema
            # An older form is packed once more after its migration: only the packed form may have arrays as keys.
            plain = envelope.value if current else _PACK.encode(self._migrated(envelope))
            value: T = _reader(_any(kind)).decode(plain)
        except (msgspec.MsgspecError, TypeError, ValueError, KeyError) as e:
            raise StoreError(f"a stored {kind.__name__} is damaged: {e}; restore the store from a copy") from e
        return value

    def _migrated(self, envelope: _Envelope) -> Any:
        oldest = max(1, self.schema - READS_BACK)
        if envelope.schema > self.schema:
            raise StoreError(
                f"a stored {envelope.name} has schema {envelope.schema}, written by a newer netpersona; "
                f"this one reads schemas {oldest} to {self.schema}: upgrade netpersona"
            )
        if envelope.schema < oldest:
            raise StoreError(
                f"a stored {envelope.name} has schema {envelope.schema}; this netpersona reads schemas {oldest} to "
                f"{self.schema}: open the store once with a release in between"
            )
        value = msgspec.msgpack.decode(envelope.value, strict=False)
        for schema in range(envelope.schema, self.schema):
            value = self.migrations[schema](envelope.name, value)
        return value


_CODEC = Codec()
encode = _CODEC.encode
decode = _CODEC.decode

_PACK = msgspec.msgpack.Encoder()
_ENVELOPE: msgspec.msgpack.Decoder[_Envelope] = msgspec.msgpack.Decoder(_Envelope)


def _opened(data: bytes, expected: str) -> _Envelope:
    try:
        envelope = _ENVELOPE.decode(data)
    except msgspec.MsgspecError as e:
        raise StoreError(f"a stored {expected} is damaged: {e}; restore the store from a copy") from e
    if envelope.name != expected:
        raise StoreError(f"a stored {envelope.name} stands where a {expected} was expected; the store is damaged")
    return envelope


def _any(kind: Any) -> Any:
    """A type as a key of the two caches below; mypy doubts that every type can be one."""
    return kind


@cache
def _reader(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


# Canonical order.  For every type one function is built, once, that puts the dicts and sets inside a value in the
# order of their keys or, where those do not compare, of their keys' bytes; where a type can hold neither, it is None,
# and such values are not walked at all.


@cache
def _ordered(kind: Any) -> _Order:
    return _order_of(kind, frozenset()) or _same


def _same(value: Any) -> Any:
    return value


def _order_of(kind: Any, above: frozenset[Any]) -> _Order | None:
    """How a value of the type is put in order; `above` are the classes it stands in, so that trees come to an end."""
    if kind in above or kind in (Any, object):
        return _order_anything
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _order_optional(arguments, above)
    if origin is dict:
        inner = _order_of(arguments[1], above)
        order = _order_by_key if _compares(arguments[0]) else _order_dict
        return order if inner is None else _order_dict_of(order, inner)
    if origin in (set, frozenset) or kind in (set, frozenset):
        return _order_set
    if origin in (tuple, list):
        return _order_items(origin, arguments, above)
    if _has_fields(kind):
        return _order_fields(kind, above | {kind})
    return _order_anything if kind in (dict, list, tuple) else None


def _order_optional(arguments: tuple[Any, ...], above: frozenset[Any]) -> _Order | None:
    members = [argument for argument in arguments if argument is not type(None)]
    inner = [_order_of(member, above) for member in members]
    if all(order is None for order in inner):
        return None
    if len(members) > 1:
        return _order_anything
    only = inner[0]
    return lambda value: None if value is None or only is None else only(value)


def _order_items(origin: Any, arguments: tuple[Any, ...], above: frozenset[Any]) -> _Order | None:
    members = [argument for argument in arguments if argument is not Ellipsis]
    orders = [_order_of(member, above) for member in members]
    if all(order is None for order in orders):
        return None
    if len(orders) > 1:
        return _order_anything
    only = orders[0] or _same
    return lambda value: origin([only(item) for item in value])


def _order_fields(kind: Any, above: frozenset[Any]) -> _Order | None:
    hints = get_type_hints(kind)
    orders = {name: order for name in hints if (order := _order_of(hints[name], above)) is not None}
    if not orders:
        return None
    with_fields = _replace_of(kind)
    return lambda value: with_fields(value, **{name: order(getattr(value, name)) for name, order in orders.items()})


def _has_fields(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) or hasattr(kind, "_fields") or hasattr(kind, "__struct_fields__")


def _replace_of(kind: Any) -> Callable[..., Any]:
    """How to get a value of the type with other values in some of its fields."""
    if hasattr(kind, "__struct_fields__"):
        return msgspec.structs.replace
    return dataclasses.replace if dataclasses.is_dataclass(kind) else kind._replace


def _order_dict_of(order: _Order, inner: _Order) -> _Order:
    return lambda value: {key: inner(item) for key, item in order(value).items()}


def _compares(key: Any) -> bool:
    """Whether any two keys of the type compare, so that sorting them needs no look at their bytes."""
    if hasattr(key, "_fields"):
        return all(_compares(hint) for hint in get_type_hints(key).values())
    if get_origin(key) is tuple:
        return Ellipsis not in get_args(key) and all(_compares(argument) for argument in get_args(key))
    return key in (str, int)


def _order_by_key(value: dict[Any, Any]) -> dict[Any, Any]:
    return dict(sorted(value.items()))


def _order_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    if len(value) < 2:
        return value
    pack = _PACK.encode
    return dict(sorted(value.items(), key=lambda item: pack(item[0])))


def _order_set(value: Any) -> list[Any]:
    return sorted(value, key=_PACK.encode)


def _order_anything(value: Any) -> Any:
    """The value in order where its type does not say what it holds."""
    if isinstance(value, dict):
        return {key: _order_anything(item) for key, item in _order_dict(value).items()}
    if isinstance(value, set | frozenset):
        return _order_set(value)
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [_order_anything(item) for item in value]
    if _has_fields(value):
        return _ordered(_any(type(value)))(value)
    return value
