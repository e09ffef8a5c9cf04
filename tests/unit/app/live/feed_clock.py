"""Feeds that are read when an instant says so: nothing sleeps, a reading is waited for."""

from __future__ import annotations

from netpersona.app.feed_config import FeedSpec, feed_source
from netpersona.app.live.feed_fetching import LiveFeeds
from netpersona.app.live.feed_reading import read_feed, read_here
from netpersona.flow.window import SECOND
from waiting import until

AT = 1_800_000_000 * SECOND


def lines(*hosts):
    return "".join(f"8.8.{host // 256}.{host % 256}\n" for host in hosts).encode()


def url(server, **more):
    return feed_source(FeedSpec(url=server.at("/list.txt"), **{"name": "far", "interval": "1h", **more}), None, "tests")


def hanging(server):
    def answer(_):
        server.over.wait(30)
        return b""

    return answer


class Clock:
    """LiveFeeds and an instant; nothing sleeps, a reading is waited for.  `beside`: in processes of their own."""

    def __init__(self, folder, *sources, at=AT, kept=None, beside=False):
        self.feeds, self.at = LiveFeeds(sources, folder / "feeds", read_feed if beside else read_here), at
        self.feeds.resume(kept)
        self.feeds.start(at)

    def later(self, span):
        """What has changed after so long, once everything that was due is read."""
        self.at += span
        changed = self.feeds.look(self.at)
        self.done()
        return changed | self.feeds.look(self.at)

    def done(self):
        until(lambda: not any(self.feeds.fetching(name).running for name in self.feeds.names), "all is read")

    def values(self, name="far"):
        found = self.feeds.said(name)
        return None if found is None else found.indicators["value"].to_list()

    def state(self, name="far"):
        return self.feeds.fetching(name)
