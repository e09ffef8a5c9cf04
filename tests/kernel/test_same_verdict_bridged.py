"""The model's verdict is the kernel's where the VM's tap is a port of a bridge, and the kernel tracks no connections there.

    VM (10.77.0.11, fd00:77::11) --- tap-vm-1 br0 in ROUTER --- OUTSIDE (every peer's address)

Nothing is routed: VM and peers are on one segment.  The flows are those of test_same_verdict.py.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kernel.kinds_of_flow import EchoFlows, TcpFlows
from kernel.private_net import namespaces, needs_kernel, run
from kernel.test_same_verdict import DECIDING, FAR, HARD, OUTSIDE, ROUTER, VM, Flows, alone, check, hard_ruleset
from netpersona.flow.vm import vm_id
from netpersona.policy.model import PolicySet
from properties.given_rulesets import World, dense_policies, worlds

pytestmark = needs_kernel


@pytest.fixture(scope="module", autouse=True)
def _net() -> Iterator[None]:
    with namespaces(VM, ROUTER, OUTSIDE):
        run("ip", "-n", ROUTER, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", ROUTER, "link", "set", "br0", "up")
        for namespace, port in ((VM, "tap-vm-1"), (OUTSIDE, "uplink")):
            run("ip", "link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", port, "netns", ROUTER)
            run("ip", "-n", ROUTER, "link", "set", port, "master", "br0", "up")
            for device in ("lo", "eth0"):
                run("ip", "-n", namespace, "link", "set", device, "up")
        for namespace, addresses in ((VM, ("10.77.0.11", "fd00:77::11")), (OUTSIDE, FAR)):
            for each in addresses:
                length, nodad = ("/128", ["nodad"]) if ":" in each else ("/32", [])
                run("ip", "-n", namespace, "address", "add", each + length, "dev", "eth0", *nodad)
            for family in ("-4", "-6"):
                run("ip", "-n", namespace, family, "route", "add", "default", "dev", "eth0")
        yield


@pytest.mark.parametrize("kind", [Flows, TcpFlows, EchoFlows])
@pytest.mark.parametrize("rules", HARD)
def test_the_kernel_does_what_the_model_says_where_order_and_state_matter(rules: str, kind: type) -> None:
    check(hard_ruleset(rules), kind)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(
    worlds(st.sampled_from(("a", "b", "c", "d")), DECIDING),
    st.one_of(dense_policies(DECIDING), dense_policies(DECIDING), st.none()),
)
def test_the_kernel_does_what_the_model_says(world: World, dense: PolicySet | None) -> None:
    policies = world.policies if dense is None else dense
    check(alone(replace(world, interfaces={vm_id("vm-1"): "tap-vm-1"}, policies=policies).ruleset()))
