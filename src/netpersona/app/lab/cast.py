"""Which programs run on which machine: real ones where they are installed, else small ones of ours in their place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from netpersona.app.lab import layout
from netpersona.app.lab.machine import python

_PROGRAMS = "netpersona.app.lab.programs"
PACKAGES = {
    "dnsmasq": ("dnsmasq-base", "a small DNS server of ours resolves names"),
    "curl": ("curl", "Python fetches pages"),
    "openssl": ("openssl", "there is no HTTPS"),
    "iperf3": ("iperf3", "nobody answers a measurement of speed"),
}
"""Programs that the lab uses: the package that brings each, and what happens without.

nginx and sshd are used where they are, but not asked for: their packages start a server on the host.
"""
_USED = (*PACKAGES, "nginx", "ssh", "ssh-keygen", "sshd")


class Program(NamedTuple):
    """A program on a machine; it is ready when it listens at every one of `listens`: ("tcp", 80)."""

    name: str
    machine: str
    words: list[str]
    listens: tuple[tuple[str, int], ...] = ()
    wants: str | None = None  # what would be here instead, were it installed


def installed(name: str) -> str | None:
    """Where a program lies, also for those whose PATH lacks the folders of root."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin")


def found() -> dict[str, str]:
    """The programs that are here, with where they lie."""
    return {name: path for name in _USED if (path := installed(name)) is not None}


def missing() -> list[str]:
    """A sentence for each program that is not here, with the package that brings it."""
    return [
        f"{name} is not installed, so {instead} (apt-get install {package})"
        for name, (package, instead) in PACKAGES.items()
        if installed(name) is None
    ]


def cast(folder: Path, tools: Mapping[str, str], *, seed: int, pace: float) -> list[Program]:
    """All programs of the lab, servers first, in the order of their start.

    `tools` are the programs that may be used, with where they lie; `pace` 2 halves every pause.
    """
    return [*_servers(folder, tools), *_clients(folder, tools.get("curl"), seed, pace)]


def _servers(folder: Path, tools: Mapping[str, str]) -> Iterator[Program]:
    yield _resolver(folder, tools.get("dnsmasq"))
    yield _module(
        "authority",
        layout.OUTSIDE,
        "dns_server",
        ["--listen", layout.AUTHORITY.v4, "--listen", layout.AUTHORITY.v6, "--answer-below", layout.TUNNEL],
        (("udp", 53),),
    )
    yield _repository(folder, tools.get("nginx"))
    yield _module("database", layout.DATABASE.name, "database_server", ["--port", "5432"], (("tcp", 5432),))
    yield _pages(folder, layout.WEB.name, [80], "--database", layout.DATABASE.v4, "--database", layout.DATABASE.v6)
    yield _pages(folder, layout.OUTSIDE, [80, 8443, 4444])
    for vm in layout.VMS:
        yield from _logins(folder, vm.name, tools)
    yield _module(
        "analyser", layout.ANALYSER.name, "analyser", ["--count-in", str(folder / "counts" / "analyser.json")]
    )
    takes = (80, 443, 4444, 8443)
    words = [word for port in takes for word in ("--files", str(port))]
    yield _module("takes", layout.ANALYSER.name, "login_server", words, tuple(("tcp", port) for port in takes))
    if "iperf3" in tools:
        yield Program("iperf3", layout.OUTSIDE, [tools["iperf3"], "--server"], (("tcp", 5201),))


def _resolver(folder: Path, dnsmasq: str | None) -> Program:
    listens, names = (("udp", 53),), folder / "names.json"
    if dnsmasq is not None:
        words = [dnsmasq, "--keep-in-foreground", f"--conf-file={folder / 'dnsmasq.conf'}"]
        return Program("dnsmasq", layout.RESOLVER.name, words, listens)
    words = ["--listen", layout.RESOLVER.v4, "--listen", layout.RESOLVER.v6, "--names", str(names)]
    words += ["--forward", layout.TUNNEL, "--to", layout.AUTHORITY.v4]
    return _module("resolver", layout.RESOLVER.name, "dns_server", words, listens, "dnsmasq")


