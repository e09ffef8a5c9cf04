"""The rules that we send are those that nft makes of the same text: both are loaded, and nft tells what they are."""

import json
import subprocess

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kernel.private_net import inside, namespaces, needs_kernel, own, run
from netpersona.adapters.enforcers.nftables import Nftables
from netpersona.flow.vm import vm_id
from netpersona.ruleset.render import render
from properties.given_rulesets import World, worlds

pytestmark = needs_kernel

OURS, THEIRS = own("ours"), own("theirs")


@pytest.fixture(scope="module", autouse=True)
def _net():
    with namespaces(OURS, THEIRS):
        run("ip", "-n", OURS, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", OURS, "link", "add", "tap-vm-2", "type", "veth", "peer", "name", "eth0")
        run("ip", "-n", OURS, "link", "set", "tap-vm-2", "master", "br0")
        yield


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(worlds(), st.booleans())
def test_what_we_assemble_is_what_nft_makes_of_the_text(world: World, bridged: bool) -> None:
    world.interfaces.pop(vm_id("vm-2"), None)
    if bridged:
        world.interfaces[vm_id("vm-2")] = "tap-vm-2"
    ruleset = world.ruleset()
    with inside(OURS):
        made = Nftables()
        made.apply(ruleset)
        ours = listed()
        assert made.verify(whole=True) == ()
        made.close()
    with inside(THEIRS):
        text = render(ruleset, frozenset(["tap-vm-2"]) if bridged else frozenset())
        text = "\n".join(line for line in text.splitlines() if not any(word in line for word in NOT_FOR_NFT))
        run("nft", "-f", "-", text="flush ruleset\n" + text)
        theirs = listed()
    assert ours.keys() == theirs.keys()
    for key, rules in theirs.items():
        assert [rule for rule in ours[key] if not any(word in json.dumps(rule) for word in UNSAID)] == rules, key


NOT_FOR_NFT = ("icmp id", "icmpv6 id", "icmpv6 taddr")  # nft 1.0.6 cannot say these in a set's key, or at all
UNSAID = ("@th,32,16", '"id"', '"base": "th", "offset": 64', "taddr")


def listed() -> dict[tuple[str, str], list]:
    """The rules of each chain, and the elements of each set, lists of constants put where they are asked."""
    done = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=True)
    entries = json.loads(done.stdout)["nftables"]
    constants = {}
    found = {}
    for entry in entries:
        for kind in ("set", "map"):
            if kind in entry:
                item = entry[kind]
                if item["name"].startswith("list."):
                    constants["@" + item["name"]] = _elements(item)
                else:
                    key = (item["family"], f"{kind} {item['name']}")
                    found[key] = [_elements(item), item["type"] if "flows" not in item else None, item.get("flags")]
        if "chain" in entry:
            item = entry["chain"]
            found[item["family"], item["name"]] = [
                {key: item.get(key) for key in ("hook", "prio", "type", "policy") if key in item}
            ]
        if "limit" in entry:
            item = entry["limit"]
            found[item["family"], "limit " + item["name"]] = [{k: v for k, v in item.items() if k != "handle"}]
    for entry in entries:
        if "rule" in entry:
            rule = entry["rule"]
            found[rule["family"], rule["chain"]].append(
                [*_in_order(_plain(rule["expr"], constants)), rule.get("comment")]
            )
    return found


def _in_order(parts: list) -> list:
    """What is asked in any order (nft joins and turns neighbouring fields), then what is done."""
    asked = [part for part in parts if "match" in part]
    return [sorted(asked, key=json.dumps), [part for part in parts if "match" not in part]]


def _elements(item: dict) -> dict:
    return {"set": sorted(item.get("elem", []), key=json.dumps)}


def _plain(value: object, constants: dict) -> object:
    if isinstance(value, dict):
        if value.keys() == {"set"} and isinstance(value["set"], list):
            return {"set": sorted((_plain(each, constants) for each in value["set"]), key=json.dumps)}
        return {key: _plain(each, constants) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, constants) for each in value]
    return constants.get(value, value) if isinstance(value, str) else value
