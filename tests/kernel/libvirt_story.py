"""What happens to a QEMU guest under libvirt while `netpersona up` runs; test_libvirt_guest.py says where it is run."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from kernel.libvirt_host import BAD, GOOD, GUEST, HOST, MAC, NAME, SECOND, TAP, Host, Line, interface_xml
from kernel.private_net import run
from live_policies import LOW_REPUTATION
from waiting import until

NAMESPACE = "urn:netpersona:vm:1"
CONFIG = """
store: netpersona.db
inventory: {libvirt: "qemu:///system"}
feeds: [{name: bad, file: bad.txt, confidence: 0.95, allow: [documentation]}]
policies: [policies]
window: 2s
api: {socket: api.sock}
"""
METADATA = f"""
<metadata><np:vm xmlns:np="{NAMESPACE}">
  <np:address>{GUEST}/24</np:address><np:gateway>{HOST}</np:gateway><np:label name="role">test</np:label>
</np:vm></metadata>"""
NOBODY = "198.51.100.1"


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Controller:
    """`netpersona up`, and what its API says."""

    def __init__(self, host: Host) -> None:
        self.host, self.feed = host, host.folder / "bad.txt"
        (host.folder / "policies").mkdir()
        (host.folder / "policies" / "low-reputation.yaml").write_text(LOW_REPUTATION)
        config = host.folder / "netpersona.yaml"
        config.write_text(CONFIG)
        self.listed(NOBODY)
        self.process = host.start("up", sys.executable, "-m", "netpersona", "up", "--config", str(config))
        self.client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(host.folder / "api.sock")), base_url="http://netpersona/api/v1"
        )
        until((host.folder / "api.sock").exists, "the controller is up")

    def listed(self, *addresses: str) -> None:
        self.feed.write_text("\n".join(addresses) + "\n")

    def personas(self) -> dict[str, Any]:
        listed = self.client.get("/personas", params={"view": "whole"}).raise_for_status().json()
        return {item["metadata"]["name"]: item for item in listed["items"]}

    def persona(self) -> dict[str, Any]:
        return self.personas()[NAME]

    def part(self, name: str) -> dict[str, Any] | None:
        """How a part is; None where the controller has no such part."""
        parts = self.client.get("/health").raise_for_status().json()["status"]["parts"]
        return next((part for part in parts if part["name"] == name), None)

    def part_is_well(self, name: str) -> bool:
        part = self.part(name)
        return part is not None and part["well"]


class Story:
    """Each step waits for what it says, with a deadline, and tells how long that took."""

    def __init__(self, folder: Path) -> None:
        self.began = time.monotonic()
        self.host = Host(folder)
        self.daemon = self.host.libvirtd()
        until(Path("/run/libvirt/libvirt-sock").exists, "libvirtd listens")
        self.up = Controller(self.host)
        import libvirt

        self.libvirt = libvirt.open("qemu:///system")

    def tell(self) -> None:
        for step in (
            self.it_is_discovered,
            self.it_is_learned,
            self.it_is_blocked,
            self.a_label_is_followed,
            self.a_second_interface_is_followed,
            self.it_stays_blocked_while_libvirtd_is_gone,
            self.it_is_released,
            self.its_uptime_is_unbroken,
            self.it_vanishes,
        ):
            step()
            write(f"{time.monotonic() - self.began:5.1f} s  {step.__name__.replace('_', ' ')}")

    def it_is_discovered(self) -> None:
        until(lambda: self.up.part_is_well("inventory"), "libvirt is asked")
        assert self.up.personas() == {}
        self.domain = self.libvirt.createXML(self.host.guest_xml(METADATA))
        until(lambda: NAME in self.up.personas(), "the guest has a persona")
        spec = self.up.persona()["spec"]["base_network_config"]
        assert (spec["interface"], spec["mac"], spec["addresses"]) == (TAP, MAC, [f"{GUEST}/24"])
        assert self.up.persona()["metadata"]["labels"] == {"role": "test"}
        until(lambda: self.up.part_is_well(f"tap {TAP}"), "its tap is watched")

    def it_is_learned(self) -> None:
        until(lambda: self.said(good=True, bad=True), "the guest reaches both peers", 40)
        until(lambda: {GOOD, BAD} <= self.peers(), "its persona knows both peers", 15)

    def it_is_blocked(self) -> None:
        self.up.listed(NOBODY, BAD)
        until(lambda: self.said(good=True, bad=False), "the listed peer is blocked, the other is not")

    def a_label_is_followed(self) -> None:
        element = f"<vm><address>{GUEST}/24</address><gateway>{HOST}</gateway><label name='role'>watched</label></vm>"
        self.domain.setMetadata(2, element, "np", NAMESPACE, 1)  # an element of our namespace, of the running domain
        until(lambda: self.up.persona()["metadata"]["labels"] == {"role": "watched"}, "the new label")

    def a_second_interface_is_followed(self) -> None:
        run("ip", "tuntap", "add", SECOND, "mode", "tap")
        run("ip", "link", "set", SECOND, "up")
        self.domain.attachDevice(interface_xml(SECOND, "52:54:00:00:00:03"))
        name = f"{NAME}_net1"
        until(lambda: name in self.up.personas(), "the second interface has a persona")
        assert self.up.personas()[name]["spec"]["base_network_config"]["interface"] == SECOND
        until(lambda: self.up.part_is_well(f"tap {SECOND}"), "its tap is watched")
        self.domain.detachDevice(interface_xml(SECOND, "52:54:00:00:00:03"))
        until(lambda: self.up.part(f"tap {SECOND}") is None, "its tap is let go")  # once the guest lets it go

    def it_stays_blocked_while_libvirtd_is_gone(self) -> None:
        self.daemon.kill()
        self.daemon.wait()
        until(lambda: not self.up.part_is_well("inventory"), "the inventory is known to be gone")
        assert self.up.persona()["spec"]["base_network_config"]["interface"] == TAP
        until(lambda: self.said(good=True, bad=False), "still blocked")
        Path("/run/libvirt/libvirt-sock").unlink()
        self.daemon = self.host.libvirtd()
        until(lambda: self.up.part_is_well("inventory"), "the inventory is back")
        assert NAME in self.up.personas()

    def it_is_released(self) -> None:
        self.up.listed(NOBODY)
        until(lambda: self.said(good=True, bad=True), "the peer that is listed no longer is reached")

    def its_uptime_is_unbroken(self) -> None:
        lines = self.host.lines()
        assert len({line.boot for line in lines}) == 1
        assert all(before.uptime < after.uptime for before, after in itertools.pairwise(lines))
        assert lines[-1].uptime > 5

    def it_vanishes(self) -> None:
        import libvirt

        again = libvirt.open("qemu:///system")
        again.lookupByName(NAME).destroy()
        until(lambda: self.up.part(f"tap {TAP}") is None, "its tap is watched no longer")
        assert self.up.process.poll() is None

    def said(self, *, good: bool, bad: bool) -> bool:
        """Whether the guest's next two rounds went so."""
        seen = len(self.host.lines())
        fresh: list[Line] = []
        deadline = time.monotonic() + 10
        while len(fresh) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
            fresh = self.host.lines()[seen:]
        return len(fresh) >= 3 and all((line.good, line.bad) == (good, bad) for line in fresh[1:])

    def peers(self) -> set[str]:
        return {peer["peer"] for peer in self.up.persona()["status"]["traffic_profile"]["peers"]}


def main() -> None:
    folder = Path(sys.argv[1])
    story = Story(folder)
    try:
        story.tell()
    except BaseException:
        for name in ("libvirtd", "up", "server"):
            write(f"--- {name}\n{story.host.log(name)[-3000:]}")
        write(f"--- the guest\n{story.host.lines()[-5:]}")
        write(f"--- health\n{story.up.client.get('/health').text}")
        raise


if __name__ == "__main__":
    main()
