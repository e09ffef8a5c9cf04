"""The expressions that the kernel's nf_tables runs, as bytes (linux/netfilter/nf_tables.h).

A rule is a list of them: loads put a field of the packet into registers, tests end the rule where they fail.
"""

from __future__ import annotations

from enum import IntEnum

from netpersona.adapters.enforcers.nftables import attributes as a

LIST_ELEMENT = 1
REGISTERS = 8  # the first register of four bytes, NFT_REG32_00
MANY_VALUES = 0xFFFFFF00  # the data type of a verdict


class Base(IntEnum):
    """Where in the packet a payload is read."""

    LINK = 0
    NETWORK = 1
    TRANSPORT = 2


class Test(IntEnum):
    """How a register is compared."""

    EQUAL = 0
    UNEQUAL = 1


VERDICTS = {"drop": 0, "accept": 1, "jump": -3, "goto": -4, "return": -5}


def expression(name: str, *data: bytes) -> bytes:
    """One expression of a rule."""
    return a.nest(LIST_ELEMENT, bare(name, *data))


def bare(name: str, *data: bytes) -> bytes:
    """An expression that is in no list."""
    return a.text(1, name) + a.nest(2, *data)


def value(data: bytes) -> bytes:
    """Data as an attribute's content."""
    return a.attribute(1, data)


def meta(key: int, register: int) -> bytes:
    """Something about the packet that is not in it."""
    return expression("meta", a.u32(2, key), a.u32(1, register))


def payload(base: Base, offset: int, length: int, register: int) -> bytes:
    """Bytes of the packet."""
    return expression("payload", a.u32(1, register), a.u32(2, base), a.u32(3, offset), a.u32(4, length))


def extension(kind: int, offset: int, length: int, register: int) -> bytes:
    """Bytes of an IPv6 extension header."""
    return expression("exthdr", a.u32(1, register), a.u8(2, kind), a.u32(3, offset), a.u32(4, length), a.u32(6, 0))


def tracked(key: int, register: int, direction: int | None = None) -> bytes:
    """What connection tracking knows of the packet's flow."""
    more = () if direction is None else (a.u8(3, direction),)
    return expression("ct", a.u32(2, key), a.u32(1, register), *more)


def compare(data: bytes, register: int, test: Test = Test.EQUAL) -> bytes:
    """End the rule unless the register equals (or differs from) the data."""
    return expression("cmp", a.u32(1, register), a.u32(2, test), a.nest(3, value(data)))


def between(low: bytes, high: bytes, register: int, test: Test = Test.EQUAL) -> bytes:
    """End the rule unless the register is in (or outside) the range, both ends included."""
    return expression("range", a.u32(1, register), a.u32(2, test), a.nest(3, value(low)), a.nest(4, value(high)))


def masked(mask: bytes, register: int) -> bytes:
    """Keep only some bits of the register."""
    nothing = a.nest(5, value(bytes(len(mask))))
    return expression(
        "bitwise", a.u32(1, register), a.u32(2, register), a.u32(3, len(mask)), a.nest(4, value(mask)), nothing
    )


def member(name: str, register: int, *, negated: bool = False) -> bytes:
    """End the rule unless the register is (or is not) in the set."""
    return expression("lookup", a.text(1, name), a.u32(2, register), *([a.u32(5, 1)] if negated else []))


def dispatch(name: str, register: int) -> bytes:
    """Take the verdict that the map gives for the register."""
    return expression("lookup", a.text(1, name), a.u32(2, register), a.u32(3, 0))


def remember(name: str, register: int, milliseconds: int | None = None, doing: bytes = b"") -> bytes:
    """Put the register into the set, or find it there; for so long; `doing` what the member then does itself."""
    lasting = b"" if milliseconds is None else a.u64(6, milliseconds)
    what = b"" if not doing else a.attribute(7 | a.NESTED, doing)
    return expression("dynset", a.text(1, name), a.u32(4, register), a.u32(3, 1), lasting, what)


def verdict(word: str, chain: str | None = None) -> bytes:
    """End the rule with this verdict."""
    return expression("immediate", a.u32(1, 0), a.nest(2, verdict_data(word, chain)))


def verdict_data(word: str, chain: str | None = None) -> bytes:
    """A verdict, as data of an immediate or of a map's element."""
    where = () if chain is None else (a.text(2, chain),)
    return a.nest(2, a.u32(1, VERDICTS[word]), *where)


def counter(packets: int = 0, octets: int = 0) -> bytes:
    """Count what comes here."""
    return expression("counter", a.u64(1, octets), a.u64(2, packets))


def limit(rate: int, burst: int, *, octets: bool, over: bool) -> tuple[bytes, ...]:
    """A token bucket for each second, as data of an expression."""
    return a.u64(1, rate), a.u64(2, 1), a.u32(3, burst), a.u32(4, int(octets)), a.u32(5, int(over))


def log(group: int, prefix: str, length: int) -> bytes:
    """Tell the listeners of this NFLOG group."""
    return expression("log", a.text(2, prefix), a.u16(1, group), a.u32(3, length))


def reset() -> bytes:
    """Answer with a TCP reset."""
    return expression("reject", a.u32(1, 1), a.u8(2, 0))


def prohibited() -> bytes:
    """Answer with an ICMP error: administratively prohibited."""
    return expression("reject", a.u32(1, 2), a.u8(2, 3))


def immediate(data: bytes, register: int) -> bytes:
    """Put data into a register."""
    return expression("immediate", a.u32(1, register), a.nest(2, value(data)))


def translate(family: int, address: int, port: int | None) -> bytes:
    """Send the flow to the address (and port) in these registers instead."""
    ports = () if port is None else (a.u32(5, port), a.u32(6, port))
    flags = 1 if port is None else 3
    return expression(
        "nat", a.u32(1, 1), a.u32(2, family), a.u32(3, address), a.u32(4, address), *ports, a.u32(7, flags)
    )
