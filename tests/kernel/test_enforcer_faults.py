"""What others do to our tables is seen, named and healed; what the kernel refuses changes nothing."""

import struct
import subprocess
from dataclasses import replace

import pytest

from kernel.private_net import inside, namespaces, needs_kernel, own, run
from kernel.two_vms import ruleset
from netpersona.adapters.enforcers.nftables import Nftables, installed, wire
from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.errors import EnforcerError

pytestmark = needs_kernel

SPACE = own("faults")
RULES = (
    "{name: r, direction: outbound, peers: {networks: [203.0.113.7, 198.51.100.0/24]}, action: deny}, "
    "{name: s, direction: both, ports: [22, 80], action: reject}, {name: l, direction: outbound, action: rate-limit, rate: 1 mbit}"
)


@pytest.fixture
def enforcer():
    with namespaces(SPACE), inside(SPACE):
        made = Nftables()
        made.apply(ruleset(RULES))
        yield made
        made.close()


def nft(*words: str) -> str:
    return subprocess.run(["nft", *words], capture_output=True, text=True, check=True).stdout


def healed(enforcer: Nftables) -> None:
    assert enforcer.heal()
    assert enforcer.verify(whole=True) == ()
    assert enforcer.verify() == ()


def handle_of(chain: str, place: int) -> int:
    made = wire.Wire()
    found = list(installed.rules(made, "inet", chain))
    made.close()
    return found[place].handle


def test_a_rule_deleted_by_hand_is_named_and_healed(enforcer):
    nft("delete", "rule", "inet", "netpersona", "from_a", "handle", str(handle_of("from_a", -1)))
    (found,) = enforcer.verify()
    assert found.where == "inet netpersona"
    assert "chain from_a: a rule is gone" in found.what
    healed(enforcer)


def test_a_foreign_rule_is_named_and_healed(enforcer):
    nft("insert", "rule", "inet", "netpersona", "to_b", "accept")
    (found,) = enforcer.verify()
    assert "chain to_b: a rule is not ours" in found.what
    healed(enforcer)


def test_rules_in_another_order_are_named_and_healed(enforcer):
    last = handle_of("from_a", -1)
    nft("delete", "rule", "inet", "netpersona", "from_a", "handle", str(last))
    nft("insert", "rule", "inet", "netpersona", "from_a", "counter")
    assert len(enforcer.verify()) == 2
    healed(enforcer)


def test_a_foreign_chain_that_leads_to_ours_does_not_stop_a_change(enforcer):
    nft("add", "chain", "inet", "netpersona", "foreign")
    nft("add", "rule", "inet", "netpersona", "foreign", "jump", "from_a")
    enforcer.apply(replace(ruleset(), vms={}))
    assert enforcer.verify(whole=True) == ()
    assert "foreign" not in nft("list", "ruleset")


def test_the_table_flushed_is_named_and_healed(enforcer):
    nft("flush", "table", "inet", "netpersona")
    assert any("a rule is gone" in found.what for found in enforcer.verify())
    healed(enforcer)


def test_the_table_gone_is_named_and_healed(enforcer):
    nft("delete", "table", "inet", "netpersona")
    (found,) = enforcer.verify()
    assert found.what == "the table is gone"
    healed(enforcer)


def test_the_table_gone_does_not_stop_the_next_change(enforcer):
    nft("delete", "table", "inet", "netpersona")
    enforcer.apply(ruleset("{name: other, direction: inbound, action: deny}"))
    assert enforcer.verify(whole=True) == ()


@pytest.mark.parametrize(
    ("verb", "said"), [("add", "0 members are gone, 1 are not ours"), ("delete", "1 members are gone")]
)
def test_a_set_changed_by_hand_is_named_and_healed(enforcer, verb, said):
    name = next(line.split()[1] for line in nft("list", "ruleset").splitlines() if ".a4" in line and "set " in line)
    nft(verb, "element", "inet", "netpersona", name, "{ 203.0.113.7 }" if verb == "delete" else "{ 203.0.113.9 }")
    counted, found = enforcer.verify(whole=True)
    assert "members instead of" in counted.what
    assert said in found.what
    healed(enforcer)
    assert ("203.0.113.7" in nft("list", "set", "inet", "netpersona", name)) is True
    assert ("203.0.113.9" in nft("list", "set", "inet", "netpersona", name)) is False


def test_a_set_emptied_by_hand_is_named_without_reading_its_members(enforcer):
    nft("flush", "ruleset")
    assert enforcer.verify()
    healed(enforcer)


def test_other_tables_are_never_touched(enforcer):
    nft("add", "table", "inet", "other")
    nft("add", "chain", "inet", "other", "c", "{ type filter hook forward priority 0; }")
    nft("add", "table", "bridge", "other")
    before = nft("list", "table", "inet", "other") + nft("list", "table", "bridge", "other")
    assert enforcer.verify() == ()
    enforcer.apply(ruleset())
    enforcer.uninstall()
    assert nft("list", "table", "inet", "other") + nft("list", "table", "bridge", "other") == before
    assert "netpersona" not in nft("list", "ruleset")


def test_another_process_takes_over_what_it_finds(enforcer):
    run("nft", "insert", "rule", "inet", "netpersona", "to_b", "accept")
    first = handle_of("from_a", 0)
    successor = Nftables()
    successor.apply(ruleset(RULES))
    assert successor.verify(whole=True) == ()
    assert handle_of("from_a", 0) == first  # what stays keeps its handle, and so its counter
    successor.close()


def test_what_the_kernel_refuses_leaves_what_was_in_force(enforcer):
    enforcer.uninstall()
    owner = wire.Wire()  # a table that belongs to another program: the kernel lets nobody else change it
    flags = a.attribute(2, struct.pack(">I", 2))
    owner.send([wire.message(wire.NEW_TABLE, "inet", a.text(1, "netpersona") + flags, wire.CREATE)])
    with pytest.raises(EnforcerError, match="Operation not permitted"):
        enforcer.apply(ruleset(RULES))
    assert enforcer.in_force().vms == {}
    owner.close()
    enforcer.apply(ruleset(RULES))
    assert enforcer.verify(whole=True) == ()


def test_a_refused_batch_is_refused_whole(enforcer):
    before = nft("list", "ruleset")
    messages = [
        *enforcer.batch(ruleset()),
        wire.message(wire.DEL_CHAIN, "inet", a.text(1, "netpersona") + a.text(3, "none")),
    ]
    with pytest.raises(EnforcerError, match="remove chain netpersona none: No such file or directory"):
        wire.Wire().send(messages)
    assert nft("list", "ruleset") == before


def test_uninstall_removes_what_an_earlier_process_left(enforcer):
    successor = Nftables()
    successor.uninstall()
    assert nft("list", "ruleset") == ""
    successor.close()


def test_a_tap_that_moves_into_a_bridge_takes_its_rules_with_it(enforcer):
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "link", "add", "tap-a", "type", "veth", "peer", "name", "far")
    run("ip", "link", "set", "tap-a", "master", "br0")
    assert not enforcer.apply(ruleset(RULES))  # the same wish, at another place
    assert enforcer.verify(whole=True) == ()
    assert "chain from_a" in nft("list", "table", "bridge", "netpersona")
    assert "chain from_a" not in nft("list", "table", "inet", "netpersona")
    assert "chain from_b" in nft("list", "table", "inet", "netpersona")
    run("ip", "link", "set", "tap-a", "nomaster")
    enforcer.apply(ruleset(RULES))
    assert enforcer.verify(whole=True) == ()
    assert "bridge netpersona" not in nft("list", "tables")
