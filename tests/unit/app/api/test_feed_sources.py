"""Feeds added, shown, read, decided on and removed: by commands, over the API, in a controller that runs."""

from __future__ import annotations

import json
import logging
import os
import pwd
import threading
from dataclasses import replace

import pytest

from feed_servers import said, served
from netpersona.app.api import feeds as operations
from netpersona.app.api.access import Caller
from netpersona.app.api.server import Server
from netpersona.app.cli import main
from netpersona.errors import ConfigError, NetpersonaError
from netpersona.intel.precision import Record
from unit.app.api.test_real_controller import Strict
from unit.app.live.rig import LOW_REPUTATION, WEB, Rig, passes
from waiting import until

SECRET = "s3cret-0123456789abcdef"
POISONED = b"45.66.77.88\n10.0.0.0/8\n0.0.0.0\n"


class Live:
    """A controller that runs and is served."""

    def __init__(self, folder, **more):
        self.rig = Rig(folder, LOW_REPUTATION, **more)
        self.rig.turns(3)
        self._runs = threading.Thread(target=self.rig.controller.run)
        self._runs.start()
        self.server = Server(self.rig.controller, folder / "api.sock")
        self.server.start()
        self.ask = Strict(self.server.path)

    def close(self):
        self.server.stop()
        self.rig.controller.stop()
        self._runs.join(300)


@pytest.fixture
def live(tmp_path):
    running = Live(tmp_path)
    yield running
    running.close()


@pytest.fixture
def run(live, capsys, monkeypatch):
    """Runs a command against the controller; gives what it printed."""
    monkeypatch.setenv("NETPERSONA_SOCKET", str(live.server.path))
    monkeypatch.setenv("COLUMNS", "250")

    def runs(*words):
        try:
            main(["feed", *words])
        except SystemExit as ended:
            return ended.code, capsys.readouterr().err
        return 0, capsys.readouterr().out

    return runs


@pytest.fixture
def server():
    with served(lambda _: said(POISONED)) as running:
        yield running


def test_a_feed_is_added_read_and_enforced_and_what_it_may_not_list_is_shown(live, run, server):
    code, told = run(
        "add", "far", "--url", server.at("/list"), "--interval", "10m", "--confidence", "0.95", "-o", "json"
    )
    assert code == 0, told
    feed = json.loads(told)
    assert feed["source"] == {"kind": "url", "where": server.at("/list"), "added": True, "interval": 600.0}
    assert (feed["indicators"], feed["counts"], feed["refused"]) == (1, {"address": 1}, 2)
    assert [each["value"] for each in feed["refusals"]] == ["10.0.0.0/8", "0.0.0.0"]
    assert feed["reading"]["error"] is None
    until(lambda: not passes(live.rig, WEB, "45.66.77.88"), "what it lists is denied", within=60)
    code, told = run("show", "far")
    for word in ("1 indicator: 1 address", "every 600 s", "10.0.0.0/8", "private", "0.95"):
        assert word in told
    assert "far" in run("list")[1]
    code, told = run("remove", "far", "--why", "a test")
    assert told == "Feed far is forgotten, with 1 indicator.\n"
    until(lambda: passes(live.rig, WEB, "45.66.77.88"), "what it listed is denied no more", within=60)
    assert run("show", "far")[0] != 0


