"""What every Sink owes its callers, wherever it tells findings."""

import json
from functools import partial

import httpx
import pytest

from feed_servers import said, served
from netpersona.adapters.feeds.access import Access
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.secrets import Credentials, Place
from netpersona.adapters.sinks.ocsf import OcsfFile, OcsfHttp
from netpersona.adapters.sinks.stix import StixFile, StixTaxii
from netpersona.adapters.sinks.stix_objects import Teller
from netpersona.adapters.sinks.web import Server
from netpersona.errors import SinkError
from netpersona.flow.window import DAY
from netpersona.ports import News
from taxii_server import ACCEPT, COLLECTION, PASSWORD, USER, taxii
from told_findings import AT, EVERY_KIND, finding

TELLER = Teller()


def ocsf_file(tmp_path, _):
    path = tmp_path / "findings.jsonl"
    return (
        OcsfFile(path),
        lambda: (
            [json.loads(line)["finding_info"]["uid"] for line in path.read_text().splitlines()] if path.exists() else []
        ),
    )


def ocsf_http(_, servers):
    taken = []

    def answer(request):
        taken.extend(json.loads(line)["finding_info"]["uid"] for line in request.body.splitlines())
        return said(b"", "204 No Content")

    server = servers(partial(served, answer))
    return OcsfHttp(Server(WebPlace.of(server.at("/in"), "tests"), Access())), lambda: taken


def stix_file(tmp_path, _):
    path = tmp_path / "share.json"
    return StixFile(path, TELLER), lambda: sightings(json.loads(path.read_text())) if path.exists() else []


def stix_taxii(tmp_path, servers):
    (tmp_path / "login").write_text(f"{USER}:{PASSWORD}\n")
    server = servers(partial(taxii, tmp_path))
    place = WebPlace.of(f"{server.root}collections/{COLLECTION}/", "tests")
    access = Access(Credentials(basic=Place("file", str(tmp_path / "login"))))
    return StixTaxii(Server(place, access), TELLER), lambda: sightings(collected(server))


def collected(server):
    """Everything in the collection, page by page."""
    found, more = [], {"limit": "1000"}
    while True:
        answer = httpx.get(
            f"{server.root}collections/{COLLECTION}/objects/",
            params=more,
            auth=(USER, PASSWORD),
            headers=ACCEPT,
            timeout=300,
        ).json()
        found += answer.get("objects", [])
        if not answer.get("more"):
            return {"objects": found}
        more["next"] = answer["next"]


def sightings(said):
    return [each["id"] for each in said.get("objects", []) if each["type"] == "sighting"]


@pytest.fixture
def servers():
    running = []

    def run(make):
        context = make()
        running.append(context)
        return context.__enter__()

    yield run
    for context in running:
        context.__exit__(None, None, None)


@pytest.fixture(params=[ocsf_file, ocsf_http, stix_file, stix_taxii], ids=lambda make: make.__name__)
def sink(request, tmp_path, servers):
    return request.param(tmp_path, servers)


def news(*findings, again=False):
    return [News(each, again) for each in findings]


def test_all_findings_are_told_or_counted(sink):
    told = sink[0].tell(news(*EVERY_KIND))
    assert (told.taken + told.left_out, told.refused) == (len(EVERY_KIND), 0)
    assert told.left_out in (0, 1)
    assert len(set(sink[1]())) >= told.taken


def test_telling_again_says_nothing_new(sink):
    sink[0].tell(news(finding()))
    once = set(sink[1]())
    sink[0].tell(news(finding(), again=True))
    sink[0].tell(news(finding(last_seen=AT + DAY), again=True))
    assert set(sink[1]()) == once


def test_nothing_is_told_of_nothing(sink):
    assert sink[0].tell([]).taken == 0


def test_it_says_where_it_tells_and_no_secret(sink):
    assert sink[0].place.startswith(("OCSF to ", "STIX to "))
    assert PASSWORD not in sink[0].place + repr(sink[0])


def failing(kind, tmp_path, servers):
    """A sink whose other side is not as it should be."""
    place = WebPlace.of(servers(partial(served, lambda _: said(b"secret-0815", "503 Busy"))).url, "tests")
    (tmp_path / "no-folder").write_text("")
    return {
        "ocsf_file": OcsfFile(tmp_path / "no-folder" / "f"),
        "ocsf_http": OcsfHttp(Server(place, Access())),
        "stix_file": StixFile(tmp_path / "no-folder" / "f", TELLER),
        "stix_taxii": StixTaxii(Server(place, Access()), TELLER),
    }[kind]


@pytest.mark.parametrize("kind", ["ocsf_file", "ocsf_http", "stix_file", "stix_taxii"])
def test_a_failure_is_a_sink_error_that_repeats_nothing(kind, tmp_path, servers):
    with pytest.raises(SinkError) as error:
        failing(kind, tmp_path, servers).tell(news(finding()))
    assert "secret-0815" not in str(error.value)
