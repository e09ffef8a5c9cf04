"""The files that a lab lays out: what netpersona reads (inventory, feed, policies, configuration), and its programs.

netpersona.yaml   vms.yaml   feeds/bad-peers.txt   policies/*.yaml      for `netpersona up --config`
dnsmasq.conf   names.json   nginx.conf   sshd.conf   repository/   tls.pem    for the lab's own programs
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from netpersona.app.lab import layout
from netpersona.app.lab.machine import run
from netpersona.app.sample_policies import BLOCK_LOW_REPUTATION, isolate_controlled


def write(folder: Path, tools: Mapping[str, str], *, bridged: bool) -> None:
    """Lay out all files, below a folder that exists, with the programs that may be used.  Raises LabError, OSError."""
    for part in ("feeds", "policies", "repository", "log", "counts"):
        (folder / part).mkdir()
    (folder / "vms.yaml").write_text("".join(_inventory(bridged)))
    (folder / "netpersona.yaml").write_text(_CONFIG)
    (folder / "feeds" / "bad-peers.txt").write_text("".join(_feed()))
    for name, text in _POLICIES.items():
        (folder / "policies" / f"{name}.yaml").write_text(text)
    (folder / "names.json").write_text(json.dumps(layout.NAMES))
    (folder / "dnsmasq.conf").write_text("".join(_dnsmasq()))
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder))
    for name, size in (("index", 20_000), ("package-1", 300_000), ("package-2", 90_000)):
        (folder / "repository" / name).write_bytes(bytes(range(32, 112)) * (size // 80))
    if "openssl" in tools:
        _certificate(folder, tools["openssl"])
    if {"ssh", "ssh-keygen", "sshd"} <= tools.keys():
        _sshd(folder, tools)


def _inventory(bridged: bool) -> Iterator[str]:
    width, width6 = (24, 64) if bridged else (32, 128)
    yield "# The lab's VMs, as `ip` shows them.\nvms:\n"
    for vm in layout.VMS:
        yield f"""\
  - name: {vm.name}
    interface: {vm.tap}
    mac: "{vm.mac}"
    addresses: [{vm.v4}/{width}, "{vm.v6}/{width6}"]
    gateways: [{layout.GATEWAY}, "{layout.GATEWAY6}"]
    resolvers: [{layout.RESOLVER.v4}, "{layout.RESOLVER.v6}"]
    mtu: {layout.MTU}
    labels: {{role: {vm.role}}}
"""


def _feed() -> Iterator[str]:
    yield "# The lab's bad peers.  Not all of them: what nobody lists has to be found by what it does.\n"
    for value in (*layout.CONTROL, *layout.LISTED_NETWORKS, layout.BAD_DOMAIN):
        yield f"{value}\n"


def _dnsmasq() -> Iterator[str]:
    yield "no-resolv\nno-hosts\nno-poll\nuser=root\npid-file=\nbind-interfaces\nlocal-ttl=30\nlocal=/example/\n"
    yield f"listen-address={layout.RESOLVER.v4}\nlisten-address={layout.RESOLVER.v6}\n"
    yield f"server=/{layout.TUNNEL}/{layout.AUTHORITY.v4}\n"
    for name, peer in layout.NAMES.items():
        yield f"host-record={name},{peer.v4},{peer.v6}\n"


def _certificate(folder: Path, openssl: str) -> None:
    """One key and certificate for every name, made anew for each lab; without them there is no HTTPS."""
    names = ",".join(f"DNS:{name}" for name in sorted(layout.NAMES))
    key, certificate = folder / "tls.key", folder / "tls.crt"
    words = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "365", "-subj", "/CN=np-lab", "-addext", f"subjectAltName={names}"]
    run([*words, "-keyout", str(key), "-out", str(certificate)])
    (folder / "tls.pem").write_text(key.read_text() + certificate.read_text())


def _sshd(folder: Path, tools: Mapping[str, str]) -> None:
    """A configuration with which nobody gets in, and a host key of this lab's own."""
    run([tools["ssh-keygen"], "-q", "-t", "ed25519", "-N", "", "-C", "np-lab", "-f", str(folder / "sshd.key")])
    said = subprocess.run([tools["sshd"], "-V"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    version = re.search(r"OpenSSH_([0-9]+)\.([0-9]+)", said)
    # From 9.8 on, who fails to log in is shut out for a while: here it is netpersona that is to see to that.
    impatient = version is not None and (int(version[1]), int(version[2])) >= (9, 8)
    text = _SSHD.format(folder=folder) + ("PerSourcePenalties no\n" if impatient else "")
    (folder / "sshd.conf").write_text(text)


_SSHD = """\
Port 22
HostKey {folder}/sshd.key
PidFile none
UsePAM no
PermitRootLogin no
PasswordAuthentication no
PubkeyAuthentication no
KbdInteractiveAuthentication no
HostbasedAuthentication yes
MaxStartups 100
AllowUsers nobody-at-all
"""

_CONFIG = f"""\
# What netpersona needs to watch the lab.  Paths are relative to this file.
store: netpersona.db
inventory: vms.yaml
feeds:
  # the lab lives in documentation ranges, which the gate would refuse from any other feed
  - {{file: feeds/bad-peers.txt, name: bad-peers, confidence: 0.95, category: c2, allow: [documentation]}}
policies: [policies]
unknown_vm: allow
always_allow: {{management: [{layout.ADMIN.v4}/32, "{layout.ADMIN.v6}/128"], ports: [22]}}
redirects: {{analyser: {layout.ANALYSER.v4}}}
enforcer: nftables
api: {{socket: netpersona.sock}}
"""

_POLICIES = {
    "block-outbound-low-reputation": BLOCK_LOW_REPUTATION,
    "isolate-command-and-control": isolate_controlled("10m", "ten minutes"),
}

_NGINX = """\
user root;
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    server {{
        listen 80;
        listen [::]:80;
        root {folder}/repository;
    }}
}}
"""
