"""Addresses that a resolver answered: in the kernel at once, gone by themselves, kept where the ruleset says so."""

import subprocess
import time

import pytest

from kernel.private_net import needs_kernel
from kernel.two_vms import AT, BAD, GOOD, A, B, enforcing, net, opens, policies
from netpersona.adapters.enforcers.nftables import Nftables
from netpersona.errors import EnforcerError
from netpersona.flow.vm import vm_id
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.ruleset.resolve import resolve
from waiting import until

pytestmark = needs_kernel

RULES = "{name: d, direction: outbound, peers: {domains: [example.com]}, action: deny}"


def ruleset(answers: dict):
    personas = [
        Persona(vm_id(n), base=BaseNetworkConfig((f"10.77.0.1{i}/24",), inferred=False))
        for i, n in ((1, "a"), (2, "b"))
    ]
    interfaces = {vm_id("a"): "tap-a", vm_id("b"): "tap-b"}
    return resolve(
        personas, policies(RULES), IndicatorSet.merge([]), AT, interfaces=interfaces, names={vm_id("a"): answers}
    )


def name_of(vm: str) -> str:
    return next(name for name in ruleset({}).sets if name.endswith(f".{vm}"))


@pytest.fixture(scope="module", params=["routed", "bridged"], autouse=True)
def attachment(request):
    with net(bridged=request.param == "bridged"):
        yield


@pytest.fixture
def enforcer():
    with enforcing(ruleset({})) as made:
        yield made


def test_what_is_lent_is_denied_at_once_to_that_vm_and_ends_by_itself(enforcer):
    enforcer.lend(name_of("a"), [GOOD], 60.0)
    assert not opens(A, GOOD)
    assert opens(A, BAD)
    assert opens(B, GOOD)
    enforcer.lend(name_of("a"), [BAD], 1.0)
    until(lambda: opens(A, BAD), "the loan ends by itself")
    assert not opens(A, GOOD)
    assert enforcer.verify(whole=True) == ()


def test_what_the_ruleset_asks_for_outlasts_the_loan(enforcer):
    enforcer.lend(name_of("a"), [GOOD, BAD], 1.0)
    enforcer.apply(ruleset({"www.example.com": ((GOOD, None),)}))
    until(lambda: opens(A, BAD), "what is not asked for is let through again")
    listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    assert GOOD in listed
    assert "expires" not in "".join(line for line in listed.splitlines() if GOOD in line)
    assert not opens(A, GOOD)
    assert enforcer.verify(whole=True) == ()


def test_a_loan_again_is_a_longer_loan(enforcer):
    enforcer.lend(name_of("a"), [GOOD], 0.5)
    enforcer.lend(name_of("a"), [GOOD], 60.0)
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        assert not opens(A, GOOD)


def test_what_is_in_the_set_for_good_is_never_only_lent(enforcer):
    enforcer.apply(ruleset({"www.example.com": ((GOOD, None),)}))
    enforcer.lend(name_of("a"), [GOOD], 0.5)
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        assert not opens(A, GOOD)


def test_what_is_lent_is_no_drift(enforcer):
    enforcer.lend(name_of("a"), [GOOD], None)
    subprocess.run(["nft", "add", "table", "inet", "np-other"], check=True)  # so that verify looks
    assert enforcer.verify() == ()
    assert enforcer.verify(whole=True) == ()
    assert not opens(A, GOOD)


def test_a_set_that_is_not_in_force_takes_nothing(enforcer):
    with pytest.raises(EnforcerError, match="no set nothing"):
        enforcer.lend("nothing", [GOOD], 1.0)


def test_a_loan_outlasts_a_controller_that_was_killed_where_the_ruleset_asks_for_it(enforcer):
    enforcer.lend(name_of("a"), [GOOD], 2.0)
    again = Nftables()  # it knows nothing of loans
    try:
        again.apply(ruleset({"www.example.com": ((GOOD, None),)}))
    finally:
        again.close()
    time.sleep(2.5)
    assert not opens(A, GOOD)
