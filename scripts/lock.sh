#!/bin/sh
# lock.sh: pin every dependency by version and hash, for every platform, naming no index.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
for group in '' dev; do
    out=requirements${group:+-$group}.lock
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --no-annotate --custom-compile-command 'make lock' ${group:+--group "$group"} \
        pyproject.toml --output-file "$out"
    ! grep -nE 'https?://|file:|--index|--find-links' "$out" || { echo "$out names an address" >&2; exit 1; }
done