def _repository(folder: Path, nginx: str | None) -> Program:
    if nginx is not None:
        words = [nginx, "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        return Program("nginx", layout.REPOSITORY.name, words, (("tcp", 80),))
    return _pages(folder, layout.REPOSITORY.name, [80], "--folder", str(folder / "repository"), wants="nginx")


def _logins(folder: Path, vm: str, tools: Mapping[str, str]) -> Iterator[Program]:
    """What there is to attack; sshd where there is one and its client, else what looks like it on the wire."""
    ports = {"--ftp": (21,), "--files": (445, 5985)}
    if (folder / "sshd.conf").exists():
        words = [tools["sshd"], "-D", "-e", "-f", str(folder / "sshd.conf")]
        yield Program("sshd", vm, words, (("tcp", 22),))
    else:
        ports = {"--ssh": (22,), **ports}
    words = [word for name, numbers in ports.items() for port in numbers for word in (name, str(port))]
    listens = tuple(("tcp", port) for numbers in ports.values() for port in numbers)
    yield _module("logins", vm, "login_server", words, listens, None if "--ssh" not in ports else "sshd")


def _pages(folder: Path, machine: str, ports: list[int], *more: str, wants: str | None = None) -> Program:
    """A web server; with HTTPS where there is a certificate."""
    words = [word for port in ports for word in ("--port", str(port))]
    if (folder / "tls.pem").exists():
        words += ["--tls-port", "443", "--certificate", str(folder / "tls.pem")]
        ports = [*ports, 443]
    listens = tuple(("tcp", port) for port in ports)
    return _module("pages", machine, "web_server", [*words, *more], listens, wants)


def _clients(folder: Path, curl: str | None, seed: int, pace: float) -> Iterator[Program]:
    scheme = "https" if (folder / "tls.pem").exists() else "http"
    sites = [f"{scheme}://{name}/" for name in layout.SITES] + [f"http://{name}/bytes/40000" for name in layout.SITES]
    for number, vm in enumerate((layout.DESKTOP, layout.NEIGHBOUR)):
        yield _fetcher(folder, curl, f"browser-{vm.name}", vm.name, seed + number, 2.0 / pace, sites)
    visits = [f"http://{layout.WEB.v4}/", f"http://[{layout.WEB.v6}]/", f"http://{layout.WEB.v4}/bytes/20000"]
    visitors = [word for peer in layout.VISITORS for word in ("--from", peer.v4, "--from", peer.v6)]
    yield _fetcher(folder, curl, "visitors", layout.OUTSIDE, seed + 10, 1.0 / pace, visits, *visitors)
    updates = [f"http://{layout.UPDATES}/{name}" for name in ("index", "package-1", "package-2")]
    for number, vm in enumerate(layout.VMS):
        yield _fetcher(folder, curl, f"updates-{vm.name}", vm.name, seed + 20 + number, 20.0 / pace, updates)


def _fetcher(
    folder: Path, curl: str | None, name: str, machine: str, seed: int, every: float, addresses: list[str], *more: str
) -> Program:
    words = ["--every", f"{every:.4f}", "--seed", str(seed), "--count-in", str(folder / "counts" / f"{name}.json")]
    if (folder / "tls.pem").exists():
        words += ["--trust", str(folder / "tls.pem")]
    if curl is not None:
        words += ["--curl", curl]
    wants = "curl" if curl is None else None
    return _module(name, machine, "fetcher", [*words, *more, *addresses], (), wants)


def _module(
    name: str,
    machine: str,
    module: str,
    words: list[str],
    listens: tuple[tuple[str, int], ...] = (),
    wants: str | None = None,
) -> Program:
    return Program(name, machine, python(f"{_PROGRAMS}.{module}", *words), listens, wants)
