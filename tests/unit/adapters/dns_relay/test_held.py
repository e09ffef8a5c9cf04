"""A frame goes to the VM when what it tells is held, in its turn, or when patience ends."""

import struct
from concurrent.futures import Future

from netpersona.adapters.dns_relay.held import MOST_PARKED, MOST_QUESTIONS, PATIENCE, Answered, Held
from netpersona.flow.vm import vm_id

CLIENT, RESOLVER = b"\x0a\x4d\1\2", b"\xc0\0\2\x35"
LINK = bytes(12) + b"\x08\x00"
NAME = b"\3bad\7example\0"


def frame(*, question: bool, ident: int, name: bytes = NAME, port: int = 4000, records: int = 1) -> bytes:
    count = 0 if question else records
    dns = (
        struct.pack(">HHHHHH", ident, 0x0100 if question else 0x8180, 1, count, 0, 0) + name + struct.pack(">HH", 1, 1)
    )
    dns += (b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + bytes([198, 18, ident >> 8, ident & 255])) * count
    ends, ports = ((CLIENT, RESOLVER), (port, 53)) if question else ((RESOLVER, CLIENT), (53, port))
    datagram = struct.pack(">HHHH", *ports, 8 + len(dns), 0) + dns
    return LINK + struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0) + b"".join(ends) + datagram


class Kernel:
    """Holds what it is told when it is let."""

    def __init__(self, *, at_once: bool) -> None:
        self.heard: list[Answered] = []
        self.waits: list[Future[None]] = []
        self._at_once = at_once

    def __call__(self, answered: Answered) -> Future[None] | None:
        self.heard.append(answered)
        if self._at_once:
            return None
        self.waits.append(Future())
        return self.waits[-1]


def held(kernel: Kernel) -> Held:
    return Held(vm_id("vm-1"), kernel, began=-100.0)


def test_an_answer_goes_at_once_where_the_kernel_holds_it() -> None:
    kernel = Kernel(at_once=True)
    line = held(kernel)
    line.ask(frame(question=True, ident=7), 1.0)
    line.take(frame(question=False, ident=7), 1.0)
    assert list(line.freed(1.0)) == [frame(question=False, ident=7)]
    (answered,) = kernel.heard
    assert (answered.vm, answered.resolver) == ("vm-1", "192.0.2.53")
    assert [(t.name, t.addresses) for t in answered.told] == [("bad.example", (("198.18.0.7", 5),))]
    assert line.counts.heard == 1


def test_frames_keep_their_order_and_none_waits_longer_than_patience() -> None:
    kernel = Kernel(at_once=False)
    line = held(kernel)
    for ident in (1, 2, 3):
        line.ask(frame(question=True, ident=ident), 1.0)
        line.take(frame(question=False, ident=ident), 1.0)
    kernel.waits[1].set_result(None)
    assert list(line.freed(1.1)) == []
    assert line.due == 1.0 + PATIENCE
    kernel.waits[0].set_result(None)
    assert list(line.freed(1.1)) == [frame(question=False, ident=ident) for ident in (1, 2)]
    assert line.counts.late == 0
    assert list(line.freed(1.0 + PATIENCE)) == [frame(question=False, ident=3)]
    assert line.counts.late == 1
    assert kernel.waits[2].cancelled()
    assert line.due is None


def test_only_what_was_asked_for_is_heard() -> None:
    kernel = Kernel(at_once=True)
    line = held(kernel)
    line.ask(frame(question=True, ident=7), 1.0)
    for spoofed in (
        frame(question=False, ident=8),
        frame(question=False, ident=7, port=4001),
        frame(question=False, ident=7, name=b"\4good\7example\0"),
    ):
        line.take(spoofed, 1.0)
    line.take(frame(question=False, ident=7), 99.0)  # much too late
    assert kernel.heard == []
    assert list(line.freed(99.0)) == []
    assert line.counts.spoofed == 4
    line.take(frame(question=False, ident=7), 2.0)
    line.take(frame(question=False, ident=7, name=NAME.upper()), 2.0)  # the same name, and sent twice
    assert len(kernel.heard) == 2


def test_at_the_beginning_an_answer_may_belong_to_a_question_from_before() -> None:
    kernel = Kernel(at_once=True)
    line = Held(vm_id("vm-1"), kernel, began=0.0)
    line.take(frame(question=False, ident=7), 5.0)
    assert len(list(line.freed(5.0))) == 1
    assert len(kernel.heard) == 1


def test_what_tells_no_address_goes_by_unheard() -> None:
    kernel = Kernel(at_once=True)
    line = held(kernel)
    line.ask(frame(question=True, ident=7), 1.0)
    line.take(frame(question=False, ident=7, records=0), 1.0)
    assert len(list(line.freed(1.0))) == 1
    assert kernel.heard == []


def test_damage_and_what_is_no_dns_are_counted_and_stay_behind() -> None:
    line = held(Kernel(at_once=True))
    line.ask(frame(question=True, ident=7), 1.0)
    damaged = bytearray(frame(question=False, ident=7, records=2))
    damaged[-6] = 99  # the last record's length
    line.take(bytes(damaged), 1.0)
    line.take(bytes(60), 1.0)
    line.ask(bytes(60), 1.0)
    assert list(line.freed(1.0)) == []
    assert (line.counts.damaged, line.counts.strange) == (1, 1)


def test_what_is_kept_is_bounded() -> None:
    line = held(Kernel(at_once=False))
    for port in range(MOST_QUESTIONS + 100):
        line.ask(frame(question=True, ident=port % 65536, port=1000 + port), 1.0)
    assert len(line._questions) == MOST_QUESTIONS
    for port in range(MOST_QUESTIONS):
        line.ask(frame(question=True, ident=1, port=1000 + port), 99.0)
    assert all(at == 99.0 for at, _ in line._questions.values())  # the old ones are gone
    for port in range(MOST_QUESTIONS):
        line.ask(frame(question=True, ident=port % 65536, port=1000 + port), 1.0)
    for port in range(MOST_QUESTIONS - 1, MOST_QUESTIONS - 1 - MOST_PARKED, -1):
        line.take(frame(question=False, ident=port, port=1000 + port), 1.0)
    assert line.full
    assert len(list(line.rest())) == MOST_PARKED
    assert not line.full
