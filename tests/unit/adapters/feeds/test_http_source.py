"""A document on the Web: what is asked, and every way in which a server may misbehave."""

from __future__ import annotations

import gzip
import logging
import shutil
import traceback
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed_servers import certificates, said, served
from netpersona.adapters.feeds.access import Access, Limits
from netpersona.adapters.feeds.http import HttpSource
from netpersona.adapters.feeds.place import Reach, WebPlace, reach
from netpersona.adapters.feeds.secrets import Credentials, Place
from netpersona.adapters.feeds.source import downloaded
from netpersona.adapters.feeds.web import LaterError
from netpersona.errors import FeedError

LIST = b"192.0.2.7\n198.51.100.0/24\n"
SECRET = "s3cret-0123456789abcdef"
QUICK = Limits(largest=1 << 20, total=20.0, stall=5.0)


def source(url, limits=QUICK, **access):
    return HttpSource(WebPlace.of(url, "feed tests"), Access(**access), limits)


def fetched(url, last=None, limits=QUICK, **access):
    return downloaded(source(url, limits, **access), last)


@pytest.fixture
def server():
    with served(lambda _: said(LIST)) as running:
        yield running


def test_it_gives_the_document(server):
    assert fetched(server.at("/list.txt")).content == LIST
    asked = server.asked[0]
    assert (asked.method, asked.target) == ("GET", "/list.txt")
    assert asked.headers["host"] == server.url.removeprefix("http://")
    assert asked.headers["user-agent"].startswith("netpersona/")


def test_it_asks_for_what_is_new(server):
    server.answer = lambda asked: (
        said(b"", "304 Not Modified")
        if asked.headers.get("if-none-match") == '"one"'
        else said(LIST, ETag='"one"', Last_Modified="Mon, 23 Nov 2026 10:00:00 GMT")
    )
    copy = fetched(server.at("/"))
    assert fetched(server.at("/"), copy) is None
    assert server.asked[1].headers["if-modified-since"] == "Mon, 23 Nov 2026 10:00:00 GMT"


def test_not_modified_without_having_asked_is_an_error(server):
    server.answer = lambda _: said(b"", "304 Not Modified")
    with pytest.raises(FeedError, match="it answers 304"):
        fetched(server.at("/"))


@pytest.mark.parametrize("parts", [[LIST], [LIST[:10], LIST[10:]]], ids=["whole", "in two parts"])
def test_packed_answers_are_unpacked(server, parts):
    packed = b"".join(map(gzip.compress, parts))
    server.answer = lambda _: said(packed, Content_Encoding="gzip")
    assert fetched(server.at("/")).content == LIST
    server.answer = lambda _: said(packed)  # a file that is packed
    assert fetched(server.at("/list.gz")).content == LIST


# What a server may do wrong


def test_one_that_hangs_before_it_answers_is_left(server):
    server.answer = lambda _: b"" if server.over.wait(20) else b"late"
    with pytest.raises(FeedError, match=r"nothing came for 0\.5 s"):
        fetched(server.at("/"), limits=Limits(1 << 20, 20.0, 0.5))


def test_one_that_sends_a_byte_now_and_then_is_left_in_time(server):
    def trickle(_):
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        while not server.over.wait(0.2):
            yield b"1"

    server.answer = trickle
    with pytest.raises(FeedError, match="not done within 1 s"):
        fetched(server.at("/"), limits=Limits(1 << 20, 1.0, 5.0))


def test_one_that_never_ends_its_headers_is_left_in_time(server):
    def headers(_):
        yield b"HTTP/1.1 200 OK\r\n"
        while not server.over.wait(0.2):
            yield b"X-A: b\r\n"

    server.answer = headers
    with pytest.raises(FeedError, match="not done within 1 s"):
        fetched(server.at("/"), limits=Limits(1 << 20, 1.0, 5.0))


