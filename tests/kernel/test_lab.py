"""The lab is real on the wire: every packet here was counted at a tap."""

import json
from collections.abc import Iterator

import pytest

from kernel.lab_net import SYN, UDP, Tap, both, counted, lab, needs_lab, opened, running
from netpersona.adapters.inventories.yaml_file import YamlInventory
from netpersona.app import policies
from netpersona.app.config import read_config
from netpersona.app.lab import layout
from netpersona.app.lab.home import Home
from netpersona.app.lab.layout import CONTROL, DESKTOP, DROP, WEB
from waiting import until


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with running("test") as home:
        yield home


@pytest.fixture(scope="module")
def bridged() -> Iterator[Home]:
    with running("test-bridged", "--bridged", "--own-programs") as home:
        yield home


def everybody_talks(home: Home) -> None:
    desktop, web = Tap(home, DESKTOP.tap), Tap(home, WEB.tap)
    programs = ("browser-desktop-1", "browser-desktop-2", "visitors", "updates-web-1", "updates-database-1")
    until(lambda: all(counted(home, p)["answered"] >= 1 for p in programs), "everybody fetched something")
    until(lambda: {f.source for f in opened(desktop.frames(), DESKTOP)} == both(DESKTOP), "it browsed over both")
    visits = layout.OUTSIDE_RANGES[1].rpartition(".")[0], layout.OUTSIDE_RANGES6[1].partition("::")[0]
    until(
        lambda: all(
            any(f.flags == SYN and f.port == 80 and f.source.startswith(visit) for f in web.frames())
            for visit in visits
        ),
        "the web server has visitors of both families",
    )
    until(lambda: any(f.port == 5432 for f in opened(web.frames(), WEB)), "the web server asked the database")
    assert any(f.port == 53 and f.protocol == UDP and f.source == DESKTOP.v4 for f in desktop.frames())
    until(lambda: all(_mostly_answered(counted(home, p)) for p in programs), "hardly anything fails")


def _mostly_answered(counts: dict[str, int]) -> bool:
    """Whether no kind of what it fetches fails: on a busy machine one may come too late now and then."""
    return counts["answered"] > 4 * counts["failed"]


@needs_lab
def test_ordinary_traffic_flows_over_both_families_and_nothing_fails(home: Home) -> None:
    everybody_talks(home)


@needs_lab
def test_the_same_with_bridged_taps_and_none_but_the_labs_own_programs(bridged: Home) -> None:
    everybody_talks(bridged)
    links = json.loads(lab("run", "--name", bridged.name, "hypervisor", "--", "ip", "-j", "link", "show"))
    assert {link["ifname"] for link in links if link.get("master") == "br-vms"} == {vm.tap for vm in layout.VMS}


@needs_lab
def test_status_tells_what_runs(home: Home) -> None:
    said = next(one for one in json.loads(lab("status", "-o", "json")) if one["name"] == home.name)
    assert set(said["namespaces"]) == set(layout.MACHINES)
    assert len(set(said["namespaces"].values())) == len(layout.MACHINES)
    assert all(program["running"] for program in said["programs"])
    assert "browser-desktop-1 runs" in lab("status", "--name", home.name)


@needs_lab
def test_netpersona_finds_all_it_reads(home: Home) -> None:
    vms = {vm.name: vm for vm in YamlInventory(home.path / "vms.yaml").vms()}
    assert set(vms) == {vm.name for vm in layout.VMS}
    shown = json.loads(lab("run", "--name", home.name, "web-1", "--", "ip", "-j", "address", "show", "eth0"))[0]
    addresses = {f"{a['local']}/{a['prefixlen']}" for a in shown["addr_info"] if a["scope"] == "global"}
    assert (vms["web-1"].mac, set(vms["web-1"].addresses)) == (shown["address"], addresses)
    config = read_config(home.path / "netpersona.yaml")
    assert config.inventory == home.path / "vms.yaml"
    assert config.api.socket == home.path / "netpersona.sock"
    assert {policy.name for policy in policies.parsed(policies.read(config.policies)).policies} == {
        "block-outbound-low-reputation",
        "isolate-command-and-control",
    }
    listed = config.feeds[0].file.read_text()
    assert all(address in listed for address in CONTROL)
    assert DROP.v4 not in listed
    taps = lab("run", "--name", home.name, "hypervisor", "--", "ls", "/sys/class/net").split()
    assert {vm.interface for vm in vms.values()} <= set(taps)
