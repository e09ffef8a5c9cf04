"""Collections of a real TAXII 2.1 server, and answers that no good one gives."""

from __future__ import annotations

import importlib.util
import json

import pytest

from feed_servers import said, served
from netpersona.adapters.feeds.access import Access, Limits
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.secrets import Credentials, Place
from netpersona.adapters.feeds.source import downloaded
from netpersona.adapters.feeds.taxii import TaxiiSource
from netpersona.errors import FeedError
from taxii_server import COLLECTION, PASSWORD, USER, indicator, taxii

QUICK = Limits(total=20.0, stall=5.0)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    if importlib.util.find_spec("medallion") is None:
        pytest.skip("medallion is not installed, the TAXII server of the tests")
    with taxii(tmp_path_factory.mktemp("taxii"), [indicator(n, f"192.0.2.{n}") for n in range(12)]) as server:
        yield server


@pytest.fixture
def access(monkeypatch):
    monkeypatch.setenv("TAXII_LOGIN", f"{USER}:{PASSWORD}")
    return Access(Credentials(basic=Place.of("env:TAXII_LOGIN", "tests")))


def source(url, access=None, collection=None):
    return TaxiiSource(WebPlace.of(url, "tests"), collection, access or Access(), QUICK)


def objects(copy):
    return {each["id"]: each for each in json.loads(copy.content)["objects"]}


@pytest.mark.parametrize(
    ("where", "collection"),
    [
        ("taxii2/", None),
        ("taxii2/", COLLECTION),
        ("taxii2/", "Bad addresses"),
        ("api1/", None),
        (f"api1/collections/{COLLECTION}/", None),
        (f"api1/collections/{COLLECTION}/objects/", None),
    ],
)
def test_a_collection_is_found_from_anywhere_and_read_page_by_page(running, access, where, collection):
    copy = downloaded(source(f"{running.url}/{where}", access, collection), None)
    assert len(objects(copy)) >= 12  # pages of 5
    assert copy.marks["collection"] == COLLECTION


def test_only_what_was_added_is_fetched_and_the_newest_version_stays(running, access):
    asking = source(running.discovery, access)
    first = downloaded(asking, None)
    assert downloaded(asking, first) is None
    running.add(indicator(3, "198.51.100.3", version=5), indicator(77, "198.51.100.77"), indicator(4, "0.0.0.4"))
    second = downloaded(asking, first)
    changed = {key: value["pattern"] for key, value in objects(second).items() if value != objects(first).get(key)}
    assert sorted(changed.values()) == ["[ipv4-addr:value = '198.51.100.3']", "[ipv4-addr:value = '198.51.100.77']"]
    assert len(objects(second)) == len(objects(first)) + 1
    assert second.marks["added"] > first.marks["added"]
    assert objects(downloaded(asking, None)) == objects(second)  # the whole anew is the same


def test_without_the_password_it_says_so_and_shows_none(running, access, monkeypatch):
    monkeypatch.setenv("TAXII_LOGIN", f"{USER}:wrong-{PASSWORD}")
    with pytest.raises(FeedError, match="401 Unauthorized: credentials are missing or refused") as caught:
        downloaded(source(running.discovery, access), None)
    assert PASSWORD not in str(caught.value)


def test_a_collection_that_is_not_there_is_named_with_those_that_are(running, access):
    with pytest.raises(FeedError, match=rf"there is no collection 'Worse'; there is 'Bad addresses' \({COLLECTION}\)"):
        downloaded(source(running.discovery, access, "Worse"), None)


# Answers that no good server gives


def envelope(*found, **more):
    return json.dumps({"objects": found, **more}).encode()


@pytest.fixture
def server():
    with served() as running:
        yield running


def at(server):
    return source(server.at("/root/collections/one/"))


@pytest.mark.parametrize(
    ("content", "said_so"),
    [
        (b"<html>", "no JSON of TAXII 2.1"),
        (b"[" * 100_000, "no JSON of TAXII 2.1"),
        (b'{"objects": 3}', "no JSON of TAXII 2.1"),
        (b'{"objects": [], "more": true}', "not where"),
    ],
)
def test_an_answer_that_is_no_envelope_is_an_error(server, content, said_so):
    server.answer = lambda _: said(content)
    with pytest.raises(FeedError, match=said_so):
        downloaded(at(server), None)


def test_pages_without_end_end(server):
    numbers = iter(range(10**9))
    filler = "x" * 50_000

    def page(_):
        number = next(numbers)
        return said(envelope(indicator(number, "192.0.2.1", name=filler), more=True, next=str(number)))

    server.answer = page
    small = TaxiiSource(WebPlace.of(server.at("/r/collections/one/"), "t"), None, Access(), Limits(1 << 20, 20.0, 5.0))
    with pytest.raises(FeedError, match="more than 1 MiB"):
        downloaded(small, None)


def test_a_server_without_next_is_asked_on_by_the_time_of_the_last_object(server):
    pages = {
        None: (indicator(1, "192.0.2.1"), "2026-11-01T00:00:01Z", True),
        "2026-11-01T00:00:01Z": (indicator(2, "192.0.2.2"), "2026-11-01T00:00:02Z", False),
    }

    def page(asked):
        after = asked.target.partition("added_after=")[2].partition("&")[0].replace("%3A", ":") or None
        found, last, more = pages[after]
        return said(envelope(found, "no object", {"id": 3}, more=more), X_TAXII_Date_Added_Last=last)

    server.answer = page
    copy = downloaded(at(server), None)
    assert len(objects(copy)) == 2
    assert copy.marks["added"] == "2026-11-01T00:00:02Z"


def test_a_discovery_that_sends_us_elsewhere_gets_no_credential_and_no_metadata(server, access):
    for root, said_so in (
        ("http://169.254.169.254/api/", "an address that no feed may have"),
        ("file:///etc/", "redirects to file:"),
    ):
        server.answer = lambda _, root=root: said(json.dumps({"default": root, "api_roots": [root]}).encode())
        with pytest.raises(FeedError, match=said_so):
            downloaded(source(server.at("/taxii2/"), access), None)
    with served(lambda _: said(b'{"collections": []}')) as other:
        root = other.at("/api/")
        server.answer = lambda _: said(json.dumps({"api_roots": [root]}).encode())
        with pytest.raises(FeedError, match="none that may be read"):
            downloaded(source(server.at("/taxii2/"), access), None)
        assert "authorization" in server.asked[-1].headers
        assert "authorization" not in other.asked[0].headers


def test_ids_that_are_paths_are_passed_over(server):
    strange = [{"id": each, "title": "x", "can_read": True} for each in ("../../admin", "..", "a/b", 7, "a?b")]
    server.answer = lambda asked: said(
        json.dumps({"collections": strange} if asked.target.endswith("collections/") else {}).encode()
    )
    with pytest.raises(FeedError, match="none that may be read"):
        downloaded(source(server.at("/root/")), None)
