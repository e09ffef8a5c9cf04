"""Redirects from a server that is on the Internet, as far as its address tells: never nearer, by what is connected to."""

from __future__ import annotations

import socket
from contextlib import contextmanager

import pytest

from feed_servers import said, served
from kernel.private_net import inside, namespaces, own, run, socket_in, why_not
from netpersona.adapters.feeds.access import Access, Limits
from netpersona.adapters.feeds.http import HttpSource
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.source import downloaded
from netpersona.errors import FeedError

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
NET = own("feed-net")
PUBLIC, OTHER_PUBLIC, INSIDE, HERE = "45.66.77.1", "45.66.77.2", "10.9.8.7", "127.0.0.1"


@pytest.fixture
def net():
    with namespaces(NET):
        run("ip", "-n", NET, "link", "set", "lo", "up")
        for address in (PUBLIC, OTHER_PUBLIC, INSIDE, "169.254.169.254"):
            run("ip", "-n", NET, "address", "add", f"{address}/32", "dev", "lo")
        yield


@contextmanager
def at(address, answer):
    listening = socket_in(NET, socket.AF_INET, socket.SOCK_STREAM)
    listening.bind((address, 0))
    listening.listen()
    with served(answer, listening=listening) as server:
        server.url = f"http://{address}:{listening.getsockname()[1]}"
        yield server


def fetched(url, last=None):
    with inside(NET):
        return downloaded(HttpSource(WebPlace.of(url, "tests"), Access(), Limits(total=10.0, stall=3.0)), last)


@pytest.mark.parametrize("nearer", [INSIDE, HERE, "169.254.169.254"])
def test_a_public_server_sends_nobody_inside(net, nearer):
    with at(nearer, lambda _: said(b"8.8.8.8\n")) as target, at(PUBLIC, None) as server:
        server.answer = lambda _: said(b"", "302 Found", Location=target.url)
        with pytest.raises(FeedError, match=f"{nearer} is {nearer}, .*it is not asked"):
            fetched(server.url)
        assert target.asked == []


def test_one_inside_sends_nobody_to_this_host_and_one_on_it_may(net):
    with at(HERE, lambda _: said(b"8.8.8.8\n")) as target, at(INSIDE, None) as server:
        server.answer = lambda _: said(b"", "302 Found", Location=target.url)
        with pytest.raises(FeedError, match="this host"):
            fetched(server.url)
        assert target.asked == []
    with at(INSIDE, lambda _: said(b"8.8.8.8\n")) as target, at(HERE, None) as server:
        server.answer = lambda _: said(b"", "302 Found", Location=target.url)
        assert fetched(server.url).content == b"8.8.8.8\n"


def test_a_way_over_another_public_server_leads_no_nearer_either(net):
    with at(HERE, None) as target, at(OTHER_PUBLIC, None) as second, at(PUBLIC, None) as first:
        first.answer = lambda _: said(b"", "302 Found", Location=second.url)
        second.answer = lambda _: said(b"", "302 Found", Location=target.url)
        with pytest.raises(FeedError, match="this host, and it may be no nearer than public"):
            fetched(first.url)
        assert (len(second.asked), target.asked) == (1, [])
        second.answer = lambda _: said(b"8.8.8.8\n")
        copy = fetched(first.url)
        assert (copy.content, copy.marks["reach"]) == (b"8.8.8.8\n", "PUBLIC")


def test_what_lies_inside_is_asked_where_a_person_named_it_and_metadata_never(net):
    with at(INSIDE, lambda _: said(b"8.8.8.8\n")) as server:
        assert fetched(server.url).marks["reach"] == "INSIDE"
    with at("169.254.169.254", lambda _: said(b"8.8.8.8\n")) as server:
        with pytest.raises(FeedError, match="an address that no feed may have"):
            fetched(server.url)
        assert server.asked == []
