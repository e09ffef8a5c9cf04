"""The kernel's part: table `netdev netpersona_dns`, which hands answers for held taps to a device of ours.

    set alive      the protocols that are held, UDP and TCP; they end BREATH after the last heartbeat
    chain pulse    on our own device: a heartbeat renews its protocol there, in the packet's path and not in a
                   transaction, so that nobody who watches the tables' generation sees it change
    chain hold.TAP at the tap's egress: what we let go ourselves passes; what comes from port 53 goes to the device
                   while we are alive, and passes by itself when we are not

The egress hook is the last thing before the VM: routed and bridged taps, forwarded answers and those of the host's own
resolver all come by, after every firewall and address translation.  A frame handed to a device counts as sent, so a
resolver on the host notices nothing.  Names and numbers are bytes of netlink messages: no text to break out of.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator

from netpersona.adapters.dns_relay.devices import MARK
from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables import expressions as x
from netpersona.adapters.enforcers.nftables import wire

NAME = "netpersona_dns"
FAMILY = 5  # NFPROTO_NETDEV
BREATH = 2_000  # ms without a heartbeat until answers go by themselves

_EGRESS = 1
_PRIORITY = -100
_META_MARK, _META_PROTOCOL = 3, 16
_TIMEOUT, _EVALUATED = 16, 32
_PROTOCOL_TYPE = 12  # nft's number of the type
_ALIVE, _PULSE = "alive", "pulse"
_DNS = struct.pack(">H", 53)


class Table:
    """The table in the network namespace of the thread that made this.  Raises EnforcerError."""

    def __init__(self) -> None:
        self._wire = wire.Wire()

    def install(self, pulse: str) -> None:
        """Make the table anew, with its heartbeat on this device of ours."""
        beat = [
            x.meta(_META_MARK, x.REGISTERS),
            x.compare(_mark(), x.REGISTERS),
            x.meta(_META_PROTOCOL, x.REGISTERS),
            x.remember(_ALIVE, x.REGISTERS, BREATH),
            x.verdict("drop"),
        ]
        self._wire.send(
            [
                _table(wire.NEW_TABLE, wire.CREATE),
                _table(wire.DEL_TABLE),
                _table(wire.NEW_TABLE, wire.CREATE),
                _alive(),
                _chain(_PULSE, pulse),
                _rule(_PULSE, beat),
            ]
        )

    def hold(self, tap: str, device: int) -> None:
        """Hand what comes from port 53 on its way to this tap to the device of this index."""
        chain = _held(tap)
        passes = [x.meta(_META_MARK, x.REGISTERS), x.compare(_mark(), x.REGISTERS), x.verdict("return")]
        self._wire.send([_chain(chain, tap), _rule(chain, passes), _rule(chain, _handed(device))])

    def release(self, tap: str) -> None:
        """Let the tap's answers go by themselves again."""
        chain = _held(tap)
        if chain in self._named(wire.GET_CHAIN, 3):  # a tap that is gone took it along
            emptied = wire.message(wire.DEL_RULE, FAMILY, a.text(1, NAME) + a.text(2, chain))
            self._wire.send([emptied, wire.message(wire.DEL_CHAIN, FAMILY, a.text(1, NAME) + a.text(3, chain))])

    def remove(self) -> None:
        """Remove the table with all that is in it."""
        self._wire.send([_table(wire.NEW_TABLE, wire.CREATE), _table(wire.DEL_TABLE)])

    def missing(self, taps: Iterable[str]) -> set[str]:
        """Which of these taps are held no more, since somebody changed the table; all where the heartbeat is gone."""
        rules = Counter(self._named(wire.GET_RULE, 2))
        wanted = set(taps)
        return {tap for tap in wanted if rules[_held(tap)] != 2} if rules[_PULSE] == 1 else wanted

    def close(self) -> None:
        """Give the socket back."""
        self._wire.close()

    def _named(self, kind: int, name: int) -> list[str]:
        """The chains of the table, or the chain of each of its rules."""
        asked = wire.message(kind, FAMILY, b"", wire.DUMP)
        found = [message.attributes() for message in self._wire.ask_raw(asked)]
        return [a.name(each[name]) for each in found if a.name(each[1]) == NAME]


def uninstall() -> None:
    """Remove the table, whoever left it, in the network namespace of this thread.  Raises EnforcerError."""
    table = Table()
    try:
        table.remove()
    finally:
        table.close()


def _held(tap: str) -> str:
    return f"hold.{tap}"


def _mark() -> bytes:
    return struct.pack("=I", MARK)


def _handed(device: int) -> Iterator[bytes]:
    yield x.payload(x.Base.TRANSPORT, 0, 2, x.REGISTERS)
    yield x.compare(_DNS, x.REGISTERS)
    yield x.meta(_META_PROTOCOL, x.REGISTERS)
    yield x.member(_ALIVE, x.REGISTERS)
    yield x.immediate(struct.pack("=I", device), x.REGISTERS)
    yield x.expression("fwd", a.u32(1, x.REGISTERS))


def _table(kind: int, flags: int = 0) -> bytes:
    return wire.message(kind, FAMILY, a.text(1, NAME), flags)


def _alive() -> bytes:
    about = a.u32(3, _TIMEOUT | _EVALUATED) + a.u32(4, _PROTOCOL_TYPE) + a.u32(5, 1)
    size = a.nest(9, a.u32(1, 4))
    body = a.text(1, NAME) + a.text(2, _ALIVE) + about + size + a.u32(10, 1)
    return wire.message(wire.NEW_SET, FAMILY, body, wire.CREATE | wire.EXCL)


def _chain(name: str, device: str) -> bytes:
    hook = a.nest(4, a.u32(1, _EGRESS), a.u32(2, _PRIORITY), a.text(3, device))
    body = a.text(1, NAME) + a.text(3, name) + hook + a.u32(5, 1) + a.text(7, "filter")
    return wire.message(wire.NEW_CHAIN, FAMILY, body, wire.CREATE | wire.EXCL)


def _rule(chain: str, expressions: list[bytes] | Iterator[bytes]) -> bytes:
    body = a.text(1, NAME) + a.text(2, chain) + a.nest(4, *expressions)
    return wire.message(wire.NEW_RULE, FAMILY, body, wire.CREATE | wire.APPEND)
