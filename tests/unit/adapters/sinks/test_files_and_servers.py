"""Files that are moved, full or others'; servers that hang, lie, redirect and refuse."""

import json

import pytest

from feed_servers import certificates, said, served
from netpersona.adapters.feeds.access import Access
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.secrets import Credentials, Place
from netpersona.adapters.sinks import web
from netpersona.adapters.sinks.ocsf import OcsfFile, OcsfHttp
from netpersona.adapters.sinks.stix import StixFile, StixTaxii
from netpersona.adapters.sinks.stix_objects import Teller
from netpersona.adapters.sinks.web import Server
from netpersona.errors import SinkError
from netpersona.flow.window import DAY
from netpersona.ports import News
from told_findings import AT, finding

NEWS = [News(finding(), again=False)]
SECRET = "tell-nobody-0123456789"


def http(url, **access):
    return OcsfHttp(Server(WebPlace.of(url, "tests"), Access(**access)))


def test_a_file_that_was_moved_away_is_made_anew_and_only_its_owners_read_it(tmp_path):
    sink = OcsfFile(tmp_path / "f.jsonl")
    sink.tell(NEWS)
    (tmp_path / "f.jsonl").rename(tmp_path / "f.jsonl.1")
    sink.tell(NEWS * 2)
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("f.jsonl.1", "f.jsonl")] == [1, 2]
    assert (tmp_path / "f.jsonl").stat().st_mode & 0o007 == 0


def test_a_disk_that_is_full_keeps_no_half_of_a_line(tmp_path):
    import resource
    import signal

    sink = OcsfFile(tmp_path / "f.jsonl")
    sink.tell(NEWS)
    before = (tmp_path / "f.jsonl").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    told = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
        with pytest.raises(SinkError, match="File too large; findings wait"):
            sink.tell(NEWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, told)
    assert (tmp_path / "f.jsonl").read_bytes() == before


def test_a_bundle_holds_the_last_sightings_and_nothing_that_none_needs(tmp_path):
    sink = StixFile(tmp_path / "share.json", Teller(), most=2)
    for number in range(4):
        sink.tell([News(finding(id=str(number), last_seen=AT + number * DAY), again=False)])
    held = json.loads((tmp_path / "share.json").read_text())["objects"]
    assert sorted(each["last_seen"][:10] for each in held if each["type"] == "sighting") == ["2025-10-11", "2025-10-12"]
    assert len([each for each in held if each["type"] == "indicator"]) == 2
    assert len([each for each in held if each["type"] == "identity"]) == 1
    named = {each["id"] for each in held}
    assert {each["source_ref"] for each in held if each["type"] == "relationship"} <= named


@pytest.mark.parametrize("content", [b"", b"{", b'{"type": "report"}', b"\0\1", b"[" * 100_000])
def test_a_file_that_is_no_bundle_is_left_alone(tmp_path, content):
    path = tmp_path / "share.json"
    path.write_bytes(content)
    with pytest.raises(SinkError, match="is no STIX bundle of ours, so it is left alone"):
        StixFile(path, Teller()).tell(NEWS)
    assert path.read_bytes() == content


def test_others_objects_in_a_bundle_do_no_harm(tmp_path):
    path = tmp_path / "share.json"
    strange = [{}, {"id": 7}, {"id": "x--1", "type": "sighting", "last_seen": 3, "where_sighted_refs": [[1], None]}]
    path.write_text(json.dumps({"type": "bundle", "id": "bundle--1", "objects": strange}))
    StixFile(path, Teller()).tell(NEWS)
    assert {"indicator", "sighting"} <= {each["type"] for each in json.loads(path.read_text())["objects"]}


