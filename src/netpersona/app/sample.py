"""A sample day of four machines, generated: nothing in it was recorded, and the same seed gives the same day.

    web-1    answers the world on 443, asks the database, fetches updates
    db-1     answers web-1, copies its backup to the store at night
    desk-1   a person's working day: names asked for, sites read, mail
    desk-2   the same, until 14:00: then it calls a listed peer every minute, looks around, and sends much away

Addresses outside are documentation ranges (RFC 5737), names end in .example (RFC 2606).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netpersona.app.sample_policies import BLOCK_LOW_REPUTATION, isolate_controlled
from netpersona.flow.window import HOUR, MINUTE, SECOND

START = 1_767_571_200 * SECOND  # 2026-01-05 00:00 UTC, a Monday
WEB, DATABASE, DESK, VICTIM = "10.77.0.11", "10.77.0.12", "10.77.0.21", "10.77.0.22"
RESOLVER = "10.77.0.1"
UPDATES, MAIL = "192.0.2.80", "192.0.2.25"
BACKUP = "10.77.0.90"  # a store in the same network, not one of the VMs watched
CONTROL, DROP = "203.0.113.66", "203.0.113.67"  # the intruder's; the first is on the feed
_CONN = (
    "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes "
    "conn_state orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes"
)
_DNS = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto query qtype_name rcode_name answers"
_SSL = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p server_name"
_TYPES = {
    "ts": "time",
    "duration": "interval",
    "answers": "vector[string]",
    **{f"id.{end}_h": "addr" for end in ("orig", "resp")},
    **{f"id.{end}_p": "port" for end in ("orig", "resp")},
}


@dataclass(frozen=True, slots=True)
class Sample:
    """Where the generated files lie."""

    logs: Path
    inventory: Path
    feed: Path
    policy: Path


@dataclass(frozen=True, slots=True)
class _Flow:
    at: int  # µs since START
    originator: str
    responder: str
    port: int
    sent: int = 400  # payload bytes
    received: int = 2_000
    lasts: int = SECOND
    transport: str = "tcp"
    service: str = "-"
    state: str = "SF"
    name: str | None = None  # DNS question, or TLS server name
    answer: str | None = None


def write_sample(folder: Path, seed: int = 7) -> Sample:
    """Write the sample into `folder`, which is made: Zeek logs, an inventory, a feed and a policy."""
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    flows = sorted(_day(np.random.default_rng(seed)), key=lambda f: (f.at, f.originator, f.responder, f.port))
    _write_log(logs / "conn.log", "conn", _CONN, [_conn(i, f) for i, f in enumerate(flows)])
    _write_log(logs / "dns.log", "dns", _DNS, [_dns(i, f) for i, f in enumerate(flows) if f.service == "dns"])
    _write_log(
        logs / "ssl.log", "ssl", _SSL, [_ssl(i, f) for i, f in enumerate(flows) if f.service == "ssl" and f.name]
    )
    sample = Sample(logs, folder / "vms.yaml", folder / "command-and-control.txt", folder / "policy.yaml")
    sample.inventory.write_text(_INVENTORY)
    sample.feed.write_text(_FEED)
    sample.policy.write_text(_POLICY)
    return sample


def _day(rng: np.random.Generator) -> Iterator[_Flow]:
    yield from _web(rng)
    yield from _database(rng)
    yield from _person(rng, DESK, 8, 18)
    yield from _person(rng, VICTIM, 8, 18)
    yield from _intrusion(rng)


def _web(rng: np.random.Generator) -> Iterator[_Flow]:
    clients = [f"198.51.100.{i}" for i in range(2, 200)]
    for at in _times(rng, 0, 24, 6_000):
        size = int(rng.lognormal(9.5, 0.8))
        yield _Flow(at, clients[int(rng.integers(len(clients)))], WEB, 443, 700, size, 2 * SECOND, service="ssl")
    for at in _times(rng, 0, 24, 3_000):
        yield _Flow(at, WEB, DATABASE, 5432, 600, int(rng.lognormal(8, 0.6)), SECOND // 5)
    for at in range(0, 24 * HOUR, 6 * HOUR):
        yield from _visit(rng, WEB, "updates.example", UPDATES, at + 7 * MINUTE, 3_000_000)


def _database(rng: np.random.Generator) -> Iterator[_Flow]:
    yield from _visit(rng, DATABASE, "backup.example", BACKUP, 2 * HOUR, 40_000, sent=80_000_000)
    yield from _visit(rng, DATABASE, "updates.example", UPDATES, 5 * HOUR, 2_000_000)


def _person(rng: np.random.Generator, desk: str, begin: int, end: int) -> Iterator[_Flow]:
    sites = [(f"site-{i}.example", f"192.0.2.{100 + i}") for i in range(40)]
    habits = rng.dirichlet(np.full(len(sites), 0.4))
    for at in _times(rng, begin, end, 260):
        name, address = sites[int(rng.choice(len(sites), p=habits))]
        for _ in range(int(rng.integers(1, 5))):
            yield from _visit(
                rng, desk, name, address, at + int(rng.integers(0, 9 * SECOND)), int(rng.lognormal(10, 1))
            )
    for at in _times(rng, begin, end, 60):
        yield from _visit(rng, desk, "mail.example", MAIL, at, 20_000)


def _intrusion(rng: np.random.Generator) -> Iterator[_Flow]:
    begin = 14 * HOUR
    for minute in range(150):  # a call a minute, a few seconds early or late
        at = begin + minute * MINUTE + int(rng.normal(0, 1.5 * SECOND))
        yield _Flow(at, VICTIM, CONTROL, 8443, 310, 180, SECOND // 2)
    for i, port in enumerate([22, 80, 135, 139, 443, 445, 1433, 3306, 3389, 5432, 5900, 5985, 6379, 8080, 8443, 9200]):
        for j, target in enumerate((WEB, DATABASE, DESK)):
            at = begin + 40 * MINUTE + (i * 3 + j) * SECOND
            known = (target, port) in {(WEB, 443), (DATABASE, 5432)}
            yield _Flow(at, VICTIM, target, port, 0, 0, SECOND // 50, state="SF" if known else "REJ")
    for part in range(6):
        at = begin + 90 * MINUTE + part * 4 * MINUTE
        yield _Flow(at, VICTIM, DROP, 443, 90_000_000, 60_000, 3 * MINUTE)


def _visit(
    rng: np.random.Generator, vm: str, name: str, address: str, at: int, received: int, sent: int = 1_200
) -> Iterator[_Flow]:
    """A name asked for, and then the site."""
    yield _Flow(at, vm, RESOLVER, 53, 40, 56, 20_000, "udp", "dns", name=name, answer=address)
    later = at + 30_000 + int(rng.integers(0, 200_000))
    yield _Flow(later, vm, address, 443, sent, received, 3 * SECOND, service="ssl", name=name)


def _times(rng: np.random.Generator, begin: int, end: int, count: int) -> list[int]:
    return sorted(int(at) for at in rng.uniform(begin * HOUR, end * HOUR, count))


def _ends(number: int, flow: _Flow) -> list[str]:
    """The columns that all three logs begin with; the client's port counts up."""
    at = f"{(START + flow.at) / SECOND:.6f}"
    return [at, f"C{number:07d}", flow.originator, str(20_000 + number % 40_000), flow.responder, str(flow.port)]


