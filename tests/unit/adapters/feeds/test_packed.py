"""What packed feeds become, and what is refused before it fills the memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import sys
import zipfile

import pytest
import zstandard

from netpersona.adapters.feeds.file import FileFeed
from netpersona.adapters.feeds.packed import PackedError, unpacked
from netpersona.errors import FeedError

LIST = b"8.8.4.1\n8.8.4.2\n" * 50


def zipped(*members):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return target.getvalue()


PACKERS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip in two parts": lambda content: gzip.compress(content[:99]) + gzip.compress(content[99:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "zstd in two parts": lambda content: zstandard.compress(content[:99]) + zstandard.compress(content[99:]),
    "zip": lambda content: zipped(("list.txt", content)),
    "zip of a folder": lambda content: zipped(("a/", b""), ("a/list.txt", content), ("__MACOSX/a/._list.txt", b"x")),
}


@pytest.mark.parametrize("packer", PACKERS)
def test_a_feed_is_the_same_however_it_is_packed(packer, tmp_path):
    assert unpacked(PACKERS[packer](LIST)) == LIST
    path = tmp_path / "list.bin"
    path.write_bytes(PACKERS[packer](LIST))
    assert FileFeed(path).fetch().records == 100


@pytest.mark.parametrize("packer", [name for name in PACKERS if name != "plain"])
def test_packed_data_that_breaks_off_is_a_clear_error(packer, tmp_path):
    path = tmp_path / "list.bin"
    path.write_bytes(PACKERS[packer](LIST)[:-9])
    with pytest.raises(FeedError, match=r"list\.bin: .*damaged or cut short.*expected a list"):
        FileFeed(path).fetch()


@pytest.mark.parametrize(
    ("members", "wrong"),
    [((), "damaged"), ((("a", b"x"), ("b", b"x")), "a zip of 2 files"), ((("a/", b""),), "a zip of 0 files")],
)
def test_a_zip_must_hold_one_file(members, wrong):
    with pytest.raises(PackedError, match=wrong):
        unpacked(zipped(*members) if members else b"PK\x03\x04")


def test_a_list_longer_than_the_limit_is_refused():
    with pytest.raises(PackedError, match="more than 1 MiB"):
        unpacked(gzip.compress(LIST * 3000), 1 << 20)


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz", "zstd", "zip"])
def test_a_bomb_is_noticed_before_it_fills_the_memory(packer, tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(PACKERS[packer](bytes(200 << 20)))
    code = f"""
import resource, sys
from pathlib import Path
from netpersona.adapters.feeds.packed import PackedError, unpacked
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    unpacked(Path({str(path)!r}).read_bytes())
except PackedError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    grown, _, wrong = done.stdout.partition(" ")
    assert "more than 100 times its size" in wrong
    assert int(grown) < 120, f"{grown} MiB"
