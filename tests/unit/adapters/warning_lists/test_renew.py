"""Newer warning lists: fetched, held against what they replace, and never worse than what was in use."""

from __future__ import annotations

import json

import pytest

from feed_servers import said, served
from netpersona.adapters.warning_lists import bundled, loaded
from netpersona.adapters.warning_lists.renew import PARTS, renew


def published(entries, version=20270101):
    return json.dumps({"name": "x", "type": "cidr", "list": entries, "version": version}).encode()


def before(list_, owner):
    table = bundled(list_).entries
    return [value for value, whose in table.iter_rows() if whose == owner]


GOOD = {part.folder: published([*before(part.list, part.owner), "5.6.0.0/16"]) for part in PARTS}


@pytest.fixture
def server():
    with served(lambda asked: said(GOOD[asked.target.split("/")[-2]])) as running:
        yield running


def test_every_part_is_renewed_and_counts_from_then_on(server, tmp_path):
    done = renew(server.at("/lists"), tmp_path, "2027-01-02")
    assert [each.wrong for each in done] == [""] * len(PARTS)
    assert all(each.entries == each.before + 1 for each in done)
    lists, problems = loaded(tmp_path)
    assert problems == ()
    assert "warning list cdn" in lists.about("5.6.7.8")[0]
    cdn = next(each for each in lists.lists if each.name == "cdn")
    assert cdn.date == "2027-01-02"
    assert "cloudflare, fastly, imperva" in cdn.source
    assert before("cdn", "Akamai")[0] in set(cdn.entries["value"])  # what MISP has not stays


def test_a_folder_serves_as_well(tmp_path):
    for folder, content in GOOD.items():
        (tmp_path / "lists" / folder).mkdir(parents=True)
        (tmp_path / "lists" / folder / "list.json").write_bytes(content)
    assert not any(each.wrong for each in renew(str(tmp_path / "lists"), tmp_path / "state", "2027-01-02"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<html>gone</html>", "no list of MISP's"),
        (b'{"list": ["1.2.3.4"]}', "no list of MISP's"),
        (b'{"list": "1.2.3.4", "version": 1}', "no list of MISP's"),
        (b"[" * 100_000, "no list of MISP's"),
        (published([]), "0 entries"),
        (published(["1.2.3.4"] * 1_000_001), "1000001 entries"),
        (published(["5.6.7.0/24"]), "holds 0% of what it would replace"),
        (published(["103.21.244.0/22"]), "holds"),
        (published(["0.0.0.0/0"] * 5 + before("cdn", "Cloudflare")), "far too wide"),
        (published([*before("cdn", "Cloudflare"), *["not an entry!"] * 5]), "entries are no addresses"),
        (published(["10.0.0.0/8"] * 5 + before("cdn", "Cloudflare")), "entries are no addresses"),
    ],
)
def test_what_is_not_about_the_same_thing_changes_nothing(server, tmp_path, content, says):
    server.answer = lambda asked: said(content if "cloudflare" in asked.target else GOOD[asked.target.split("/")[-2]])
    done = {each.part.folder: each for each in renew(server.at(""), tmp_path, "2027-01-02")}
    assert says in done["cloudflare"].wrong
    assert done["cloudflare"].entries == done["cloudflare"].before == len(before("cdn", "Cloudflare"))
    assert done["fastly"].wrong == ""
    assert loaded(tmp_path).lists.about("104.16.1.1")


def test_a_server_that_has_nothing_leaves_the_lists_as_they_are(server, tmp_path):
    server.answer = lambda _: said(b"", "404 Not Found")
    assert all("404" in each.wrong for each in renew(server.at(""), tmp_path, "2027-01-02"))
    assert list(tmp_path.iterdir()) == []


def test_many_small_networks_are_joined(server, tmp_path):
    small = [f"5.6.{third}.{fourth}/30" for third in range(256) for fourth in range(0, 256, 4)]
    content = published([*before("cdn", "Fastly"), *small])
    server.answer = lambda asked: said(content if "fastly" in asked.target else GOOD[asked.target.split("/")[-2]])
    done = {each.part.folder: each for each in renew(server.at(""), tmp_path, "2027-01-02")}
    assert done["fastly"].entries == done["fastly"].before + 1
    assert "5.6.0.0/16" in loaded(tmp_path).lists.about("5.6.7.8")[0]


def test_a_second_renewal_is_held_against_the_first(server, tmp_path):
    more = [f"9.{2 * n}.0.0/16" for n in range(100)]
    grown = {**GOOD, "fastly": published([*before("cdn", "Fastly"), *more])}
    server.answer = lambda asked: said(grown[asked.target.split("/")[-2]])
    renew(server.at(""), tmp_path, "2027-01-02")
    server.answer = lambda asked: said(GOOD[asked.target.split("/")[-2]])
    done = {each.part.folder: each for each in renew(server.at(""), tmp_path, "2027-01-03")}
    assert "of what it would replace" in done["fastly"].wrong
    assert loaded(tmp_path).lists.about("9.2.2.3")