def test_it_is_told_which_feed_earns_its_place(live, run, server):
    server.answer = lambda _: said("".join(f"45.66.77.{n}\n" for n in range(1, 41)).encode())
    run("add", "far", "--url", server.at("/list"), "--floor", "0.8", "--least", "10")
    server.answer = lambda _: said("".join(f"45.66.77.{n}\n" for n in range(1, 31)).encode())
    run("add", "small", "--url", server.at("/part"), "--family", "own")
    until(lambda: live.ask.feed("small")["worth"], "it is worked in", within=60)
    worth = live.ask.feed("small")["worth"]
    assert worth["says"] == "can go: all of its entries are in far"
    assert (worth["unique"], worth["shared_with"], worth["precision"]) == (0.0, {"far": 30}, None)
    assert (worth["low"], worth["high"], worth["sightings"], worth["freshness"]) == (0.0, 1.0, 0, 1.0)
    assert (live.ask.feed("far")["worth"]["floor"], live.ask.feed("far")["worth"]["least"]) == (0.8, 10.0)
    code, told = run("show", "far")
    assert code == 0
    for word in ("not known yet", "25% of it no other feed lists; shared with small (30)", "floor 0.8 from 10 judged"):
        assert word in told
    assert json.loads(run("show", "small", "-o", "json")[1])["worth"] == worth
    trust = live.rig.controller.loop.threats.trust._trust
    trust.ledger = replace(trust.ledger, feeds={"far": Record(log_only_since=live.rig.sensor.at)})
    assert "log-only since" in run("show", "far")[1]
    assert "log-only" in run("list")[1]


def test_one_that_shrinks_is_held_and_a_person_decides(live, run, server):
    server.answer = lambda _: said("".join(f"45.66.77.{n}\n" for n in range(1, 21)).encode())
    run("add", "far", "--url", server.at("/list"))
    server.answer = lambda _: said(b"45.66.77.1\n")
    _, told = run("refresh", "far")
    assert "it shrank from 20 to 1 entries" in told
    assert live.ask.feed("far")["indicators"] == 20
    assert not next(part for part in live.ask.health()["parts"] if part["name"] == "feed far")["well"]
    assert "held" in run("list")[1]
    assert run("refuse", "far", "--why", "cut short")[0] == 0
    assert live.ask.feed("far")["reading"]["held"] is None
    server.answer = lambda _: said(b"45.66.77.2\n")
    assert "--accept needs --why" in run("refresh", "far", "--accept")[1]
    _, told = run("refresh", "far", "--accept", "--why", "they moved")
    assert f"accepted by {pwd.getpwuid(os.geteuid()).pw_name}" in told
    assert live.ask.feed("far")["indicators"] == 1


def test_feeds_that_were_added_outlast_a_restart_and_need_no_network_then(tmp_path, server):
    from netpersona.adapters.stores.sqlite import SqliteStore

    first = Live(tmp_path, store=SqliteStore(f"sqlite:///{tmp_path}/a.db"))
    try:
        first.ask.add_feed({"name": "far", "url": server.at(f"/l?key={SECRET}")})
        until(lambda: first.ask.feed("far")["indicators"] == 1, "it was read", within=60)
        at = first.rig.sensor.at
    finally:
        first.close()
    server.answer = lambda _: b""
    second = Live(tmp_path, store=SqliteStore(f"sqlite:///{tmp_path}/a.db"), at=at)
    try:
        assert second.ask.feed("far")["source"]["where"] == server.at("/l?key=***")
        assert second.ask.feed("far")["source"]["added"]
    finally:
        second.close()


@pytest.mark.parametrize(
    ("words", "said_so"),
    [
        (("--url", "https://u:{0}@h/x"), "user and password is refused"),
        (("--url", "file:///etc/passwd"), "no URL of http or https"),
        (("--url", "http://h/", "--file", "/x"), "one of file, folder"),
        ((), "one of file, folder"),
        (("http://h/{0}",), "feed add far --url URL (or --taxii"),
        (("/etc/{0}",), "feed add far --file FILE"),
        (("/etc",), "feed add far --folder FOLDER"),
        (("--url", "http://h/", "--interval", "1s"), "not between 10s and 30d"),
        (("--url", "http://h/", "--allow", "privat"), "did you mean 'private'"),
        (("--url", "http://h/", "--header-from", "X={0}"), "never the secret itself"),
        (("--url", "http://h/", "--header-from", "Host=env:A"), "no header that can be set"),
        (("--url", "http://h/", "--basic-from", "{0}"), "never the secret itself"),
        (("--file", "/x", "--interval", "1h"), "means nothing for a file"),
        (("--url", "http://h/", "--collection", "c"), "only TAXII"),
        (("--url", "http://h/", "--ca", "/x", "--no-verify"), "contradict"),
        (("--url", "http://h/", "--largest", "many"), "no size"),
    ],
)
def test_what_no_feed_can_be_is_refused_without_repeating_a_secret(run, words, said_so):
    code, told = run("add", "far", *(word.format(SECRET) for word in words))
    assert code == 2
    assert said_so in told
    assert SECRET not in told
    assert run("show", "far")[0] != 0


