"""What an attack is asked to do, and what came of it."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from netpersona.app.lab.attacks.catalogue import Attack

PATIENCE = 3.0  # seconds for one answer


@dataclass(frozen=True, slots=True)
class Order:
    """How often, how fast, over which families; `vm` is where the attack is made."""

    vm: str
    count: int
    every: float  # seconds
    families: tuple[int, ...]  # 4, 6
    ssh: str | None = None  # the client, where the VMs have an sshd

    def turns(self) -> Iterator[tuple[int, int]]:
        """(number, family) of each turn, at its time: the families take turns within the count."""
        begin = time.monotonic()
        for number in range(self.count):
            time.sleep(max(0.0, begin + number * self.every - time.monotonic()))
            yield number, self.families[number % len(self.families)]


def ordered(
    attack: Attack, vm: str, count: int | None, every: float | None, family: str, ssh: str | None = None
) -> Order:
    """What is asked for, within the attack's bounds; what is not said, as the attack has it.  Family: 4, 6, both."""
    return Order(
        vm=vm,
        count=min(attack.count if count is None else count, attack.most),
        every=attack.every if every is None else every,
        families={"4": (4,), "6": (6,)}.get(family, (4, 6)),
        ssh=ssh,
    )


@dataclass(slots=True)
class Tally:
    """What was tried and what came of it, as it goes on."""

    tried: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def answer(self) -> None:
        """One more was tried, and answered."""
        self.tried += 1
        self.answered += 1

    def failure(self, why: OSError | str) -> None:
        """One more was tried, in vain."""
        self.tried += 1
        self.failed[reason(why)] += 1

    def told(self, attack: str, vm: str, what: str) -> dict[str, object]:
        """What came of it, for JSON."""
        counts = {"tried": self.tried, "answered": self.answered, "failed": dict(self.failed)}
        return {"attack": attack, "vm": vm, "what": what, **counts}


def reason(why: OSError | str) -> str:
    """A failure in a few words that can be counted."""
    if isinstance(why, TimeoutError):
        return "no answer"
    if isinstance(why, ConnectionResetError):
        return "cut off"
    return why if isinstance(why, str) else (why.strerror or str(why) or "it failed").lower()


def connected(address: str, port: int, patience: float = PATIENCE) -> socket.socket:
    """A TCP connection.  Raises OSError."""
    return socket.create_connection((address, port), patience)
