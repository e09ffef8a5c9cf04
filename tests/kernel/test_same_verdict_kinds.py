"""The model's verdict is the kernel's for TCP connections and ICMP echoes too; the net is that of test_same_verdict.py."""

import pytest

from kernel.kinds_of_flow import EchoFlows, TcpFlows
from kernel.private_net import needs_kernel
from kernel.test_same_verdict import HARD, _net, check, hard_ruleset

pytestmark = needs_kernel
net = _net


@pytest.mark.usefixtures("net")
@pytest.mark.parametrize("kind", [TcpFlows, EchoFlows])
@pytest.mark.parametrize("rules", HARD)
def test_the_kernel_does_what_the_model_says_where_order_and_state_matter(rules: str, kind: type) -> None:
    check(hard_ruleset(rules), kind)
