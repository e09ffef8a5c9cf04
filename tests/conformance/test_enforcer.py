"""Every enforcer keeps to the seam: the whole wish, all or none, repeatable."""

import pytest

from kernel.private_net import WHY_NOT, inside, namespaces, own
from netpersona.adapters.enforcers.nftables import Nftables
from netpersona.adapters.enforcers.plan import Plan
from netpersona.flow.vm import VmId
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.policy.parse import parse
from netpersona.ruleset.resolve import resolve

ENFORCERS = [Plan, Nftables]
AT = 1_767_571_200_000_000
DENY = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: no-telnet}
spec: {mode: enforce, order: 1, rules: [{name: telnet, direction: outbound, ports: [23], action: deny}]}
"""


def ruleset(*names, text=DENY):
    personas = [Persona(VmId(n), base=BaseNetworkConfig(addresses=(f"10.0.0.{i}",))) for i, n in enumerate(names, 1)]
    return resolve(personas, parse(text, "policy.yaml"), IndicatorSet.merge([]), AT)


@pytest.fixture(params=ENFORCERS, ids=lambda e: e.__name__)
def enforcer(request):
    if request.param is Plan:
        yield Plan()
        return
    if WHY_NOT is not None:
        pytest.skip(WHY_NOT)
    with namespaces(own("conform")), inside(own("conform")):
        made = Nftables()
        yield made
        made.close()


def test_what_is_desired_is_in_force(enforcer):
    desired = ruleset("web-1", "db-1")
    assert enforcer.apply(desired)
    assert enforcer.in_force() == desired


def test_applying_twice_changes_nothing(enforcer):
    enforcer.apply(ruleset("web-1"))
    assert not enforcer.apply(ruleset("web-1"))


def test_a_vm_that_goes_takes_its_rules_with_it(enforcer):
    enforcer.apply(ruleset("web-1", "db-1"))
    enforcer.apply(ruleset("db-1"))
    assert enforcer.in_force() == ruleset("db-1")


def test_what_was_applied_is_found_in_force(enforcer):
    assert enforcer.verify() == ()
    enforcer.apply(ruleset("web-1", "db-1"))
    assert enforcer.verify() == ()
    assert enforcer.heal() == ()


def test_uninstalling_leaves_nothing(enforcer):
    enforcer.apply(ruleset("web-1"))
    enforcer.uninstall()
    assert enforcer.in_force().vms == {}
    assert enforcer.counters() == ()
    enforcer.apply(ruleset("web-1"))
    assert enforcer.in_force() == ruleset("web-1")


def test_checking_applies_nothing(enforcer):
    enforcer.check(ruleset("web-1"))
    assert enforcer.in_force().vms == {}
    assert enforcer.verify() == ()


def test_counters_are_told_by_vm_policy_and_rule(enforcer):
    enforcer.apply(ruleset("web-1", "db-1"))
    for count in enforcer.counters(VmId("web-1")):
        assert (count.vm, count.policy, count.rule, count.version) == ("web-1", "no-telnet", "telnet", 1)
        assert (count.packets, count.octets) == (0, 0)
