"""Files and folders as feeds: what is read again, and what is no list."""

from __future__ import annotations

import os

import pytest

from netpersona.adapters.feeds.local import FileSource, FolderSource
from netpersona.adapters.feeds.source import downloaded, read
from netpersona.errors import FeedError
from netpersona.intel.feed import FeedSettings

SETTINGS = FeedSettings("tests", 0.9)


def values(copy):
    return read(copy, SETTINGS, "here").indicators["value"].to_list()


def test_a_file_is_read_again_only_when_it_was_written_to(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("192.0.2.1\n")
    first = downloaded(FileSource(path), None)
    assert downloaded(FileSource(path), first) is None
    path.write_text("192.0.2.2\n192.0.2.3\n")
    second = downloaded(FileSource(path), first)
    assert values(second) == ["192.0.2.2", "192.0.2.3"]
    other = tmp_path / "other"
    other.write_text("192.0.2.4\n192.0.2.5\n")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)  # as tools do: another file, of equal size and time
    assert values(downloaded(FileSource(path), second)) == ["192.0.2.4", "192.0.2.5"]


def test_what_is_no_file_is_an_error_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, said_so in ((tmp_path / "pipe", "no plain file"), (tmp_path, "no plain file|Is a directory")):
        with pytest.raises(FeedError, match=said_so):
            downloaded(FileSource(path), None)
    with pytest.raises(FeedError, match="no plain file"):
        downloaded(FileSource(tmp_path / "pipe"), None)
    with pytest.raises(FeedError, match=r"absent: No such file or directory; expected a readable file"):
        downloaded(FileSource(tmp_path / "absent"), None)


def test_the_files_of_a_folder_are_one_feed(tmp_path):
    (tmp_path / "a.txt").write_text("192.0.2.1\nnonsense\n")
    (tmp_path / "b.csv").write_text("ip,seen\n192.0.2.2,1\n192.0.2.1,2\n")
    (tmp_path / "page.html").write_text("<html>login</html>\n")
    for hidden in (".hidden", "a.txt~", "c.tmp"):
        (tmp_path / hidden).write_text("198.51.100.1\n")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "d.txt").write_text("198.51.100.2\n")
    source = FolderSource(tmp_path)
    first = downloaded(source, None)
    said = read(first, SETTINGS, source.shown)
    assert said.indicators["value"].to_list() == ["192.0.2.1", "192.0.2.2"]
    refused = sorted((each.line, each.value) for each in said.refused)
    assert refused == [(1, "page.html"), (2, "a.txt: nonsense")]
    assert (said.refused_total, said.format) == (2, "csv, plain")
    assert downloaded(source, first) is None
    (tmp_path / "c.txt").write_text("192.0.2.3\n")
    second = downloaded(source, first)
    assert values(second) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    (tmp_path / "a.txt").unlink()
    assert values(downloaded(source, second)) == ["192.0.2.2", "192.0.2.1", "192.0.2.3"]


def test_an_empty_folder_is_an_empty_feed_and_no_folder_is_an_error(tmp_path):
    assert values(downloaded(FolderSource(tmp_path), None)) == []
    with pytest.raises(FeedError, match="expected a readable folder"):
        downloaded(FolderSource(tmp_path / "absent"), None)


def test_a_folder_is_bounded(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text("192.0.2.1\n" * 10)
    with pytest.raises(FeedError, match="more than 150 bytes"):
        downloaded(FolderSource(tmp_path, largest=150), None)
