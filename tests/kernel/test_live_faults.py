"""What happens to running VMs when something fails under `netpersona up`: each fault once, under traffic."""

import contextlib
import json
import re
import shutil
import socket
import sqlite3
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from kernel.live_host import (
    BAD,
    ENFORCED,
    GOOD,
    HOST,
    OTHER,
    A,
    B,
    Datagrams,
    Stream,
    attach,
    detach,
    infect,
    net,
    nft,
    reaches,
    rule_of,
    rules,
    up,
)
from kernel.private_net import inside, needs_kernel, socket_in
from live_policies import LOW_REPUTATION
from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables import wire
from netpersona.adapters.stores import open_store
from netpersona.app.answers.ask import Wanted
from netpersona.errors import NetpersonaError
from packet_samples import dns
from waiting import until

pytestmark = needs_kernel


@pytest.fixture(scope="module")
def host():
    with net():
        yield


@pytest.fixture
def clean(host):
    """Every test begins with a kernel that holds nothing."""
    nft("flush", "ruleset")


@pytest.fixture
def running(clean, tmp_path):
    with up(tmp_path) as started:
        until(lambda: started.ask.health()["well"], "all is well")
        yield started


@pytest.fixture
def allowed():
    with Datagrams(A, GOOD, 9000) as sent:
        until(lambda: sent.got, "the first datagram arrives")
        yield sent


@pytest.fixture
def denied(running):
    with Datagrams(A, BAD, 9001) as sent:
        yield sent


def nothing_lost(allowed, denied):
    for each in (allowed, denied):
        each.stop()
    assert allowed.sent > 100
    assert allowed.lost == 0
    assert denied.sent > 100
    assert not denied.got


def test_killed_again_and_again_under_traffic(running, allowed, denied):
    with Stream(A, GOOD, 443) as stream:
        time.sleep(0.5)
        before, risk = rules(), running.risk("a")
        for moment in (0.0, 0.4, 0.8, 1.2, 1.6, 2.4):  # from before it runs until it has long begun
            running.kill()
            assert rules() == before
            running.start()
            time.sleep(moment)
        running.kill()
        running.start()
        running.ready()
        until(lambda: running.ask.health()["well"], "all is well")
        assert rules() == before
        assert list(running.ask.findings(Wanted(vm="a", everything=True))) == []
        assert running.risk("a") == risk
    assert stream.error is None
    assert stream.rounds > 100
    nothing_lost(allowed, denied)


def test_killed_in_the_middle_of_changes(running, allowed, denied):
    before, stored = rules(), 0
    with Stream(A, GOOD, 443) as stream:
        for moment in (0.05, 0.3):
            pushed = killed_while_pushing(running, stored, moment)
            assert "listed" in rules()
            running.start()
            running.ready()
            until(lambda: running.ask.verify()["well"], "the kernel holds what it should")
            held = rules()
            assert all(address(number) in held for number in range(stored)), "of an earlier round, and stored"
            running.ask.push("ours", [address(number) for number in range(pushed)])  # the last ones may not be
            stored = pushed
            until(lambda known=pushed: of_feed(running) == known, "all are kept")
        running.ask.remove("ours", [address(number) for number in range(stored)])
        until(lambda: without_versions(rules()) == without_versions(before), "the rules are as they were")
    assert stream.error is None
    nothing_lost(allowed, denied)


def of_feed(running):
    """How many indicators the store has that were pushed."""
    content = open_store(str(running.folder / "netpersona.db")).context("pushed")
    return 0 if content is None else len(json.loads(content).get("ours", ()))


def killed_while_pushing(running, number, moment):
    """The controller is killed while one indicator after the other is pushed; the number of the next one."""
    given = []

    def push():
        with contextlib.suppress(NetpersonaError):
            while True:
                running.ask.push("ours", [address(number + len(given))])
                given.append(number)

    pushing = threading.Thread(target=push)
    pushing.start()
    until(lambda: len(given) > 3, "rules change")
    time.sleep(moment)
    running.kill()
    pushing.join()
    return number + len(given) + 1


def address(number):
    return f"8.{number // 250}.{number % 250}.7"


