"""What every Feed owes its callers, whatever it reads from."""

from __future__ import annotations

import gzip
import json
import re
from ipaddress import IPv4Address
from uuid import UUID

import polars as pl
import pytest

from feed_servers import said, served
from netpersona.adapters.feeds.file import FileFeed
from netpersona.adapters.feeds.http import HttpSource
from netpersona.adapters.feeds.local import FileSource, FolderSource
from netpersona.adapters.feeds.misp import MispFeedSource, MispSource
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.source import SourcedFeed, downloaded, read
from netpersona.adapters.feeds.taxii import TaxiiSource
from netpersona.errors import FeedError
from netpersona.intel.feed import FeedSettings, FeedSnapshot
from netpersona.intel.indicator import INDICATOR_SCHEMA
from taxii_server import indicator

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


# Feeds whose source speaks in documents of its own: what each owes is the same, however it is asked


def a_file(tmp_path, server):
    def saying(*addresses):
        (tmp_path / "list.txt").write_text("".join(f"{each}\n" for each in addresses))

    return FileSource(tmp_path / "list.txt"), saying


def a_folder(tmp_path, server):
    def saying(*addresses):
        for old in tmp_path.iterdir():
            old.unlink()
        for each in addresses:
            (tmp_path / f"{each}.txt").write_text(f"{each}\n")

    return FolderSource(tmp_path), saying


def a_url(tmp_path, server):
    def saying(*addresses):
        content = "".join(f"{each}\n" for each in addresses).encode()
        mark = f'"{hash(content)}"'
        server.answer = lambda asked: (
            said(b"", "304 Not Modified") if asked.headers.get("if-none-match") == mark else said(content, ETag=mark)
        )

    return HttpSource(WebPlace.of(server.url, "tests")), saying


def a_collection(tmp_path, server):
    def saying(*addresses):
        found = [indicator(int(IPv4Address(each)), each) for each in addresses]
        page = json.dumps({"objects": found}).encode()
        server.answer = lambda asked: said(b'{"objects": []}' if "added_after" in asked.target else page)

    return TaxiiSource(WebPlace.of(server.at("/api/collections/one/"), "tests")), saying


def misp_server(tmp_path, server):
    def saying(*addresses):
        server.answer = lambda _: said(json.dumps({"response": [misp_event(each) for each in addresses]}).encode())

    return MispSource(WebPlace.of(server.url, "tests")), saying


def misp_published(tmp_path, server):
    def saying(*addresses):
        events = {found["Event"]["uuid"]: found for found in map(misp_event, addresses)}
        manifest = json.dumps({uuid: {"timestamp": "1800000000"} for uuid in events}).encode()
        server.answer = lambda asked: said(
            manifest if "manifest" in asked.target else json.dumps(events[asked.target.split("/")[-1][:-5]]).encode()
        )

    return MispFeedSource(WebPlace.of(server.at("/feed/"), "tests")), saying


def misp_event(address):
    uuid = str(UUID(int=int(IPv4Address(address)) | 4 << 76 | 8 << 60))
    attribute = {"type": "ip-dst", "category": "Network activity", "value": address, "to_ids": True, "uuid": uuid}
    return {"Event": {"uuid": uuid, "info": "x", "timestamp": "1800000000", "Attribute": [attribute]}}


@pytest.fixture(
    params=[a_file, a_folder, a_url, a_collection, misp_server, misp_published], ids=lambda make: make.__name__
)
def source(request, tmp_path):
    with served() as server:
        source, saying = request.param(tmp_path, server)
        yield source, saying, server


def listed(source, last=None):
    copy = downloaded(source, last)
    return None if copy is None else sorted(read(copy, SETTINGS, source.shown).indicators["value"])


def test_a_source_gives_everything_it_says_now(source):
    source, saying, _ = source
    saying("192.0.2.7", "198.51.100.9")
    assert listed(source) == ["192.0.2.7", "198.51.100.9"]
    saying("192.0.2.7", "203.0.113.1", "192.0.2.9")
    assert listed(source) == ["192.0.2.7", "192.0.2.9", "203.0.113.1"]


def test_a_source_that_says_nothing_new_says_so(source):
    source, saying, _ = source
    saying("192.0.2.7", "198.51.100.9")
    first = downloaded(source, None)
    again = downloaded(source, first)
    assert again is None or again.sha256 == first.sha256


def test_a_source_that_says_nothing_is_an_empty_feed(source):
    source, saying, _ = source
    saying()
    assert listed(source) == []


def test_a_source_that_fails_is_an_error_that_names_it(source, tmp_path):
    source, saying, server = source
    saying("192.0.2.7")
    server.answer = lambda _: said(b"", "500 Oops")
    for each in tmp_path.iterdir():
        each.unlink()
    tmp_path.rmdir()
    with pytest.raises(FeedError, match=re.escape(source.shown)):
        downloaded(source, None)
