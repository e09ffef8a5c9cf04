"""A poisoned feed over real HTTP to a running controller: what it may not list is refused, the true entry is enforced."""

from __future__ import annotations

import json
import socket

import pytest

from feed_servers import said, served
from kernel.live_host import BAD, CONFIG, GOOD, HOST, OTHER, A, Up, net, reaches, rules
from kernel.private_net import socket_in, why_not
from netpersona.app.client import Controller
from waiting import until

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

POISONED = f"""\
# sold as bad addresses
8.8.8.8
1.1.1.1
10.0.0.0/8
0.0.0.0
{BAD}
"""
SECRET = "s3cret-0123456789abcdef"


@pytest.fixture
def server():
    with net():
        listening = socket_in(HOST, socket.AF_INET, socket.SOCK_STREAM)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with served(lambda _: said(POISONED.encode(), ETag='"one"'), listening=listening) as running:
            yield running


def up(folder, server, monkeypatch):
    """The controller with that feed in its configuration, and a key for it in its environment."""
    monkeypatch.setenv("FEED_KEY", SECRET)
    running = Up(folder)
    feed = (
        f"{{url: 'http://127.0.0.1:{server.url.rpartition(':')[2]}/list?key={SECRET}', name: far, interval: 10s,"
        " confidence: 0.95, allow: [documentation], headers_from: {X-Key: 'env:FEED_KEY'}}"
    )
    text = CONFIG.format(store="netpersona.db")
    (folder / "netpersona.yaml").write_text(text.replace("[{file: bad.txt", f"[{feed}, {{file: bad.txt"))
    running.feed.write_text("")
    return running


def far(running):
    return Controller(running.socket).feed("far")


def test_of_a_poisoned_feed_only_the_true_entry_is_enforced(server, tmp_path, monkeypatch):
    running = up(tmp_path, server, monkeypatch)
    try:
        running.start()
        running.ready()
        until(lambda: f"{BAD}" in rules(), "the true entry is in the kernel", within=60.0)
        assert not reaches(A, BAD)
        assert reaches(A, GOOD)
        told = far(running)
        assert told["indicators"] == 1
        refused = {each["value"]: each["reason"] for each in told["refusals"]}
        assert sorted(refused) == ["0.0.0.0", "1.1.1.1", "10.0.0.0/8", "8.8.8.8"]
        for value, word in (
            ("8.8.8.8", "resolver"),
            ("1.1.1.1", "resolver"),
            ("10.0.0.0/8", "private"),
            ("0.0.0.0", "res"),
        ):
            assert word in refused[value], refused[value]
        assert server.asked[0].headers["x-key"] == SECRET

        server.answer = lambda _: said(b"", "302 Found", Location="http://169.254.169.254/latest/meta-data/")
        running.ask.refresh_feed("far", whole=False)
        until(lambda: far(running)["reading"]["error"] is not None, "status tells that it fails", within=60.0)
        assert "no feed may have" in far(running)["says"]
        server.answer = lambda _: said(b"")  # nothing at all: held
        running.ask.refresh_feed("far", whole=False)
        until(lambda: far(running)["reading"]["held"] is not None, "what shrank is held", within=60.0)
        assert not reaches(A, BAD)

        running.kill()
        server.answer = lambda _: b""  # no network any more
        running.start()
        running.ready()
        assert not reaches(A, BAD)
        assert BAD in rules()
        assert far(running)["reading"]["held"]["entries"] == 0
        running.ask.decide_feed("far", "it is really empty now", accept=True)
        until(lambda: reaches(A, BAD), "what was accepted is in the kernel", within=30.0)
        assert reaches(A, OTHER)
        told = json.dumps([running.ask.feeds(), running.ask.health()]) + running.told("feed", "show", "far").stdout
        log = running.log.read_text()
        assert SECRET not in told + log
        assert "feed far: " in log
        assert "key=***" in told
        assert (tmp_path / "netpersona.db.feeds").stat().st_mode & 0o777 == 0o700
    finally:
        running.close()
