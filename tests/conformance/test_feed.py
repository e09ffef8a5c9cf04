"""What every Feed owes its callers, whatever it reads from."""

from __future__ import annotations

import gzip

import polars as pl
import pytest

from feed_servers import said, served
from netpersona.adapters.feeds.file import FileFeed
from netpersona.adapters.feeds.http import HttpSource
from netpersona.adapters.feeds.local import FileSource, FolderSource
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.source import SourcedFeed
from netpersona.errors import FeedError
from netpersona.intel.feed import FeedSettings, FeedSnapshot
from netpersona.intel.indicator import INDICATOR_SCHEMA

SETTINGS = FeedSettings("tests", confidence=0.7, half_life=5, family="kin", category="c2")
CONTENT = b"# a list\n192.0.2.7\n198.51.100.0/24 # scanner\nevil.example\nnonsense\n192.0.2.7\n"


def plain_file(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    return FileFeed(path, SETTINGS)


def gzipped_file(tmp_path, content):
    path = tmp_path / "list"
    path.write_bytes(gzip.compress(content))
    return FileFeed(path, SETTINGS)


def watched_file(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    return SourcedFeed(SETTINGS, FileSource(path))


def folder(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    return SourcedFeed(SETTINGS, FolderSource(tmp_path))


def on_the_web(server, content):
    server.answer = lambda _: said(content)
    return SourcedFeed(SETTINGS, HttpSource(WebPlace.of(server.at("/list.txt"), "tests")))


@pytest.fixture(params=[plain_file, gzipped_file, watched_file, folder, on_the_web], ids=lambda make: make.__name__)
def feed_of(request, tmp_path):
    if request.param is not on_the_web:
        yield lambda content: request.param(tmp_path, content)
        return
    with served() as server:
        yield lambda content: on_the_web(server, content)


def test_it_gives_everything_the_source_says_now(feed_of):
    snapshot = feed_of(CONTENT).fetch()
    assert isinstance(snapshot, FeedSnapshot)
    assert dict(snapshot.indicators.schema) == dict(pl.Schema(INDICATOR_SCHEMA))
    rows = snapshot.indicators.select("value", "type", "line", "label").rows()
    assert rows == [
        ("192.0.2.7", "address", 2, None),
        ("198.51.100.0/24", "network", 3, "scanner"),
        ("evil.example", "domain", 4, None),
    ]
    assert (snapshot.records, snapshot.unique, snapshot.refused_total) == (5, 4, 1)
    assert [(refusal.line, refusal.value) for refusal in snapshot.refused] == [(5, "nonsense")]


def test_its_settings_stand_in_every_row(feed_of):
    feed = feed_of(CONTENT)
    assert feed.settings == SETTINGS == feed.fetch().settings
    stated = feed.fetch().indicators.select("feed", "family", "category", "confidence", "half_life").unique().rows()
    assert stated == [("tests", "kin", "c2", 0.7, 5)]


def test_fetching_again_gives_the_same(feed_of):
    feed = feed_of(CONTENT)
    assert feed.fetch().indicators.equals(feed.fetch().indicators)


def test_an_empty_list_is_a_list(feed_of):
    assert feed_of(b"# nothing today\n").fetch().indicators.is_empty()


@pytest.mark.parametrize(
    "content", [b"<html><body>login</body></html>", b'{"a": 1}', b"\0\1\2\3", b"no\nvalues\nhere\n"]
)
def test_what_is_no_list_at_all_is_a_clear_error_with_line_and_expectation(feed_of, content):
    with pytest.raises(FeedError, match=r"list(\.txt)?:1: .*; expected "):
        feed_of(content).fetch()
