"""How feeds are configured: what each key means, and what is refused without repeating a secret."""

from __future__ import annotations

import pytest

from netpersona.adapters.feeds.http import HttpSource
from netpersona.adapters.feeds.local import FileSource, FolderSource
from netpersona.adapters.feeds.misp import MispFeedSource, MispSource
from netpersona.adapters.feeds.taxii import TaxiiSource
from netpersona.app.config import read_config
from netpersona.app.feed_config import FeedSpec, feed_source
from netpersona.errors import ConfigError
from netpersona.flow.window import DAY, HOUR

SECRET = "s3cret-0123456789abcdef"


def feeds(folder, text):
    (folder / "netpersona.yaml").write_text(f"feeds:\n{text}")
    return {feed.name: feed for feed in read_config(folder / "netpersona.yaml").feeds}


def test_every_kind_of_source_is_configured(tmp_path):
    found = feeds(
        tmp_path,
        """
  - {file: bad.txt, column: 2}
  - {name: lists, folder: lists/}
  - {name: drop, url: "https://h/drop", interval: 30m, confidence: 0.95, half_life: 7d, family: kin, category: c2}
  - {name: isac, taxii: "https://h/taxii2/", collection: c, basic_from: "file:isac.login", time_limit: 10m}
  - {name: misp, misp: "https://h", headers_from: {Authorization: "env:KEY"}, ca: ca.pem, largest: 1GiB, hold: false}
  - {name: osint, misp_feed: "https://h/feed/", verify: false}
""",
    )
    kinds = {name: type(feed.source) for name, feed in found.items()}
    assert kinds == {
        "bad": FileSource,
        "lists": FolderSource,
        "drop": HttpSource,
        "isac": TaxiiSource,
        "misp": MispSource,
        "osint": MispFeedSource,
    }
    assert (found["bad"].file, found["bad"].column, found["bad"].interval) == (tmp_path / "bad.txt", 2, None)
    assert (found["drop"].interval, found["drop"].settings.half_life) == (HOUR // 2, 7 * DAY)
    assert (found["isac"].interval, found["isac"].seconds) == (HOUR, 600)
    assert str(found["isac"].source.access.credentials.basic) == f"file:{tmp_path}/isac.login"
    assert found["misp"].source.access.ca == tmp_path / "ca.pem"
    assert (found["misp"].source.limits.largest, found["misp"].hold) == (1 << 30, False)
    assert not found["osint"].source.access.verify
    for feed in found.values():  # what is stored means the same
        assert feed_source(feed.spec, None, "again").source == feed.source
    assert {name for name, feed in found.items() if feed.touches_host} == {"bad", "lists", "isac", "misp"}


@pytest.mark.parametrize(
    ("text", "said_so"),
    [
        ("- {url: 'https://h/x'}", "needs a name"),
        ("- {name: a, file: x, url: 'https://h/'}", "here is file and url"),
        ("- {name: a}", "here is none"),
        ("- {name: a, file: x}\n- {name: a, file: y}", "two feeds are named a"),
        (f"- {{name: a, url: 'https://u:{SECRET}@h/'}}", "user and password is refused"),
        (f"- {{name: a, url: 'https://h/', headers_from: {{K: {SECRET}}}}}", "never the secret itself"),
        (f"- {{name: a, url: 'https://h/', intervall: {SECRET}}}", "did you mean 'interval'"),
        (f"- {{name: a, url: 'https://h/?{SECRET}', interval: [}}", "line 2"),
        ("- {name: '../a', file: x}", "no name of a feed"),
        ("- {name: '..', file: x}", "no name of a feed"),
        ("- {name: a, url: 'https://h/', interval: 31d}", "not between 10s and 30d"),
        ("- {name: a, url: 'https://h/', basic_from: 'env:A', headers_from: {authorization: 'env:B'}}", "the same"),
        ("- {name: a, url: 'https://h/', headers_from: {'X-A\\r\\nHost': 'env:B'}}", "no header"),
        ("- {name: a, url: 'https://h/', headers_from: {X: 'env:A B'}}", "no name of an environment variable"),
    ],
)
def test_what_no_feed_can_be_is_refused_and_no_secret_repeated(tmp_path, text, said_so):
    with pytest.raises(ConfigError, match=said_so) as caught:
        feeds(tmp_path, text)
    assert SECRET not in str(caught.value)


def test_no_secret_is_in_what_a_configuration_prints_as(tmp_path):
    found = feeds(tmp_path, f"- {{name: a, url: 'https://h/{SECRET}?k={SECRET}'}}")
    assert SECRET not in repr(found)
    assert SECRET not in repr(read_config(tmp_path / "netpersona.yaml"))
    assert SECRET not in repr(FeedSpec(name="a", url=f"https://h/{SECRET}"))
