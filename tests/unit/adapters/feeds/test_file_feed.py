from __future__ import annotations

import pytest

from netpersona.adapters.feeds.file import FileFeed, feed_name
from netpersona.errors import FeedError


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("drop.txt", "drop"),
        ("drop.txt.gz", "drop"),
        ("drop.csv.ZIP", "drop"),
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


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("ip,seen\n192.0.2.1,2026\n")
    with pytest.raises(FeedError, match=r"list\.csv:1: there is no column 'adress'; expected one of ip, seen"):
        FileFeed(path, column="adress").fetch()
