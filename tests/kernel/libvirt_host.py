"""A host of the tests' own that runs libvirtd and one QEMU guest, all of it in namespaces that end with one process.

The guest hangs on a tap that libvirt does not manage; beyond the host, in a namespace of its own, are two peers.  The
guest asks both over and over, and says on its console how that went and how long it is up.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from kernel.private_net import WHY_NOT as WHY_NO_KERNEL
from kernel.private_net import run
from netpersona.app.lab import initramfs

REPO = Path(__file__).resolve().parents[2]
GUEST_KERNEL = REPO / ".venv" / "guest"  # scripts/setup.sh unpacks it there
GUEST, HOST, GOOD, BAD = "10.77.0.2", "10.77.0.1", "192.0.2.9", "192.0.2.66"
TAP, SECOND, MAC, NAME = "tap-guest", "tap-second", "52:54:00:00:00:02", "guest-1"
ELSEWHERE = "np-test-outside"
_INIT = f"""\
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for round in 1 2 3; do for module in MODULES; do insmod /modules/$module 2>/dev/null; done; done
ip link set eth0 up
ip addr add {GUEST}/24 dev eth0
ip route add default via {HOST}
ask() {{ timeout 1 wget -q -O /dev/null http://$1/ 2>/dev/null && echo yes || echo no; }}
while :; do
    good=$(ask {GOOD}) bad=$(ask {BAD})
    echo "@ $(cut -d' ' -f1 /proc/uptime) $(cat /proc/sys/kernel/random/boot_id) $good $bad" >/dev/ttyS0
    usleep 100000
done
"""


def why_not() -> str | None:
    """Why no guest can be run here; None: one can."""
    if WHY_NO_KERNEL is not None:
        return WHY_NO_KERNEL
    programs = ("libvirtd", "qemu-system-x86_64", "busybox")
    missing = [program for program in programs if shutil.which(program) is None]
    if find_spec("libvirt") is None:
        missing.append("the Python binding of libvirt")
    if not (GUEST_KERNEL / "boot").is_dir():
        missing.append(f"a kernel for the guest in {GUEST_KERNEL}")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        missing.append("/dev/net/tun")
    return f"needs {', '.join(missing)}; as root, make setup-dev installs it" if missing else None


def in_namespaces(script: str, folder: Path, seconds: float) -> str:
    """Run a module in namespaces of its own; what it wrote.  Nothing of it outlives this call."""
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"]
    words += ["sh", "-c", '"$@" & wait $!', "init", sys.executable, "-m", script, str(folder)]  # sh reaps orphans
    env = {**os.environ, "PYTHONPATH": str(REPO / "tests")}
    with (folder / "story").open("w+") as story:
        done = subprocess.Popen(words, stdout=story, stderr=subprocess.STDOUT, env=env)
        try:
            code = done.wait(seconds)
        except subprocess.TimeoutExpired:
            code = f"not done in {seconds:.0f} s"
        finally:
            done.kill()
            done.wait()
        story.seek(0)
        said = story.read()
    assert code == 0, f"{code}\n{said}"
    return said


class Line(NamedTuple):
    """What the guest says of itself, once a round."""

    uptime: float  # s
    boot: str
    good: bool  # whether it reached the good peer
    bad: bool


def interface_xml(tap: str, mac: str) -> str:
    """An interface on a tap that libvirt does not manage."""
    return f"""
        <interface type="ethernet">
          <mac address="{mac}"/><target dev="{tap}" managed="no"/><model type="virtio"/><rom enabled="no"/>
        </interface>"""


class Host:
    """The host that a script makes of its namespaces; its parts are started one by one."""

    def __init__(self, folder: Path) -> None:
        assert os.getppid() == 1, "not in a pid namespace of its own"
        self.folder = folder
        self.console = folder / "console"
        self._private_folders()
        self._network()

    def _private_folders(self) -> None:
        """What libvirt and ip write to becomes memory of this mount namespace, /etc a copy."""
        copy = self.folder / "etc"
        for place in ("/run", "/var/lib", "/var/log", "/var/cache", str(self.folder)):
            run("mount", "-t", "tmpfs", "none", place)
        shutil.copytree("/etc", copy, symlinks=True)
        run("mount", "--bind", str(copy), "/etc")
        run("mount", "-t", "sysfs", "none", "/sys")  # it shows the interfaces of this namespace
        for accounts, line in (
            ("passwd", "libvirt-qemu:x:64055:64055::/:/bin/false"),
            ("group", "libvirt-qemu:x:64055:"),
        ):
            with Path("/etc", accounts).open("a") as known:
                known.write(f"{line}\n")  # libvirt looks for it before it reads that it shall be root
        settings = Path("/etc/libvirt")
        settings.mkdir(exist_ok=True)
        (settings / "libvirtd.conf").write_text(
            'auth_unix_ro = "none"\nauth_unix_rw = "none"\nunix_sock_group = "root"\nunix_sock_ro_perms = "0700"\n'
            'host_uuid = "6f1f0c1e-8f2b-4a52-9d0d-3f3b8a1c2d4e"\n'
        )
        (settings / "qemu.conf").write_text(
            'user = "root"\ngroup = "root"\nsecurity_driver = "none"\ndynamic_ownership = 0\nremember_owner = 0\n'
            'namespaces = []\ncgroup_controllers = []\nstdio_handler = "file"\n'
        )

    def _network(self) -> None:
        run("ip", "link", "set", "lo", "up")
        run("ip", "tuntap", "add", TAP, "mode", "tap")
        run("ip", "addr", "add", f"{HOST}/24", "dev", TAP)
        run("ip", "link", "set", TAP, "up")
        run("ip", "netns", "add", ELSEWHERE)
        run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", ELSEWHERE)
        run("ip", "addr", "add", "192.0.2.1/24", "dev", "uplink")
        run("ip", "link", "set", "uplink", "up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for peer in (GOOD, BAD):
            run("ip", "-n", ELSEWHERE, "addr", "add", f"{peer}/24", "dev", "eth0")
        run("ip", "-n", ELSEWHERE, "link", "set", "eth0", "up")
        run("ip", "-n", ELSEWHERE, "route", "add", "default", "via", "192.0.2.1")
        served = self.folder / "served"
        served.mkdir()
        (served / "index.html").write_text("hello\n")
        server = [sys.executable, "-m", "http.server", "80", "--directory", str(served)]
        self.start("server", "ip", "netns", "exec", ELSEWHERE, *server)

    def start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """Start a program; what it writes is in a file of this name."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else "nothing"

    def libvirtd(self) -> subprocess.Popen[bytes]:
        return self.start("libvirtd", "libvirtd")

    def guest_xml(self, metadata: str = "") -> str:
        """The guest as libvirt is told of it; its file system is made anew."""
        kernel = initramfs.kernel_in(GUEST_KERNEL)
        names = [module.name.partition(".")[0] for module in kernel.modules]
        files = {
            **dict.fromkeys(("bin", "dev", "modules", "proc"), (0o40755, b"")),
            "bin/busybox": (0o100755, Path(shutil.which("busybox") or "").read_bytes()),
            "init": (0o100755, _INIT.replace("MODULES", " ".join(names)).encode()),
            **{
                f"modules/{name}": (0o100644, module.read_bytes())
                for name, module in zip(names, kernel.modules, strict=True)
            },
        }
        system = self.folder / "guest.cpio.gz"
        system.write_bytes(gzip.compress(initramfs.archive(files), 1))
        return f"""
            <domain type="qemu">
              <name>{NAME}</name><memory unit="MiB">128</memory><vcpu>1</vcpu>{metadata}
              <os>
                <type arch="x86_64" machine="pc">hvm</type>
                <kernel>{kernel.image}</kernel><initrd>{system}</initrd>
                <cmdline>console=ttyS0 quiet panic=-1</cmdline>
              </os>
              <features><acpi/></features>
              <devices>
                <emulator>{shutil.which("qemu-system-x86_64")}</emulator>
                <controller type="usb" model="none"/>
                <memballoon model="none"/>
                <serial type="file"><source path="{self.console}"/></serial>
                {interface_xml(TAP, MAC)}
              </devices>
            </domain>"""

    def lines(self) -> list[Line]:
        """What the guest said of itself so far, in order."""
        said = self.console.read_text(errors="replace") if self.console.exists() else ""
        found = re.findall(r"^@ ([0-9.]+) ([0-9a-f-]{36}) (yes|no) (yes|no)\r?$", said, re.MULTILINE)
        return [Line(float(up), boot, good == "yes", bad == "yes") for up, boot, good, bad in found]