def test_credentials_are_sent_and_never_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("SIEM", SECRET)
    with served(lambda _: said(SECRET.encode(), "401 No")) as server:
        sink = http(server.at("/in"), credentials=Credentials({"Authorization": Place("env", "SIEM")}))
        with pytest.raises(SinkError, match="401: the credentials are missing or wrong") as error:
            sink.tell(NEWS)
    assert server.asked[0].headers["authorization"] == SECRET
    assert SECRET not in str(error.value) + repr(sink) + sink.place
    monkeypatch.delenv("SIEM")
    with pytest.raises(SinkError, match="environment variable SIEM is not set"):
        sink.tell(NEWS)


def test_a_redirect_is_not_followed_and_carries_no_credential(monkeypatch):
    monkeypatch.setenv("SIEM", SECRET)
    with served() as other, served(lambda _: said(b"", "307 There", Location=other.at("/x"))) as server:
        sink = http(server.at("/in"), credentials=Credentials({"Authorization": Place("env", "SIEM")}))
        with pytest.raises(SinkError, match="307; it redirects: name the place itself"):
            sink.tell(NEWS)
        assert not other.asked


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (lambda _: b"no HTTP at all\r\n\r\n", "the connection failed"),
        (lambda _: said(b"x", "200 OK")[:-1], "the connection failed"),
        (lambda _: said(b"x" * (3 << 20)), "too long"),
    ],
    ids=["no HTTP", "breaks off", "floods"],
)
def test_a_bad_server_is_survived(answer, wrong):
    with served(answer) as server, pytest.raises(SinkError, match=wrong):
        http(server.at("/in")).tell(NEWS)


def test_a_server_that_hangs_is_survived(monkeypatch):
    monkeypatch.setattr(web, "_PATIENCE", 0.3)
    with served() as server:
        server.answer = lambda _: b"" if server.over.wait(60) else b"late"
        with pytest.raises(SinkError, match="did not answer in time"):
            http(server.at("/in")).tell(NEWS)


def test_a_server_that_nobody_runs_is_told():
    with served() as server:
        pass
    with pytest.raises(SinkError, match="ConnectError: the connection failed"):
        http(server.at("/in")).tell(NEWS)


def test_certificates_are_believed_only_where_that_was_said(tmp_path):
    known = certificates(tmp_path)
    with served(lambda _: said(b""), known.server) as server:
        with pytest.raises(SinkError, match="the connection failed"):
            http(server.at("/in")).tell(NEWS)
        assert http(server.at("/in"), ca=known.ca).tell(NEWS).taken == 1
        assert http(server.at("/in"), verify=False).tell(NEWS).taken == 1
        with pytest.raises(SinkError, match="cannot be read as certificates"):
            http(server.at("/in"), ca=tmp_path / "names").tell(NEWS)


def test_no_proxy_of_the_environment_is_asked(monkeypatch):
    with served(lambda _: said(b"")) as proxy, served(lambda _: said(b"")) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        http(server.at("/in")).tell(NEWS)
        assert not proxy.asked


@pytest.mark.parametrize(
    ("answer", "refused"),
    [(b'{"id": "x", "status": "complete", "failure_count": 2}', 2), (b'{"status": "pending"}', 0)],
)
def test_what_a_taxii_server_refuses_is_counted(answer, refused):
    with served(lambda _: said(answer, "202 Accepted")) as server:
        place = WebPlace.of(server.at("/api/collections/1"), "tests")
        assert StixTaxii(Server(place, Access()), Teller()).tell(NEWS).refused == refused
        assert [request.target for request in server.asked] == ["/api/collections/1/objects/"]
        assert server.asked[0].headers["content-type"] == "application/taxii+json;version=2.1"


def test_what_is_no_taxii_server_is_told():
    with served(lambda _: said(b"<html>", "200 OK")) as server:
        place = WebPlace.of(server.at("/api/collections/1/"), "tests")
        with pytest.raises(SinkError, match="no TAXII status; is it a collection"):
            StixTaxii(Server(place, Access()), Teller()).tell(NEWS)


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path):
    path = tmp_path / "share.json"
    path.mkdir()
    with pytest.raises(SinkError):
        StixFile(path, Teller()).tell(NEWS)
    assert [each.name for each in tmp_path.iterdir()] == ["share.json"]
