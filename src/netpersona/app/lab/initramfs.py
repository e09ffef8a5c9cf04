"""What a QEMU guest boots: a kernel that somebody unpacked, and a file system in memory made of busybox and one script.

A kernel package unpacked into a folder has it all: boot/vmlinuz-VERSION and lib/modules/VERSION.  On most hosts `/` is
such a folder too.  The file system is an archive in the kernel's own format (newc, in its documentation
"initramfs buffer format").
"""

from __future__ import annotations

import gzip
import lzma
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import zstandard

from netpersona.app.lab import layout, network
from netpersona.app.lab.errors import LabError
from netpersona.app.lab.layout import Machine

SHELL = "/dev/ttyS1"
_MODULES = (
    "virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
    "failover", "net_failover", "virtio_net",
)  # fmt: skip
"""What the network card needs.  They are loaded in rounds, as they need each other; some kernels have them built in."""
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".ko": bytes,
    ".xz": lzma.decompress,
    ".zst": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    ".gz": gzip.decompress,
}


class Kernel(NamedTuple):
    """A kernel and the modules that the guest needs of it."""

    image: Path
    modules: tuple[Path, ...]


def kernel_in(folder: Path) -> Kernel:
    """The newest kernel below a folder that has its modules there too.  Raises LabError."""
    for image in sorted((folder / "boot").glob("vmlinuz-*"), reverse=True):
        modules = folder / "lib" / "modules" / image.name.removeprefix("vmlinuz-")
        if modules.is_dir():
            by_name = {path.name.partition(".")[0].replace("-", "_"): path for path in modules.rglob("*.ko*")}
            return Kernel(image, tuple(by_name[name] for name in _MODULES if name in by_name))
    raise LabError(
        f"there is no kernel for a guest in {folder}: boot/vmlinuz-VERSION with lib/modules/VERSION; unpack one "
        "(apt-get download linux-image-VERSION-cloud-amd64; dpkg -x linux-image-*.deb FOLDER) and say --kernel FOLDER"
    )


def build(kernel: Kernel, busybox: Path, vm: Machine, *, bridged: bool, seed: int, pace: float) -> bytes:
    """The guest's whole file system, packed.  Raises LabError."""
    files: dict[str, tuple[int, bytes]] = {
        **dict.fromkeys(("bin", "dev", "etc", "modules", "proc", "sys", "tmp"), (16877, b"")),
        "bin/busybox": (0o100755, busybox.read_bytes()),
        "etc/resolv.conf": (0o100644, f"nameserver {layout.RESOLVER.v4}\n".encode()),
        "init": (0o100755, _init(kernel, vm, bridged).encode()),
        "serve": (0o100755, _SERVE.encode()),
        "browse": (0o100755, _browse(seed, pace).encode()),
    }
    for module in kernel.modules:
        files[f"modules/{module.name.partition('.')[0]}"] = (0o100644, _unpacked(module))
    return gzip.compress(archive(files), 1)


def archive(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """Files by path, with mode and content, as a newc archive."""
    parts = [
        part
        for number, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], start=1)
        for part in _entry(number, name, mode, data)
    ]
    return b"".join(parts)


def _entry(number: int, name: str, mode: int, data: bytes) -> Iterator[bytes]:
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    yield head + bytes(-len(head) % 4)
    yield data + bytes(-len(data) % 4)


def _unpacked(module: Path) -> bytes:
    try:
        return _UNPACK[module.suffix](module.read_bytes())
    except (KeyError, OSError, lzma.LZMAError, zstandard.ZstdError) as error:
        raise LabError(f"{module} cannot be unpacked for the guest: {error}") from error


def _init(kernel: Kernel, vm: Machine, bridged: bool) -> str:
    """The first program: load, connect, browse, and serve a shell."""
    modules = " ".join(path.name.partition(".")[0] for path in kernel.modules)
    addresses = [line for line in network.machines(bridged=bridged)[vm.name] if not line.startswith("link set lo")]
    ip = "\n".join(f"ip {_for_busybox(line)}" for line in addresses)
    return f"""\
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
hostname {shlex.quote(vm.name)}
for round in 1 2 3; do for module in {modules}; do insmod /modules/$module 2>/dev/null; done; done
ip link set lo up
for name in all default eth0; do
    echo 0 >/proc/sys/net/ipv6/conf/$name/accept_dad
    echo 0 >/proc/sys/net/ipv6/conf/$name/accept_ra
done
{ip}
echo '{{"asked": 0, "answered": 0}}' >/counts
sh /browse &
while :; do stty raw -echo; sh /serve; done <{SHELL} >{SHELL} 2>&1 &
while :; do sleep 3600; done
"""


_SERVE = """\
while read -r token command; do
    [ -n "$command" ] || continue
    echo "$token begins"
    echo "$command" | base64 -d >/tmp/command 2>/dev/null && sh /tmp/command </dev/null 2>&1
    echo "$token ends $?"
done
"""
"""Requests are lines of two words, a token and a command in base64: half a line of a client that left does no harm."""


def _for_busybox(line: str) -> str:
    line = line.removesuffix(" nodad")
    return f"-6 {line}" if ":" in line else line


def _browse(seed: int, pace: float) -> str:
    """Sites one after the other, by turns over IPv6 and IPv4; which, follows from the seed."""
    return f"""\
n={seed} asked=0 answered=0
while :; do
    n=$(( (n * 1103515245 + 12345) % 2147483648 ))
    site=$(( n / 65536 % 20 + 1 ))
    asked=$(( asked + 1 ))
    address=192.0.2.$(( 100 + site ))
    [ $(( asked % 2 )) = 0 ] || address="[2001:db8:1::$(( 100 + site ))]"
    nslookup site-$site.example >/dev/null 2>&1
    timeout 5 wget -q -O /dev/null --header "Host: site-$site.example" http://$address/bytes/40000 &&
        answered=$(( answered + 1 ))
    echo "{{\\"asked\\": $asked, \\"answered\\": $answered}}" >/counts.new && mv /counts.new /counts
    usleep $(( (n / 1024 % 2000 + 1000) * {round(1_000 / pace)} ))
done
"""