def test_headers_without_end_are_refused(server):
    def headers(_):
        yield b"HTTP/1.1 200 OK\r\n"
        for number in range(100_000):
            yield b"X-%d: %s\r\n" % (number, b"b" * 1000)

    server.answer = headers
    with pytest.raises(FeedError, match=r"does not speak HTTP|broke"):
        fetched(server.at("/"))


def test_one_that_promises_more_than_it_sends_is_not_believed(server):
    server.answer = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + LIST
    with pytest.raises(FeedError, match="it breaks off"):
        fetched(server.at("/"))


def test_of_one_that_sends_more_than_it_promises_what_was_promised_is_taken(server):
    server.answer = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n" + LIST
    assert fetched(server.at("/")).content == LIST[:10]


@pytest.mark.parametrize("length", [b"Content-Length: 10737418240\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_ten_gigabytes_are_not_read(server, length):
    sent = 0

    def endless(_):
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\n" + length + b"\r\n"
        piece = b"192.0.2.1\n" * 100_000
        chunk = b"%x\r\n%s\r\n" % (len(piece), piece) if b"chunked" in length else piece
        while sent < 10 << 30:
            yield chunk
            sent += len(piece)

    server.answer = endless
    tracemalloc.start()
    with pytest.raises(FeedError, match="more than 1 MiB"):
        fetched(server.at("/"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sent < 100 << 20
    assert peak < 32 << 20


def test_a_bomb_in_gzip_is_not_unpacked(server):
    bomb = zlib.compressobj(9, wbits=31)
    packed = b"".join(bomb.compress(b"\0" * (1 << 20)) for _ in range(512)) + bomb.flush()  # 512 MiB in 512 KiB
    tracemalloc.start()
    for more in ({"Content_Encoding": "gzip"}, {}):
        server.answer = lambda _, more=more: said(packed, **more)
        with pytest.raises(FeedError, match=r"more than|becomes more"):
            fetched(server.at("/"), limits=Limits(32 << 20, 20.0, 5.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 128 << 20


def test_gzip_that_breaks_off_or_is_none_is_an_error(server):
    for content in (gzip.compress(LIST * 100)[:-9], b"no gzip"):
        server.answer = lambda _, content=content: said(content, Content_Encoding="gzip")
        with pytest.raises(FeedError, match="as gzip"):
            fetched(server.at("/"))
    server.answer = lambda _: said(LIST, Content_Encoding="br")
    with pytest.raises(FeedError, match="coding 'br', which was not asked for"):
        fetched(server.at("/"))


def test_what_is_no_http_is_an_error(server):
    for content in (b"\x15\x03\x01\x00\x02\x02\x16" * 20, b"", b"SSH-2.0-x\r\n\r\n"):
        server.answer = lambda _, content=content: content
        with pytest.raises(FeedError, match="does not speak HTTP"):
            fetched(server.at("/"))


@pytest.mark.parametrize("status", ["404 Gone fishing", "500 Oops", "206 Partial Content", "299 Odd"])
def test_other_statuses_are_errors_in_our_words(server, status):
    server.answer = lambda _: said(b"<script>", status)
    with pytest.raises(FeedError, match=rf"it answers {status[:3]}") as caught:
        fetched(server.at("/"))
    assert "fishing" not in str(caught.value)
    assert "script" not in str(caught.value)


def test_one_that_asks_to_come_later_says_when(server):
    server.answer = lambda _: said(b"", "429 Too Many Requests", Retry_After="120")
    with pytest.raises(LaterError) as caught:
        fetched(server.at("/"))
    assert caught.value.seconds == 120


def test_nobody_at_the_port_and_no_such_name_are_said():
    with served() as gone:
        url = gone.url
    with pytest.raises(FeedError, match=r"cannot be reached: Connection refused"):
        fetched(url)
    with pytest.raises(FeedError, match=r"cannot be resolved|was not resolved in time"):  # no resolver may answer here
        fetched("http://nobody.invalid/")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"HTTP/1.1 302 F\r\n"]
    ),
    st.lists(st.sampled_from([b"Location: ", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n"])),
    st.binary(max_size=200),
)
def test_whatever_bytes_come_it_is_a_document_or_a_clear_error(begin, middle, noise):
    with served(lambda _: begin + b"".join(middle) + noise) as server:
        try:
            wrong = None if isinstance(fetched(server.at("/")).content, bytes) else "no bytes"
        except FeedError as error:
            wrong = str(error)
        assert wrong is None or (wrong.startswith(server.url) and wrong.isprintable())


# Redirects


def redirect(location, status="302 Found"):
    return said(b"", status, Location=location)


def test_a_redirect_is_followed_and_a_move_for_good_is_told(server):
    server.answer = lambda asked: redirect("/b", "301 Moved Permanently") if asked.target == "/a" else said(LIST)
    copy = fetched(server.at("/a"))
    assert copy.content == LIST
    assert copy.notices == (f"it has moved for good to {server.at('/b')}; name that URL",)


@pytest.mark.parametrize(
    ("location", "said_so"),
    [
        ("file:///etc/passwd", "redirects to file:"),
        ("ftp://127.0.0.1/", "redirects to ftp:"),
        ("gopher://127.0.0.1:70/_x", "redirects to gopher:"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254, an address that no feed may have"),
        ("http://[::ffff:169.254.169.254]/", "an address that no feed may have"),
        ("http://0.0.0.0/", "an address that no feed may have"),
        ("http://2852039166/", "an address that no feed may have"),  # 169.254.169.254 as one number
        ("http://u:p@127.0.0.1/", "user and password"),
        ("http://[::1", "no URL"),
        ("", "more than 5 times"),
    ],
)
def test_a_redirect_to_where_no_feed_is_is_not_followed(server, location, said_so):
    server.answer = lambda _: redirect(location)
    with pytest.raises(FeedError, match=said_so):
        fetched(server.at("/"))
    assert "passwd" not in "".join(asked.target for asked in server.asked)


def test_redirects_without_end_end(server):
    server.answer = lambda asked: redirect(asked.target + "x")
    with pytest.raises(FeedError, match="more than 5 times"):
        fetched(server.at("/"))
    assert len(server.asked) == 6


def test_a_redirect_never_leads_nearer():
    order = [Reach.PUBLIC, Reach.INSIDE, Reach.HOST, Reach.NOBODY]
    assert order == sorted(order, reverse=True)
    told = {
        "9.9.9.9": 3, "2620:fe::fe": 3, "10.0.0.1": 2, "192.168.1.1": 2, "100.64.0.1": 2, "fd00::1": 2,
        "127.0.0.1": 1, "::1": 1, "::ffff:127.0.0.1": 1, "64:ff9b::7f00:1": 1, "2002:7f00:1::": 1,
        "169.254.169.254": 0, "fe80::1%lo": 0, "0.0.0.0": 0, "::": 0, "224.0.0.1": 0, "255.255.255.255": 0,
        "fd00:ec2::254": 0, "100.100.100.200": 0, "168.63.129.16": 0,
    }  # fmt: skip
    assert {address: int(reach(address)) for address in told} == told


# Credentials and certificates


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("FEED_KEY", SECRET)
    return Credentials({"X-Api-Key": Place.of("env:FEED_KEY", "tests")})


def test_credentials_are_sent_and_go_to_no_other_origin(server, key, tmp_path):
    with served(lambda _: said(LIST)) as other:
        server.answer = lambda _: redirect(other.at("/"))
        assert fetched(server.at("/"), credentials=key).content == LIST
        assert server.asked[0].headers["x-api-key"] == SECRET
        assert "x-api-key" not in other.asked[0].headers
    (tmp_path / "login").write_text("alice:pass\n")
    server.answer = lambda _: said(LIST)
    fetched(server.at("/"), credentials=Credentials(basic=Place.of(f"file:{tmp_path}/login", "tests")))
    assert server.asked[-1].headers["authorization"] == "Basic YWxpY2U6cGFzcw=="


def test_no_credential_is_seen_anywhere(server, key, caplog):
    caplog.set_level(logging.DEBUG)
    url = server.at(f"/exports/{SECRET}/recent.csv?key={SECRET}&{SECRET}")
    seen = [repr(source(url, credentials=key)), source(url).shown, repr(key), repr(WebPlace.of(url, "x"))]
    for answer in (
        lambda _: said(b"", "403 Forbidden", Location=SECRET, Retry_After=SECRET, Set_Cookie=SECRET),
        lambda _: redirect(f"https://127.0.0.1:1/{SECRET}?key={SECRET}"),
        lambda _: redirect(f"file:///{SECRET}"),
        lambda _: SECRET.encode() * 10,
        lambda _: said(SECRET.encode(), Content_Encoding="gzip"),
    ):
        server.answer = answer
        with pytest.raises(FeedError) as caught:
            fetched(url, credentials=key)
        seen += [str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value))]
    assert SECRET not in "\n".join(seen)
    assert SECRET not in caplog.text
    assert "/exports/***/recent.csv?key=***&***" in seen[0]


@pytest.mark.parametrize(
    "text", ["https://u:pw@h/", "http://u@h/", "ftp://h/", "file:///etc/passwd", "", "https://", "h"]
)
def test_urls_that_no_feed_has_are_refused_without_repeating_them(text):
    with pytest.raises(Exception, match="feed tests: ") as caught:
        WebPlace.of(text, "feed tests")
    assert "pw" not in str(caught.value)


def test_a_credential_that_is_not_there_or_is_none_is_said(server, tmp_path, monkeypatch):
    monkeypatch.delenv("FEED_KEY", raising=False)
    for place, said_so in (("env:FEED_KEY", "FEED_KEY is not set"), (f"file:{tmp_path}/no", "No such file")):
        with pytest.raises(FeedError, match=said_so):
            fetched(server.at("/"), credentials=Credentials({"X-Key": Place.of(place, "tests")}))
    monkeypatch.setenv("FEED_KEY", "two\nlines")
    with pytest.raises(FeedError, match="holds no credential") as caught:
        fetched(server.at("/"), credentials=Credentials({"X-Key": Place.of("env:FEED_KEY", "tests")}))
    assert "two" not in str(caught.value)
    assert server.asked == []


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here, which makes the certificates")
    return certificates(tmp_path_factory.mktemp("certificates"))


def test_certificates_are_verified(authority):
    with served(lambda _: said(LIST), authority.server) as server:
        with pytest.raises(FeedError, match=r"its certificate is not believed: .*; see 'ca'"):
            fetched(server.at("/"))
        assert server.asked == []
        assert fetched(server.at("/"), ca=authority.ca).content == LIST
        assert fetched(server.at("/").replace("127.0.0.1", "localhost"), ca=authority.ca).content == LIST
        assert fetched(server.at("/"), verify=False).content == LIST
    with (
        served(lambda _: said(LIST), authority.server, "127.0.0.2") as server,  # it is vouched for under other names
        pytest.raises(FeedError, match="not valid for"),
    ):
        fetched(server.at("/"), ca=authority.ca)


def test_https_never_becomes_http(authority):
    with served(lambda _: said(LIST)) as plain, served(context=authority.server) as server:
        server.answer = lambda _: redirect(plain.at("/"))
        with pytest.raises(FeedError, match="from https to http"):
            fetched(server.at("/"), ca=authority.ca)
        assert plain.asked == []


def test_a_file_of_authorities_that_is_none_is_said(server, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(FeedError, match=r"ca\.pem: cannot be read as certificates"):
        fetched(server.at("/"), ca=tmp_path / "ca.pem")


def test_a_host_that_was_public_is_not_asked_inside(server):
    copy = fetched(server.at("/"))
    assert copy.marks["reach"] == "HOST"
    copy.marks["reach"] = "PUBLIC"
    with pytest.raises(
        FeedError, match=r"127\.0\.0\.1 is 127\.0\.0\.1, this host, and it may be no nearer than public"
    ):
        fetched(server.at("/"), copy)