def _conn(number: int, flow: _Flow) -> list[str]:
    packets = [1 + size // 1_400 for size in (flow.sent, flow.received)]
    answered = flow.state != "S0"
    counts = [
        packets[0],
        flow.sent + 40 * packets[0],
        packets[1] * answered,
        (flow.received + 40 * packets[1]) * answered,
    ]
    said = [flow.transport, flow.service, f"{flow.lasts / SECOND:.6f}", flow.sent, flow.received, flow.state]
    return [*_ends(number, flow), *map(str, said), *map(str, counts)]


def _dns(number: int, flow: _Flow) -> list[str]:
    return [*_ends(number, flow), "udp", flow.name or "-", "A", "NOERROR", flow.answer or "-"]


def _ssl(number: int, flow: _Flow) -> list[str]:
    return [*_ends(number, flow), flow.name or "-"]


def _write_log(path: Path, kind: str, fields: str, rows: list[list[str]]) -> None:
    names = fields.split()
    head = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", f"#path\t{kind}"]
    head += ["\t".join(["#fields", *names]), "\t".join(["#types", *(_TYPES.get(name, "string") for name in names)])]
    path.write_text("\n".join([*head, *("\t".join(row) for row in rows)]) + "\n")


_INVENTORY = "vms:\n" + "".join(
    f"""\
  - name: {name}
    interface: tap-{name}
    mac: "52:54:00:00:00:0{number}"
    addresses: [{address}/24]
    gateways: [{RESOLVER}]
    resolvers: [{RESOLVER}]
    labels: {{role: {role}}}
"""
    for number, (name, address, role) in enumerate(
        [
            ("web-1", WEB, "web"),
            ("db-1", DATABASE, "database"),
            ("desk-1", DESK, "desktop"),
            ("desk-2", VICTIM, "desktop"),
        ]
    )
)
_FEED = f"""\
# command-and-control servers, generated with the sample
{CONTROL}
203.0.113.128/28
"""
_POLICY = f"{BLOCK_LOW_REPUTATION}---\n{isolate_controlled('1h', 'an hour')}"
