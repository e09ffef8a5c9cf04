#!/bin/sh
# setup.sh LOCK [nft]: make .venv with exactly the dependencies of LOCK, and netpersona itself.
# Does nothing where that was done already.  As root it installs what it needs from apt; else it names it.
set -eu
lock=$1
tools=${2:-}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."

need() { # need PACKAGE WHY: from apt, if we may
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $1 ($2)"
        apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >/dev/null
    else
        echo "$1 is missing ($2); install it, on Debian and Ubuntu with: sudo apt-get install $1" >&2
        return 1
    fi
}

command -v "$python" >/dev/null || need python3 "Python 3.11 or newer runs netpersona"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "netpersona needs Python 3.11 or newer, and $python is $("$python" -V 2>&1); name another: make PYTHON=python3.12 ..." >&2
    exit 1
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv "it makes the virtual environment"
if [ "$tools" = nft ] && ! command -v nft >/dev/null && [ ! -x /usr/sbin/nft ]; then
    need nftables "the tests ask the real nft whether it accepts our rules" || echo "going on without: those tests will be skipped" >&2
fi

lab_programs() { # what the lab is built with, and what makes its traffic; as root only, and without starting any daemon
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
    missing=
    for pair in ip:iproute2 curl:curl dnsmasq:dnsmasq-base iperf3:iperf3 openssl:openssl; do
        command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
    done
    [ -z "$missing" ] || without_daemons $missing || echo "going on without: the lab will use programs of its own" >&2
}

guest_hosts() { # what the tests of VMs under libvirt, and of the service under systemd, need; as root only, and without starting any daemon
    [ "$tools" = nft ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
    missing=
    command -v libvirtd >/dev/null || missing="$missing libvirt-daemon libvirt-daemon-driver-qemu"
    command -v qemu-system-x86_64 >/dev/null || missing="$missing qemu-system-x86"
    command -v busybox >/dev/null || missing="$missing busybox-static"
    [ -x /lib/systemd/systemd ] || missing="$missing systemd"
    command -v ip >/dev/null || missing="$missing iproute2"
    [ -e /usr/lib/python3/dist-packages/libvirt.py ] || missing="$missing python3-libvirt"
    [ -z "$missing" ] || without_daemons $missing || { echo "going on without: the tests of libvirt or systemd will be skipped" >&2; return 0; }
    # The binding of the system's Python serves ours too where both are of one version.
    if ! .venv/bin/python -c 'import libvirt' 2>/dev/null; then
        place=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
        ln -sf /usr/lib/python3/dist-packages/libvirt.py /usr/lib/python3/dist-packages/libvirtmod.*.so "$place"
        .venv/bin/python -c 'import libvirt' 2>/dev/null || rm -f "$place"/libvirt.py "$place"/libvirtmod.*.so
    fi
    [ -d .venv/guest/boot ] || guest_kernel || echo "going on without a kernel for guests: those tests will be skipped" >&2
}

without_daemons() ( # without_daemons PACKAGE...: install them; a package may ask to start its daemon, and is told no
    echo "installing$(printf ' %s' "$@")"
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
    fi
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
)

guest_kernel() ( # unpack the newest cloud kernel, and of its modules those for a network card, into .venv/guest
    version=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | tail -n 1)
    [ -n "$version" ] || { apt-get update -qq >/dev/null; version=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | tail -n 1); }
    [ -n "$version" ] || return 1
    echo "unpacking $version (the tests' guests boot it; it is not installed)"
    unpacked=$(pwd)/.venv/guest
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cd "$work"
    apt-get download -qq "$version" >/dev/null 2>&1 || return 1
    dpkg-deb --fsys-tarfile ./*.deb | tar -x --wildcards './boot/vmlinuz-*' '*/drivers/virtio/*' '*/net/core/failover.ko*' \
        '*/drivers/net/net_failover.ko*' '*/drivers/net/virtio_net.ko*' || return 1
    rm ./*.deb
    rm -rf "$unpacked"
    mkdir "$unpacked"
    cp -r boot lib "$unpacked"
)

mark=.venv/.installed
want="$(cksum <"$lock") $(cksum <pyproject.toml) $(pwd)"
if [ -f "$mark" ] && { [ "$(cat "$mark")" = "$want" ] || { [ "$lock" = requirements.lock ] && [ "$(cat "$mark.dev" 2>/dev/null)" = "$(cksum <requirements-dev.lock) $(cksum <pyproject.toml) $(pwd)" ]; }; }; then
    exit 0
fi
echo "setting up .venv from $lock"
[ -x .venv/bin/python ] && [ "$(cat .venv/.place 2>/dev/null)" = "$(pwd)" ] || { rm -rf .venv && "$python" -m venv .venv && pwd >.venv/.place; }
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
lab_programs
guest_hosts
.venv/bin/python -m compileall -q src # else every process that may not write its byte code compiles it again
echo "$want" >"$mark"
[ "$lock" = requirements.lock ] || cp "$mark" "$mark.dev"
