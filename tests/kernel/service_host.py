"""A host of the tests' own that systemd starts, with our unit as it is shipped, all of it in namespaces.

What it writes is memory, and gone with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import waiting
from kernel.private_net import WHY_NOT as WHY_NO_KERNEL

REPO = Path(__file__).resolve().parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
OWN, LISTED = "10.77.0.11", "45.33.32.156"
CONFIG = """\
store: /var/lib/netpersona/netpersona.db
inventory: vms.yaml
feeds: [{file: listed.txt, name: listed, confidence: 0.95, half_life: 7d}]
policies: [low-reputation.yaml]
enforcer: nftables
api: {socket: /run/netpersona/api.sock, group: netpersona}
"""
VMS = f"vms:\n  - {{name: web-1, interface: tap-web-1, addresses: [{OWN}/24]}}\n"
# A checkout and an interpreter of the tests may lie where the unit does not let the service look.
_HERE = "[Service]\nProtectHome=read-only\nPrivateTmp=no\nReadWritePaths=/tmp\n"
# The host's own root is read-only there, and what is written to is memory: nothing that systemd does at a start
# (it empties /tmp, for one) can reach what the tests run on.
_BOOT = f"""\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs $STAGE/memory
over() {{ # over NAME FROM TO: what is in FROM is at TO, can be written to there, and everybody may look into it
    mkdir -m 755 -p $STAGE/memory/$1/upper $STAGE/memory/$1/work
    mount -t overlay overlay -o lowerdir=$2,upperdir=$STAGE/memory/$1/upper,workdir=$STAGE/memory/$1/work $3
}}
dev=$STAGE/memory/dev
mkdir -p $dev/net $dev/shm $dev/pts
for device in null zero full random urandom tty; do : > $dev/$device; mount --bind /dev/$device $dev/$device; done
mknod -m 666 $dev/net/tun c 10 200
ln -s /proc/self/fd $dev/fd
ln -s pts/ptmx $dev/ptmx
over etc /etc /etc
over root /root /root
mount -t tmpfs tmpfs /opt
mkdir /opt/netpersona /opt/stage
mount --bind {REPO} /opt/netpersona
mount --rbind $STAGE /opt/stage
for place in /home /tmp /var/lib /var/log /var/tmp /run; do mount -t tmpfs tmpfs $place; done
[ -e {REPO}/packaging ] || {{ mkdir -p {REPO} && mount --bind /opt/netpersona {REPO}; }}
mount -o remount,bind,ro /opt/netpersona
mount -o remount,bind,ro /
mount --rbind /opt/stage/memory/dev /dev
mount -t devpts devpts /dev/pts -o newinstance,ptmxmode=0666
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t sysfs sysfs /sys -o ro
mount -t cgroup2 cgroup2 /sys/fs/cgroup
units=/etc/systemd/system
cp -r /opt/stage/netpersona /etc/
cp /opt/netpersona/packaging/netpersona.service $units/
mkdir -p $units/netpersona.service.d
cp /opt/stage/here.conf $units/netpersona.service.d/
cp /opt/stage/netpersona.target $units/
: > /etc/fstab
for unit in systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service \\
    systemd-modules-load.service systemd-sysctl.service systemd-remount-fs.service systemd-timesyncd.service \\
    systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-tmpfiles-clean.timer \\
    systemd-update-done.service systemd-random-seed.service systemd-machine-id-commit.service \\
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \\
    sys-fs-fuse-connections.mount; do ln -sf /dev/null $units/$unit; done
grep -q ^netpersona: /etc/group || echo netpersona:x:64990: >> /etc/group
grep -q ^netpersona: /etc/passwd || echo netpersona:x:64990:64990::/var/lib/netpersona:/bin/false >> /etc/passwd
ip link set lo up
ip link add tap-web-1 type veth peer name vm0
ip link set tap-web-1 up
ip link set vm0 up
ip address add 10.77.0.1/24 dev tap-web-1
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin {SYSTEMD} --system --unit=netpersona.target --log-target=null
"""
_TARGET = "[Unit]\nRequires=basic.target netpersona.service\nAfter=basic.target\n"


def why_not() -> str | None:
    """Why systemd cannot be started here; None: it can."""
    if WHY_NO_KERNEL is not None:
        return WHY_NO_KERNEL
    if not SYSTEMD.exists() or shutil.which("nsenter") is None:
        return "needs systemd and util-linux"
    tried = subprocess.run(
        ["unshare", "-Cmpnui", "--fork", "--mount-proc", "mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"needs cgroups of its own: {tried.stderr.strip()}" if tried.returncode else None


class ServiceHost:
    """The running host."""

    def __init__(self, first: int) -> None:
        self._first = first  # the id of its process 1, as seen from here

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program on the host, as root."""
        into = ["nsenter", "-t", str(self._first), "-a", "env", "-C", "/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return subprocess.run([*into, *words], capture_output=True, text=True, check=False, timeout=600)

    def says(self, *words: str) -> str:
        """What a program says that succeeds."""
        done = self.run(*words)
        assert not done.returncode, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def netpersona(self, *words: str) -> str:
        """What our command says."""
        return self.says("/opt/netpersona/.venv/bin/netpersona", *words)

    def shows(self, name: str) -> str:
        """What systemd knows of the service."""
        return self.says("systemctl", "show", "--property", name, "--value", "netpersona").strip()

    def until(self, condition, why: str, seconds: float = 300.0) -> None:
        """Wait until it holds; where it does not, the service's log says why."""
        try:
            waiting.until(condition, why, seconds)
        except AssertionError as error:
            log = self.run("journalctl", "--no-pager", "-u", "netpersona", "-n", "40").stdout
            raise AssertionError(f"{error}: {log}") from None

    def is_up(self) -> bool:
        """Whether the service said that it is ready."""
        return self.run("systemctl", "is-active", "netpersona").stdout.strip() == "active"


@contextmanager
def service_host(stage: Path, texts: dict[str, str]) -> Iterator[ServiceHost]:
    """A host on which the service runs with these files in /etc/netpersona; `stage` is an empty directory."""
    for name in ("netpersona", "memory"):
        (stage / name).mkdir()
    for name, text in {"netpersona.yaml": CONFIG, "vms.yaml": VMS, "listed.txt": LISTED, **texts}.items():
        (stage / "netpersona" / name).write_text(text)
    (stage / "here.conf").write_text(_HERE)
    (stage / "netpersona.target").write_text(_TARGET)
    words = ["unshare", "-Cmpnui", "--fork", "--kill-child", "sh", "-c", _BOOT]
    with (stage / "boot.log").open("w") as log:
        started = subprocess.Popen(words, env={**os.environ, "STAGE": str(stage)}, stdout=log, stderr=log)
    try:
        host = ServiceHost(_first_of(started, stage))
        host.until(host.is_up, "the service did not start")
        yield host
    finally:
        started.kill()
        started.wait()


def _first_of(started: subprocess.Popen[bytes], stage: Path) -> int:
    """The process that is systemd there, once it is."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and started.poll() is None:
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        if children and Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd":
            return int(children[0])
        time.sleep(0.05)
    raise AssertionError(f"systemd did not start: {(stage / 'boot.log').read_text()}")
