"""Hours of one VM's traffic, made up: what ordinary programs do that looks odd, and what attacks look like among it."""

from __future__ import annotations

import random

import polars as pl

from netpersona import pipeline
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA, batch
from netpersona.flow.vm import Vm, VmId
from netpersona.flow.window import HOUR, MINUTE, SECOND, WINDOW
from netpersona.intel.indicators import IndicatorSet
from netpersona.observation.observe import observe
from netpersona.policy.model import PolicySet

BEGIN = 1_760_000_400_000_000 // HOUR * HOUR  # µs
VM, OWN, FAR = VmId("desk-1"), "10.0.0.11", "93.184.216.34"
FLEET = pipeline.Fleet({VM: Vm(VM, (OWN,))})
GROUND = pipeline.Ground(IndicatorSet.merge([]), PolicySet())
HOURS = 4


def flow(at, peer, port, *, out=1_500, back=4_000, lasts=SECOND // 2, transport="tcp", answered=True, **more):
    """One flow that the VM opens `at` µs after BEGIN."""
    spoken = {"state": "SF" if answered else "S0", "bytes_resp": back if answered else 0}
    packets = {"packets_orig": 1 + out // 1_000, "packets_resp": (1 + back // 1_000) if answered else 0}
    base = {"start": BEGIN + int(at), "duration": lasts, "transport": transport, "originator": OWN, "responder": peer}
    return {**base, "originator_port": 50_000, "responder_port": port, "bytes_orig": out, **spoken, **packets, **more}


def inbound(at, peer, port, **more):
    """One flow that a peer opens."""
    return {**flow(at, peer, port, **more), "originator": peer, "responder": OWN}


def asked(at, name, status="NOERROR"):
    """One question to the resolver."""
    ends = {"transport": "udp", "originator": OWN, "responder": "10.0.0.2", "responder_port": 53}
    return {"start": BEGIN + int(at), **ends, "kind": "dns", "name": name, "status": status}


def every(period, hours=HOURS, jitter=0.0, seed=1):
    """Instants about `period` µs apart."""
    chance, at = random.Random(seed), period / 3
    while at < hours * HOUR:
        yield at
        at += period * (1 + jitter * chance.uniform(-1, 1))


def alerts(rows):
    """The alerts that this traffic gives, as (kind, peer) pairs, each window judged and learned in turn."""
    flows = [row for row in rows if "kind" not in row]
    said = [row for row in rows if "kind" in row]
    told = batch(_table(flows, FLOW_SCHEMA), _table(said, TRANSACTION_SCHEMA))
    seen = pipeline.as_seen(told.flows, told.transactions, FLEET, GROUND)
    state, found = pipeline.begun(FLEET.vms[VM]), set()
    for observation in observe(*seen, GROUND.intel, WINDOW):
        step = pipeline.step(state, observation, FLEET.addresses, GROUND)
        state = step.state
        found |= {(f.kind, f.peer) for f in step.findings if f.alert}
    return found


def _table(rows, schema):
    known = {name: dtype for name, dtype in schema.items() if any(name in row for row in rows)}
    return pl.DataFrame(rows, schema_overrides=known) if rows else None


# Ordinary, though odd.


def time_and_discovery():
    """NTP, mDNS, SSDP, LLMNR, NetBIOS, DHCP: asked for ever, and mostly of nobody in particular."""
    rows = [
        flow(at, f"162.159.200.{i}", 123, out=76, back=76, transport="udp")
        for i in range(4)
        for at in every(64 * SECOND)
    ]
    everybody = (("224.0.0.251", 5353), ("239.255.255.250", 1900), ("224.0.0.252", 5355), ("10.0.0.255", 137))
    for peer, port in everybody:
        rows += [flow(at, peer, port, out=300, transport="udp", answered=False) for at in every(30 * SECOND)]
    return rows


def updates():
    """A package manager that fetches many files from a mirror, and looks for news every hour."""
    rows = [flow(30 * MINUTE + i * SECOND, FAR, 80, out=700, back=400_000, application="http") for i in range(80)]
    return rows + [flow(at, FAR, 443, back=9_000, application="ssl") for at in every(HOUR)]


def polling():
    """A web page and two programs that ask a content network for news, each at its own pace."""
    rows = []
    for i, period in enumerate((2 * MINUTE, 5 * MINUTE, 10 * MINUTE)):
        name = f"edge{i}.content.example"
        rows += [
            flow(at, f"151.101.1.{i}", 443, back=5_500, application="ssl", server_name=name)
            for at in every(period, jitter=0.05)
        ]
    return rows


def agents():
    """Two vendors' agents that ask for work each minute, by names that somebody chose."""
    rows = []
    for i, (period, name) in enumerate(((60 * SECOND, "telemetry-vendor"), (45 * SECOND, "remote-helper"))):
        asks = {"out": 1_400, "back": 5_200, "application": "ssl", "server_name": f"agent.{name}.com"}
        rows += [flow(at, f"198.51.100.{20 + i}", 443, **asks) for at in every(period, jitter=0.1 * i)]
    return rows


def monitoring():
    """A monitor that pings thirty machines of its network every minute and tries their services; one of them is down."""
    rows = []
    for i in range(30):
        peer, up = f"10.0.0.{100 + i}", i != 7
        for at in every(MINUTE):
            rows.append(flow(at + i * SECOND, peer, 0, out=84, back=84, transport="icmp", answered=up))
            rows += [flow(at + i * SECOND, peer, port, out=400, back=600, answered=up) for port in (22, 443)]
    return rows


def printing():
    """A printer that is asked for its ink, and print jobs."""
    rows = [flow(at, "10.0.0.50", 161, out=80, back=90, transport="udp") for at in every(30 * SECOND)]
    return rows + [
        flow(at, "10.0.0.50", 9100, out=30_000_000, back=9_000, lasts=20 * SECOND) for at in every(50 * MINUTE)
    ]


def chat_and_push():
    """Sessions kept open for hours at the ports of chat and push services."""
    kept = (("157.240.1.5", 5222), ("142.250.1.188", 5228), ("17.57.1.10", 5223), ("52.1.2.3", 443))
    return [flow(MINUTE, peer, port, out=90_000, back=120_000, lasts=3 * HOUR) for peer, port in kept]


def video_call():
    """A call through a relay, and one straight between two."""
    relayed = flow(HOUR, "52.114.5.6", 3480, out=300_000_000, back=350_000_000, lasts=40 * MINUTE, transport="udp")
    straight = flow(
        2 * HOUR, "88.12.3.4", 53_124, out=200_000_000, back=180_000_000, lasts=30 * MINUTE, transport="udp"
    )
    return [relayed, straight]


def tunnel_to_work():
    """WireGuard and OpenVPN, all day."""
    ends = ((51_820, "198.51.100.9"), (1194, "198.51.100.10"))
    return [
        flow(MINUTE, peer, port, out=70_000_000, back=600_000_000, lasts=3 * HOUR, transport="udp")
        for port, peer in ends
    ]


def domain():
    """A machine of a Windows domain: its controller, and a file server that it uses from the morning on."""
    rows = [flow(at, "10.0.0.2", port) for port in (88, 135, 389, 445, 49_667) for at in every(7 * MINUTE, jitter=0.5)]
    return rows + [flow(at, "10.0.0.3", 445, out=40_000, back=900_000, lasts=4 * MINUTE) for at in every(15 * MINUTE)]


def file_sharing():
    """BitTorrent: hundreds of peers at any port, many of whom are gone; much comes in and some goes out."""
    chance, rows = random.Random(5), []
    for i in range(600):
        peer = f"{chance.randrange(60, 99)}.{chance.randrange(256)}.{chance.randrange(256)}.{i % 250 + 1}"
        port = 6881 if i % 7 == 0 else chance.randrange(10_000, 60_000)
        at, up = HOUR + i * 6 * SECOND, chance.random() < 0.4
        rows.append(flow(at, peer, port, out=900_000, back=2_000_000, lasts=3 * MINUTE, answered=up))
        rows.append(flow(at, peer, port, out=145, back=300, transport="udp", answered=chance.random() < 0.5))
    return rows


def names_that_fail():
    """Search suffixes and misspellings: a few names an hour that do not exist."""
    words = ("printer", "wpad", "intranet", "fileserver", "gogle", "isatap")
    return [asked(at, f"{words[i % 6]}.corp{i % 3}.example.com", "NXDOMAIN") for i, at in enumerate(every(2 * MINUTE))]


ORDINARY = [
    time_and_discovery, updates, polling, agents, monitoring, printing, chat_and_push, video_call, tunnel_to_work, domain,
    file_sharing, names_that_fail,
]  # fmt: skip


# Attacks: each with its kind and the peer that an alert must name (None: several).


def reverse_shell():
    return [flow(2 * HOUR, "10.0.0.66", 4444, out=9_000, back=1_200, lasts=25 * SECOND)], "c2_channel", "10.0.0.66"


def loaded_from_inside():
    return [flow(2 * HOUR, "10.0.0.66", 1389, out=500, back=700)], "exploit_attempt", "10.0.0.66"


def sandboxed_trojan():
    rows = [flow(2 * HOUR, "94.156.71.7", 5610, out=12_000, back=8_000, lasts=40 * SECOND, application="ssl")]
    return rows, "c2_channel", "94.156.71.7"


def bot_by_http():
    return (
        [flow(at, "94.156.71.8", 80, out=450, back=380) for at in every(3 * SECOND, 3, 0.9)],
        "c2_beacon",
        "94.156.71.8",
    )


def beacon_at_an_odd_port():
    return (
        [flow(at, "94.156.71.9", 8810, out=900, back=700) for at in every(20 * SECOND, 3, 0.2)],
        "c2_beacon",
        "94.156.71.9",
    )


def keylogger_by_mail():
    return [flow(2 * HOUR, "94.156.71.10", 587, out=7_000, back=6_000)], "exfiltration", "94.156.71.10"


def keylogger_by_ftp():
    rows = [flow(2 * HOUR, "94.156.71.11", 21, out=1_000, back=1_600)]
    return [*rows, flow(2 * HOUR, "94.156.71.11", 50_812, out=8_000, back=500)], "exfiltration", "94.156.71.11"


def upload():
    return (
        [flow(2 * HOUR, "94.156.71.12", 443, out=180_000_000, back=900_000, lasts=MINUTE)],
        "exfiltration",
        "94.156.71.12",
    )


def mining():
    return [flow(2 * HOUR, "94.156.71.13", 3333, out=50_000, back=90_000, lasts=HOUR)], "crypto_mining", None


def ports_of_a_neighbour():
    rows = [flow(2 * HOUR + i * SECOND, "10.0.0.77", 20 + i, out=60, answered=False) for i in range(60)]
    return rows, "scan_vertical", "10.0.0.77"


def neighbours_at_a_port():
    rows = [flow(2 * HOUR + i * SECOND, f"10.0.5.{i}", 445, out=60, answered=i % 9 == 0) for i in range(1, 90)]
    return rows, "scan_horizontal", None


def who_is_up():
    pings = [
        flow(2 * HOUR + i * SECOND, f"10.0.6.{i}", 0, out=84, back=84, transport="icmp", answered=i % 3 == 0)
        for i in range(1, 60)
    ]
    return pings, "scan_horizontal", None


def guessed_passwords():
    return (
        [flow(2 * HOUR + i * 2 * SECOND, "10.0.0.77", 22, out=1_800, back=2_200) for i in range(50)],
        "brute_force",
        "10.0.0.77",
    )


def guessed_from_outside():
    rows = [inbound(2 * HOUR + i * 3 * SECOND, "112.85.42.94", 3389, out=1_800, back=2_200) for i in range(50)]
    return rows, "brute_force", "112.85.42.94"


def generated_names():
    chance = random.Random(2)
    names = ["".join(chance.choices("bcdfghjklmnpqrstvwxz", k=12)) + ".net" for _ in range(40)]
    return [asked(2 * HOUR + i * 4 * SECOND, name, "NXDOMAIN") for i, name in enumerate(names)], "dga", None


def data_in_names():
    chance = random.Random(3)
    names = [f"{chance.randbytes(28).hex()}.t.carrier.net" for _ in range(60)]
    return [asked(2 * HOUR + i * SECOND, name) for i, name in enumerate(names)], "dns_tunnel", "10.0.0.2"


def spreading():
    rows = [flow(2 * HOUR, "10.0.0.78", 445, out=900_000, back=8_000)]
    return [*rows, flow(2 * HOUR + MINUTE, "10.0.0.78", 5985, out=40_000, back=20_000)], "lateral_movement", "10.0.0.78"


def guessed_machine_secret():
    rows = [flow(2 * HOUR + i * SECOND / 10, "10.0.0.79", port) for i in range(200) for port in (135, 49_670)]
    return rows, "exploit_attempt", "10.0.0.79"


ATTACKS = [
    reverse_shell, loaded_from_inside, sandboxed_trojan, bot_by_http, beacon_at_an_odd_port, keylogger_by_mail,
    keylogger_by_ftp, upload, mining, ports_of_a_neighbour, neighbours_at_a_port, who_is_up, guessed_passwords,
    guessed_from_outside, generated_names, data_in_names, spreading, guessed_machine_secret,
]  # fmt: skip
