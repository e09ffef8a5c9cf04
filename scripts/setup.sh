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

mark=.venv/.installed
want="$(cksum <"$lock") $(cksum <pyproject.toml) $(pwd)"
if [ -f "$mark" ] && { [ "$(cat "$mark")" = "$want" ] || { [ "$lock" = requirements.lock ] && [ "$(cat "$mark.dev" 2>/dev/null)" = "$(cksum <requirements-dev.lock) $(cksum <pyproject.toml) $(pwd)" ]; }; }; then
    exit 0
fi
echo "setting up .venv from $lock"
[ -x .venv/bin/python ] && [ "$(cat .venv/.place 2>/dev/null)" = "$(pwd)" ] || { rm -rf .venv && "$python" -m venv .venv && pwd >.venv/.place; }
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
.venv/bin/python -m compileall -q src # else every process that may not write its byte code compiles it again
echo "$want" >"$mark"
[ "$lock" = requirements.lock ] || cp "$mark" "$mark.dev"
