"""TCP connections and ICMP echoes for the cases of test_same_verdict.py, beside its datagrams.

Each kind offers `clients`, `open`, `ask`, `answer` and `close`, as `Flows` does.
"""

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable

from kernel.private_net import inside, socket_in
from kernel.test_same_verdict import CASES, FAR, NEVER_USED, OUTSIDE, OWN, PORTS, VM
from netpersona.policy.model import Direction

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def version(address: str) -> int:
    return 6 if ":" in address else 4


class TcpFlows:
    """A connection for each case.  A new one arrives when it is accepted, an established one when its data is read."""

    transport = "tcp"
    cases = CASES

    def __init__(self) -> None:
        self._listening = [
            _listening(space, host, port)
            for port in PORTS
            for space, hosts in ((OUTSIDE, FAR), (VM, OWN.values()))
            for host in hosts
        ]
        self._accepted: dict[tuple[str, int], socket.socket] = {}

    def clients(self) -> dict:
        return {case: _client(case) for case in CASES}

    def close(self) -> None:
        for each in (*self._listening, *self._accepted.values()):
            each.close()

    def open(self, clients: dict) -> None:
        for way in (self.ask, self.answer):
            missing = clients.keys() - way(clients, "open", set(clients))
            assert not missing, f"no way through the namespaces: {sorted(missing)[:3]}"

    def ask(self, clients: dict, stage: str, expected: set) -> set:
        new = {case: client for case, client in clients.items() if not self._of(client)}
        if new:
            for (direction, peer, port), client in new.items():
                client.connect_ex((peer if direction is Direction.OUTBOUND else OWN[version(peer)], port))
            return _until(expected, lambda: self._accept(new))
        return self._carried(clients, expected, lambda client: client, self._of)

    def answer(self, clients: dict, stage: str, expected: set) -> set:
        return self._carried(clients, expected, self._of, lambda client: client)

    def _of(self, client: socket.socket) -> socket.socket | None:
        return self._accepted.get(client.getsockname()[:2])

    def _accept(self, clients: dict) -> set:
        for ready in select.select(self._listening, [], [], 0.2)[0]:
            try:
                while True:
                    made, source = ready.accept()
                    made.settimeout(0)
                    self._accepted[source[:2]] = made
            except BlockingIOError:
                continue
        return {case for case, client in clients.items() if self._of(client)}

    def _carried(self, clients: dict, expected: set, sends: Callable, reads: Callable) -> set:
        for client in clients.values():
            try:
                sends(client).send(b"x")
            except OSError:
                continue
        readers = {reads(client): case for case, client in clients.items()}
        found: set = set()

        def arrived() -> set:
            for ready in select.select(list(readers), [], [], 0.2)[0]:
                try:
                    if ready.recv(100):
                        found.add(readers[ready])
                except OSError:
                    readers.pop(ready)
            return found

        return _until(expected, arrived)


class EchoFlows:
    """An echo for each peer and direction, told by its identifier.  It arrives when its reply does."""

    transport = "icmp"
    cases = tuple(case for case in CASES if case[2] == PORTS[0])

    def __init__(self) -> None:
        self._sequence = 0

    def clients(self) -> dict:
        return {case: (_raw(case), next(NEVER_USED)) for case in self.cases}

    def close(self) -> None:
        pass

    def open(self, clients: dict) -> None:
        missing = clients.keys() - self.ask(clients, "open", set(clients))
        assert not missing, f"no way through the namespaces: {sorted(missing)[:3]}"

    def ask(self, clients: dict, stage: str, expected: set) -> set:
        self._sequence += 1
        found: set = set()

        def arrived() -> set:
            for case in expected - found if found else clients:
                client, number = clients[case]
                _echo(client, case, number, self._sequence)
            readers = {client: case for case, (client, _) in clients.items()}
            while ready := select.select(list(readers), [], [], 0.15)[0]:
                for each in ready:
                    case = readers[each]
                    if _is_reply(each.recv(200), case, clients[case][1]):
                        found.add(case)
            return found

        return _until(expected, arrived)

    def answer(self, clients: dict, stage: str, expected: set) -> set:
        return self.ask(clients, stage, expected)


def _until(expected: set, arrived: Callable[[], set]) -> set:
    """What arrives: what should is waited for, what should not gets one look."""
    deadline = time.monotonic() + 60
    found = arrived()
    while expected - found and time.monotonic() < deadline:
        found = arrived()
    return set(found)


def _listening(space: str, host: str, port: int) -> socket.socket:
    made = socket_in(space, FAMILY[version(host)], socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    made.listen(200)
    made.settimeout(0)
    return made


def _client(case: tuple) -> socket.socket:
    direction, peer, _ = case
    space, host = (VM, OWN[version(peer)]) if direction is Direction.OUTBOUND else (OUTSIDE, peer)
    made = socket_in(space, FAMILY[version(peer)], socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.settimeout(0)
    made.bind((host, next(NEVER_USED)))
    return made


def _raw(case: tuple) -> socket.socket:
    direction, peer, _ = case
    space, host = (VM, OWN[version(peer)]) if direction is Direction.OUTBOUND else (OUTSIDE, peer)
    with inside(space):
        here = socket.socket(FAMILY[version(peer)], socket.SOCK_RAW, 1 if version(peer) == 4 else 58)
    here.settimeout(0)
    here.bind((host, 0))
    return here


def _echo(client: socket.socket, case: tuple, number: int, sequence: int) -> None:
    direction, peer, _ = case
    to = peer if direction is Direction.OUTBOUND else OWN[version(peer)]
    kind = 8 if version(peer) == 4 else 128
    head = struct.pack(">BBHHH", kind, 0, 0, number, sequence)
    if kind == 8:
        head = struct.pack(">BBHHH", kind, 0, _checksum(head), number, sequence)
    try:
        client.sendto(head, (to, 0))
    except OSError:
        return


def _is_reply(data: bytes, case: tuple, number: int) -> bool:
    at, kind = ((data[0] & 15) * 4, 0) if version(case[1]) == 4 else (0, 129)
    return data[at] == kind and struct.unpack_from(">H", data, at + 4)[0] == number


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    return ~((total >> 16) + (total & 0xFFFF)) & 0xFFFF


def sockets(clients: Iterable) -> list[socket.socket]:
    return [each if isinstance(each, socket.socket) else each[0] for each in clients]
