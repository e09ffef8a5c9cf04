from __future__ import annotations

import gzip

import pytest

from netpersona.adapters.feeds import file as file_feed
from netpersona.adapters.feeds.file import FileFeed, feed_name
from netpersona.errors import FeedError


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("drop.txt", "drop"),
        ("drop.txt.gz", "drop"),
        ("level 3 (new).netset", "level-3-new"),
        ("LIST", "LIST"),
        (".txt", "txt"),
        ("ü.txt", "feed"),
        ("x" * 90 + ".csv", "x" * 64),
    ],
)
def test_a_feed_without_a_name_takes_its_files(tmp_path, file, name):
    assert feed_name(tmp_path / file) == name
    assert FileFeed(tmp_path / file).settings.name == name


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FeedError, match=r"absent\.txt: No such file or directory; expected a readable file"):
        FileFeed(tmp_path / "absent.txt").fetch()


def test_damaged_gzip_is_a_clear_error(tmp_path):
    path = tmp_path / "list.gz"
    path.write_bytes(gzip.compress(b"192.0.2.1\n" * 500)[:-12])
    with pytest.raises(FeedError, match=r"list\.gz: .*; expected a readable file"):
        FileFeed(path).fetch()


def test_a_list_that_unpacks_to_more_than_is_reasonable_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(file_feed, "LARGEST", 1000)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0" * 100_000))
    with pytest.raises(FeedError, match="more than 1000 bytes"):
        FileFeed(path).fetch()


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("ip,seen\n192.0.2.1,2026\n")
    with pytest.raises(FeedError, match=r"list\.csv:1: there is no column 'adress'; expected one of ip, seen"):
        FileFeed(path, column="adress").fetch()
