"""Receipts: what the kernel tells by NFLOG of denied (and logged, and staged) packets, as records.

The kernel samples already: each rule's chain tells 10 packets a second at most.  All rules together are bounded here:
what is beyond the rate is counted, and its records are not made.  The prefix of a message names the rule; the VM is
told by the interface, or else by an address.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables import links, wire
from netpersona.adapters.enforcers.nftables.drift import named
from netpersona.errors import EnforcerError
from netpersona.flow.vm import VmId
from netpersona.flow.window import SECOND
from netpersona.policy.model import Direction
from netpersona.ruleset.endings import LOG_GROUP
from netpersona.ruleset.model import PORTED, ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.nft_text import PROTOCOL_NUMBERS

_SUBSYSTEM, _CONFIG = 4, 1
_BIND, _COPY = 1, 2  # NFULNL_CFG_CMD_BIND; NFULNL_COPY_PACKET
_HEADER, _TIME, _IN, _OUT, _PHYSICAL_IN, _PHYSICAL_OUT, _PAYLOAD, _PREFIX = 1, 3, 4, 5, 6, 7, 9, 10
_STAGED = "stage: "
_NAMES = {number: name for name, number in PROTOCOL_NUMBERS.items()}
_IP4, _IP6 = 0x0800, 0x86DD


@dataclass(frozen=True, slots=True)
class Receipt:
    """One packet that a rule met.  `policy` is empty for what is built in; `rule` then says what it was."""

    at: int  # µs
    vm: VmId | None
    policy: str
    rule: str
    version: int
    staged: bool  # it was only told, not denied
    direction: Direction  # of the packet: outbound is sent by the VM
    source: str
    destination: str
    transport: str
    source_port: int
    destination_port: int


class Receipts:
    """Reads receipts in the network namespace of the thread that makes it.

    `rate`: receipts a second at most, by the kernel's time stamps.  `beyond` counts what came in excess of it, `lost`
    how often the kernel dropped some because they were read too late.
    """

    def __init__(self, ruleset: Ruleset, rate: int = 200) -> None:
        self._socket = _listening(LOG_GROUP)
        self._rate = rate
        self._second, self._in_second = 0, 0
        self.beyond = self.lost = 0
        self.concern(ruleset)

    def concern(self, ruleset: Ruleset) -> None:
        """From now on packets are told by this ruleset's VMs, and interfaces as they are now."""
        self._vms = ruleset.vms
        self._by_interface = {rules.interface: vm for vm, rules in ruleset.vms.items() if rules.interface is not None}
        self._by_address = {host: vm for vm, rules in ruleset.vms.items() for host in rules.addresses}
        self._links = links.names()

    def fileno(self) -> int:
        """For a selector: readable when receipts wait."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def waiting(self, now: int) -> list[Receipt]:
        """The receipts that wait; `now` (µs) is the time of packets that carry none."""
        found: list[Receipt] = []
        while True:
            try:
                data = self._socket.recv(1 << 18, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise EnforcerError(f"receipts cannot be read: {error.strerror}") from error
                self.lost += 1
                continue
            found += [made for body in _packets(data) if (made := self._receipt(a.read(body), now)) is not None]

    def _receipt(self, told: dict[int, bytes], now: int) -> Receipt | None:
        at = now
        if _TIME in told:
            seconds, micros = struct.unpack(">QQ", told[_TIME])
            at = seconds * SECOND + micros
        if not self._within_rate(at):
            return None
        prefix = a.name(told.get(_PREFIX, b""))
        policy, rule, version = named(prefix.removeprefix(_STAGED)) or ("", prefix.removeprefix(_STAGED), 0)
        ends = _ends(told)
        if ends is None:
            return None
        vm, direction = self._whose(told, ends, (policy, rule))
        return Receipt(at, vm, policy, rule, version, prefix.startswith(_STAGED), direction, *ends)

    def _within_rate(self, at: int) -> bool:
        if at // SECOND != self._second:
            self._second, self._in_second = at // SECOND, 0
        self._in_second += 1
        self.beyond += self._in_second > self._rate
        return self._in_second <= self._rate

    def _whose(
        self, told: dict[int, bytes], ends: tuple[str, str, str, int, int], rule: tuple[str, str]
    ) -> tuple[VmId | None, Direction]:
        """The VM whose rule it is: of two VMs the one that has such a rule, first the sender."""
        sent, received = (self._vm(told, kinds, host) for kinds, host in (
            ((_PHYSICAL_IN, _IN), ends[0]), ((_PHYSICAL_OUT, _OUT), ends[1])))  # fmt: skip
        if received is not None and (sent is None or not _has(self._vms[sent], rule)):
            return received, Direction.INBOUND
        return sent, Direction.OUTBOUND

    def _vm(self, told: dict[int, bytes], kinds: tuple[int, int], host: str) -> VmId | None:
        for kind in kinds:
            if kind in told:
                found = self._by_interface.get(self._links.get(a.number(told[kind]), ""))
                if found is not None:
                    return found
        return self._by_address.get(host)


def _listening(group: int) -> socket.socket:
    """A socket to which the kernel tells this group's packets."""
    try:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, wire.NETFILTER)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind((0, 0))
        bind, copy = a.attribute(1, bytes([_BIND])), a.attribute(2, struct.pack(">IBx", 128, _COPY))
        code = next((code for body in (bind, copy) if (code := _configured(made, group, body))), 0)
    except OSError as error:
        raise EnforcerError(f"receipts cannot be read: {error.strerror}") from error
    if code:
        made.close()
        raise EnforcerError(f"NFLOG group {group} is not given: {os.strerror(code)}; does another program listen?")
    return made


def _configured(to: socket.socket, group: int, body: bytes) -> int:
    """The kernel's error number, 0 for none."""
    asked = bytearray(wire.message(_CONFIG, 0, body, wire.ACK, _SUBSYSTEM))
    asked[18:20] = struct.pack(">H", group)
    to.send(asked)
    return -int(struct.unpack_from("=i", to.recv(4096), 16)[0])


def _packets(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 20 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if length < 20:
            return
        if kind == _SUBSYSTEM << 8:
            yield data[at + 20 : at + length]
        at += (length + 3) & ~3


def _ends(told: dict[int, bytes]) -> tuple[str, str, str, int, int] | None:
    """Source, destination, transport and ports of the packet; None where it is none of IP."""
    packet = told.get(_PAYLOAD, b"")
    protocol = struct.unpack_from(">H", told.get(_HEADER, b"\0\0\0\0"))[0]
    if not packet or (protocol not in {_IP4, _IP6, 0}):
        return None
    if packet[0] >> 4 == 4 and len(packet) >= 20:
        start, number, hosts = (packet[0] & 15) * 4, packet[9], (packet[12:16], packet[16:20])
        first = not struct.unpack_from(">H", packet, 6)[0] & 0x1FFF
    elif packet[0] >> 4 == 6 and len(packet) >= 40:
        start, number, hosts, first = 40, packet[6], (packet[8:24], packet[24:40]), True
    else:
        return None
    transport = _NAMES.get(number, str(number))
    ports = (
        struct.unpack_from(">HH", packet, start)
        if transport in PORTED and first and len(packet) >= start + 4
        else (0, 0)
    )
    return str(ip_address(hosts[0])), str(ip_address(hosts[1])), transport, *ports


def _has(rules: VmRules, named_: tuple[str, str]) -> bool:
    return any(_is(rule, named_) for rule in rules.outbound) or not any(_is(rule, named_) for rule in rules.inbound)


def _is(rule: ResolvedRule, named_: tuple[str, str]) -> bool:
    return (rule.policy, rule.rule) == named_
