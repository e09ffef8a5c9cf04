import pytest

from netpersona.adapters.sinks.ocsf import OcsfFile, OcsfHttp
from netpersona.adapters.sinks.stix import StixFile, StixTaxii
from netpersona.app.config import read_config
from netpersona.app.outlets import Outlets
from netpersona.errors import ConfigError
from told_findings import finding

SINKS = """\
sinks:
  - {kind: ocsf, file: findings.jsonl, everything: true}
  - {kind: ocsf, url: "https://siem.example/ingest", headers_from: {Authorization: "env:SIEM_TOKEN"}}
  - {kind: stix, file: share.json, producer: ACME SOC, tlp: green, vms: true}
  - {kind: stix, taxii: "https://isac.example/api1/collections/ID/", basic_from: "file:isac.login"}
"""


def configured(tmp_path, text):
    path = tmp_path / "netpersona.yaml"
    path.write_text(text)
    return read_config(path).sinks


def test_each_kind_is_made_as_it_says(tmp_path):
    found = configured(tmp_path, SINKS)
    assert [type(each.sink) for each in found] == [OcsfFile, OcsfHttp, StixFile, StixTaxii]
    assert [each.everything for each in found] == [True, False, False, False]
    assert found[0].sink.path == tmp_path / "findings.jsonl"
    assert (found[2].sink.teller.name, found[2].sink.teller.tlp, found[2].sink.teller.vms) == (
        "ACME SOC",
        "green",
        True,
    )
    assert str(found[3].sink.server.access.credentials.basic) == f"file:{tmp_path / 'isac.login'}"


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ("{kind: syslog, file: f}", "syslog"),
        ("{kind: ocsf}", "a sink of kind ocsf has one of file or url; here is none"),
        ("{kind: ocsf, file: f, url: 'https://a.example/'}", "here is file and url"),
        ("{kind: stix, url: 'https://a.example/'}", "a sink of kind stix has one of file or taxii; here is url"),
        ("{kind: ocsf, file: f, ca: ca.pem}", "mean nothing for a file"),
        ("{kind: ocsf, file: f, vms: true}", "are for stix"),
        ("{kind: ocsf, url: 'https://a.example/', ca: c, verify: false}", "contradict each other"),
        (
            "{kind: ocsf, url: 'https://a.example/', headers_from: {Authorization: hush-0815}}",
            "never the secret itself",
        ),
        ("{kind: ocsf, url: 'https://hush-0815@a.example/'}", "sinks"),
        ("{kind: stix, file: f, tlp: purple}", "purple"),
        ("{kind: ocsf, path: f}", "unknown key 'path'"),
    ],
)
def test_what_means_nothing_is_refused_and_no_secret_is_repeated(tmp_path, sink, said):
    with pytest.raises(ConfigError, match=said) as error:
        configured(tmp_path, f"sinks: [{sink}]")
    assert "hush-0815" not in str(error.value)


def test_all_of_them_are_told(tmp_path):
    text = "sinks: [{kind: ocsf, file: f.jsonl}, {kind: stix, file: s.json}]"
    outlets = Outlets(configured(tmp_path, text))
    outlets.give([finding()])
    outlets.give([finding()])
    outlets.stop()
    assert [(state.taken, state.error) for state in outlets.states()] == [(1, None), (1, None)]
    assert len((tmp_path / "f.jsonl").read_text().splitlines()) == 1
    assert (tmp_path / "s.json").exists()