def ask_in_vain(vm):
    """A question that nobody answers: what follows from it must not hold up anything."""
    with socket_in(vm, socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(dns(1, "nobody.example"), (GOOD, 53))


def test_a_rule_deleted_by_hand(running, allowed, denied):
    before = rules()
    chain, handle = rule_of("low-reputation/listed")
    ask_in_vain(B)
    time.sleep(0.3)
    nft("delete", "rule", "inet", "netpersona", chain, "handle", handle)
    until(lambda: rules() == before, "the rule is back, and nobody had asked")
    until(lambda: running.part("kernel")["failures"] == 1, "it is counted")
    assert running.ask.verify()["healed"] == 1
    assert running.told("firewall", "verify").returncode == 0
    until(denied.stands, "nothing gets through any more")
    until(lambda: running.part("kernel")["well"], "status is well again")
    allowed.stop()
    assert allowed.lost == 0


@pytest.mark.parametrize("verb", ["flush", "delete"])
def test_the_table_flushed(running, allowed, denied, verb):
    before = rules()
    nft(verb, "table", "inet", "netpersona")
    until(lambda: rules() == before, "the table is back, and nobody had asked")
    said = running.part("kernel")["says"]
    assert said.startswith("healed: ")
    assert ("the table is gone" if verb == "delete" else "a rule is gone") in said
    until(denied.stands, "nothing gets through any more")
    until(lambda: running.told("status").returncode == 0, "status is well again")
    told = running.ask.verify()
    assert (told["well"], told["drift"]) == (True, [])
    assert told["healed"] >= 1
    allowed.stop()
    assert allowed.lost == 0


def test_what_is_asked_before_it_is_healed_is_named(running):
    chain, _ = rule_of("low-reputation/listed")
    for _ in range(5):  # the controller itself looks every three seconds, and may come first
        nft("flush", "chain", "inet", "netpersona", chain)
        told = running.ask.verify()
        if not told["well"]:
            break
    assert any("rule" in str(each) for each in told["drift"]), told
    until(lambda: running.ask.verify()["well"], "it is healed")


def test_the_kernel_refuses(running, allowed, denied):
    before = rules()
    with inside(HOST):
        owner = wire.Wire()  # a table of our name that is another program's: nobody else may change or remove it
        flags = a.attribute(2, struct.pack(">I", 2))
        owner.send([wire.message(wire.NEW_TABLE, "bridge", a.text(1, "netpersona") + flags, wire.CREATE)])
    try:
        until(lambda: not running.part("kernel")["well"], "status tells it")
        assert "not permitted" in running.part("kernel")["says"]
        with pytest.raises(NetpersonaError, match="not permitted"):
            running.ask.apply({"none.yaml": LOW_REPUTATION.replace("enforce", "off")}, "open it", None)
        assert [each["number"] for each in running.ask.versions()] == [1]
        assert "listed" in rules()
    finally:
        owner.close()
    until(lambda: running.ask.health()["well"], "all is well again")
    assert rules() == before
    nothing_lost(allowed, denied)


def test_the_store_locked(running, allowed, denied):
    locker = sqlite3.connect(running.folder / "netpersona.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    try:
        until(lambda: not running.part("store")["well"], "status tells it")
        assert "another process is writing" in running.part("store")["says"]
        judged_and_enforced(running)
    finally:
        locker.execute("ROLLBACK")
        locker.close()
    until(lambda: of_b(str(running.folder / "netpersona.db")), "what was found is written")
    until(lambda: running.part("store")["well"], "status tells it")
    nothing_lost(allowed, denied)


def of_b(store):
    """What is written of the findings."""
    return open_store(store).findings("b")


def copied(seen, folder):
    """The store, out of the mounts of another: SQLite follows no link into them."""
    (folder / "copy").mkdir(exist_ok=True)
    for file in (seen / "netpersona.db", seen / "netpersona.db-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(file, folder / "copy" / file.name)
    return str(folder / "copy" / "netpersona.db")


def judged_and_enforced(running):
    """A VM that talks to a peer is cut off when that is listed; a push is in force when it is answered."""
    infect(B)
    running.feed.write_text(f"{BAD}\n{OTHER}\n")
    until(lambda: "risky/nothing-out" in rules(), "the VM is cut off")
    running.ask.push("ours", ["8.19.44.7"])
    assert "8.19.44.7" in rules()
    assert not reaches(B, GOOD)


def test_the_disk_of_the_store_full(clean, tmp_path, allowed):
    disk = tmp_path / "disk"
    disk.mkdir()
    private = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=2m none {disk} && exec "$@"', "sh")
    with up(tmp_path, store="disk/netpersona.db", before=private) as running, Datagrams(A, BAD, 9001) as denied:
        until(lambda: running.ask.health()["well"], "all is well")
        seen = Path(f"/proc/{running.process.pid}/root{disk}")
        filled = subprocess.run(["dd", "if=/dev/zero", f"of={seen}/filler", "bs=4k"], capture_output=True, check=False)
        assert b"No space left" in filled.stderr
        until(lambda: not running.part("store")["well"], "status tells it")
        assert "full" in running.part("store")["says"]
        judged_and_enforced(running)
        (seen / "filler").unlink()
        until(lambda: of_b(copied(seen, tmp_path)), "what was found is written")
        until(lambda: running.part("store")["well"], "status tells it")
        nothing_lost(allowed, denied)


def test_the_inventory_gone(running, allowed, denied):
    before = rules()
    running.inventory.unlink()
    until(lambda: running.part("inventory")["well"] is False, "status tells it")
    assert "the VMs stay as they were" in running.part("inventory")["says"]
    running.kill()
    running.start()
    running.ready()
    time.sleep(1.0)
    assert rules() == before
    assert running.part("inventory")["well"] is False
    assert running.part("tap tap-a")["well"]
    running.inventory.write_text("vms:\n")  # being written
    time.sleep(1.0)
    assert rules() == before
    running.inventory.write_text(INVENTORY_OF_A)
    until(lambda: "from_b" not in rules(), "it is followed again")
    nothing_lost(allowed, denied)


INVENTORY_OF_A = "vms:\n  - {name: a, interface: tap-a, addresses: [10.77.0.11/24]}\n"


def test_a_tap_that_vanishes_in_the_middle_of_transactions(running, allowed, denied):
    over, pushed = threading.Event(), []

    def push():
        while not over.is_set():
            pushed.append(running.ask.push("ours", [f"8.{len(pushed) // 250}.{len(pushed) % 250}.7"]))

    with Datagrams(B, BAD, 9002, every=0.01) as other:
        pushing = threading.Thread(target=push)
        pushing.start()
        try:
            for _ in range(5):
                detach(B)
                time.sleep(0.15)
                attach(B)
                time.sleep(0.35)
            detach(B)
            until(lambda: running.part("tap tap-b")["well"] is False, "status tells it")
            assert "no such interface" in running.part("tap tap-b")["says"]
            attach(B)
            until(lambda: running.part("tap tap-b")["well"], "it is watched again")
            until(lambda: len(pushed) > 20, "much is pushed meanwhile")
        finally:
            over.set()
            pushing.join()
        until(lambda: other.sent > 50, "it calls")
    assert not other.got
    assert reaches(B, GOOD)
    seen = running.ask.personas(["b"])[0]["completeness"]["flows"]
    until(lambda: reaches(B, OTHER) and running.ask.personas(["b"])[0]["completeness"]["flows"] > seen, "it is seen")
    assert running.ask.verify()["well"]
    until(lambda: running.ask.health()["well"], "all is well")
    nothing_lost(allowed, denied)


def without_versions(text):
    return sorted(re.sub(r"@\d+|_\d+_[0-9a-f]{10}|(?<=from|..to)\.[0-9a-f]{12}", "", text).splitlines())


def test_a_trial_whose_controller_is_killed(running, allowed):
    before = rules()
    running.ask.apply({**ENFORCED, "listed.yaml": LOW_REPUTATION.replace("enforce", "off")}, "a trial", "10s")
    assert reaches(A, BAD)
    running.kill()
    until(lambda: rules() == before, "the kernel has the earlier rules")
    assert not reaches(A, BAD)
    with Datagrams(A, BAD, 9001) as denied:
        running.start()
        running.ready()
        until(lambda: running.ask.health()["well"], "all is well")
        assert without_versions(rules()) == without_versions(before)
        told = running.told("policy", "history")
        assert "not confirmed in time" in told.stdout
        assert [each["confirmed"] for each in running.ask.versions()] == [True, False, True]
        time.sleep(0.5)
        nothing_lost(allowed, denied)
