"""The codec: schemas before and after this one, damage, and equal values giving equal bytes."""

from __future__ import annotations

import msgspec
import pytest

from netpersona.errors import StoreError
from netpersona.flow.vm import VmId
from netpersona.persona.codec import MIGRATIONS, SCHEMA, Codec, decode, encode
from netpersona.persona.memory import Contact, Memory
from netpersona.persona.model import Kind, Persona, TrafficProfile, Usage
from netpersona.persona.state import VmState

WEB = VmId("web-1")
USAGE = Usage(2.0, 100.0, 50.0, 1, 2)


def kinds(*ports: int) -> TrafficProfile:
    return TrafficProfile(kinds={Kind("outbound", "tcp", port, "203.0.113.7"): USAGE for port in ports})


def older(schema: int, name: str, value: object) -> bytes:
    return msgspec.msgpack.encode((schema, name, value))


def test_a_persona_and_its_memory_come_back():
    memory = Memory(contacts={("tcp", 443, "203.0.113.7"): Contact(1, 1, 2, 3, 4, 5, (6, 7))})
    state = VmState(Persona(WEB, labels={"role": "web"}, profile=kinds(443, 80)), memory)
    assert decode(encode(state), VmState) == state


def test_the_order_of_filling_a_dict_does_not_show():
    one = Persona(
        WEB, labels={"a": "1", "b": "2"}, profile=kinds(1, 2, 3), mitigation_rules=({"x": 1, "y": {"b": 1, "a": 2}},)
    )
    two = Persona(
        WEB, labels={"b": "2", "a": "1"}, profile=kinds(3, 1, 2), mitigation_rules=({"y": {"a": 2, "b": 1}, "x": 1},)
    )
    assert one == two
    assert encode(one) == encode(two)


def test_a_whole_number_where_a_fraction_belongs_is_the_same_value():
    whole = TrafficProfile(kinds={Kind("inbound", "tcp", 80, ""): Usage(2, 100, 50, 1, 2)})
    assert encode(Persona(WEB, profile=whole)) == encode(
        Persona(WEB, profile=TrafficProfile(kinds={Kind("inbound", "tcp", 80, ""): USAGE}))
    )


def test_what_its_types_do_not_allow_is_refused_before_it_is_stored():
    with pytest.raises(StoreError, match="Persona cannot be stored"):
        encode(Persona(WEB, version="four"))  # type: ignore[arg-type]


def test_every_schema_that_is_read_has_its_migration():
    assert set(MIGRATIONS) == set(range(max(1, SCHEMA - 2), SCHEMA))


def codec_of_schema_three() -> Codec:
    """Schema 1 called the labels `tags`; schema 2 called the version `revision`."""

    def tags(name: str, value: dict[str, object]) -> dict[str, object]:
        return {**value, "labels": value["tags"]} if name == "Persona" else value

    def revision(name: str, value: dict[str, object]) -> dict[str, object]:
        return {**value, "version": value["revision"]} if name == "Persona" else value

    return Codec(3, {1: tags, 2: revision})


def test_the_two_schemas_before_are_read():
    codec = codec_of_schema_three()
    first = older(1, "Persona", {"vm": "web-1", "tags": {"role": "web"}, "revision": 4})
    second = older(2, "Persona", {"vm": "web-1", "labels": {"role": "web"}, "revision": 4})
    expected = Persona(WEB, version=4, labels={"role": "web"})
    assert codec.decode(first, Persona) == codec.decode(second, Persona) == expected


def test_a_migrated_value_keeps_keys_that_are_tuples():
    state = Persona(WEB, profile=kinds(443))
    assert Codec(SCHEMA + 1, {SCHEMA: lambda _, value: value}).decode(encode(state), Persona) == state


def test_a_newer_schema_is_refused_and_says_what_to_do():
    with pytest.raises(StoreError, match=r"schema 9, written by a newer netpersona.*upgrade"):
        decode(older(9, "Persona", {}), Persona)


def test_a_schema_older_than_the_two_before_is_refused():
    with pytest.raises(StoreError, match="schemas 2 to 4"):
        Codec(4, {}).decode(older(1, "Persona", {}), Persona)


@pytest.mark.parametrize("damage", [b"", b"\x00", b"not msgpack", encode(Persona(WEB))[:-1]])
def test_damage_is_a_store_error(damage):
    with pytest.raises(StoreError, match="damaged"):
        decode(damage, Persona)


def test_another_type_is_a_store_error():
    with pytest.raises(StoreError, match="a stored Persona stands where a Memory was expected"):
        decode(encode(Persona(WEB)), Memory)