def test_no_credential_is_in_any_answer(live, run, server, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("FEED_KEY", SECRET)
    server.answer = lambda asked: said(SECRET.encode(), "403 Forbidden", WWW_Authenticate=SECRET, Location=SECRET)
    where = server.at(f"/{SECRET}/l?key={SECRET}")
    told = [run("add", "far", "--url", where, "--header-from", "X-Key=env:FEED_KEY")[1]]
    assert server.asked[0].headers["x-key"] == SECRET
    assert "credentials are missing or refused" in told[0]
    told += [run("list", "-o", "json")[1], run("show", "far")[1], json.dumps(live.ask.health())]
    server.answer = lambda _: said(b"", "302 Found", Location=f"https://127.0.0.1:1/{SECRET}?x={SECRET}")
    told += [run("refresh", "far")[1], json.dumps(live.ask.feeds()), repr(live.rig.controller.feeds()), caplog.text]
    told += [run("add", "far", "--url", where)[1], run("remove", "far")[1], caplog.text]
    assert SECRET not in "".join(told)


def test_a_feed_that_is_configured_or_unknown_is_not_changed(live):
    for asks, said_so in (
        (lambda: live.ask.remove_feed("bad", "why"), "in the configuration"),
        (lambda: live.ask.remove_feed("nobody", "why"), "there is no feed nobody"),
        (lambda: live.ask.refresh_feed("nobody", whole=False), "there is no feed nobody"),
        (lambda: live.ask.decide_feed("bad", "why", accept=True), "nothing of feed bad is held"),
        (lambda: live.ask.add_feed({"name": "bad", "url": "http://h/"}), "there is a feed bad already"),
        (lambda: live.ask.add_feed({"name": "../x", "url": "http://h/"}), "name"),
        (lambda: live.ask.add_feed({"name": "x", "url": "http://h/", "intervall": "1h"}), "intervall"),
    ):
        with pytest.raises(NetpersonaError, match=said_so):
            asks()
    live.ask.push("ours", ["45.66.77.99"])
    with pytest.raises(ConfigError, match="pushed to"):
        live.ask.add_feed({"name": "ours", "url": "http://h/"})
    assert live.ask.remove_feed("ours", "done") == 1
    until(lambda: passes(live.rig, WEB, "45.66.77.99"), "what was pushed is denied no more", within=60)


def test_who_could_not_read_a_file_himself_cannot_have_it_read(live, monkeypatch, tmp_path):
    (tmp_path / "list").write_text("45.66.77.1\n")
    monkeypatch.setattr(operations, "_owns_host", lambda _: False)  # as for a member of the group
    for more in ({"file": str(tmp_path / "list")}, {"url": "http://h/", "basic_from": "file:/etc/shadow"}):
        with pytest.raises(ConfigError, match="is for root and the controller's user to add"):
            live.ask.add_feed({"name": "x", **more})


def test_the_owner_of_the_host_is_root_and_the_controllers_user():
    class Request:
        class state:  # noqa: N801
            caller = Caller(1, 12345, frozenset())

    assert not operations._owns_host(Request)
    Request.state.caller = Caller(1, 0, frozenset())
    assert operations._owns_host(Request)
    del Request.state.caller
    assert not operations._owns_host(Request)
