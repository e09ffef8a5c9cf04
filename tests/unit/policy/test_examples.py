"""The reference policies parse as they stand, and every field lands."""

import pytest

from netpersona.policy.model import Action, Condition, Direction, Existing, Mode, Peers, Rate
from netpersona.policy.parse import parse
from shared_data import SHARED, needs_shared

pytestmark = needs_shared


@pytest.fixture(scope="module")
def said():
    return parse((SHARED / "policies" / "examples.yaml").read_text(), "examples.yaml")


def rules(said, policy):
    return {rule.name: rule for p in said.policies if p.name == policy for rule in p.rules}


def test_policies_stand_in_their_order_with_their_modes(said):
    assert [(p.order, p.name, p.mode) for p in said.policies] == [
        (10, "isolate-command-and-control", Mode.ENFORCE),
        (50, "shield-known-exploited", Mode.ENFORCE),
        (60, "slow-and-look", Mode.ENFORCE),
        (100, "block-outbound-low-reputation", Mode.ENFORCE),
        (200, "web-servers-keep-to-their-profile", Mode.STAGE),
    ]
    assert said.policies[-1].selector.expression == "persona.labels.role == 'web' && persona.completeness > 0.98"
    assert said.policies[0].selector is None


def test_a_rule_with_a_condition_and_one_with_reputation(said):
    found = rules(said, "block-outbound-low-reputation")
    risky, listed = found["nothing-out-when-risky"], found["no-low-reputation"]
    assert risky.when.expression == "persona.risk_score > 0.7"
    assert (risky.when.place.line, risky.when.place.column) == (10, 44)
    assert (risky.direction, risky.action, risky.existing) == (Direction.OUTBOUND, Action.DENY, Existing("cut"))
    assert listed.when is None
    assert listed.peers == Peers(reputation_below=0.3)


def test_profile_domains_ports_and_draining(said):
    found = rules(said, "web-servers-keep-to-their-profile")
    assert found["known-peers"].peers == Peers(profile="known")
    assert found["updates"].peers == Peers(domains=("updates.example.com",))
    assert (found["updates"].ports, found["updates"].protocols) == (((80, 80), (443, 443)), ("tcp",))
    assert found["everything-else"].existing == Existing("drain", 60)


def test_isolation_has_its_end_and_its_hysteresis(said):
    rule = rules(said, "isolate-command-and-control")["isolate"]
    assert rule.hold == 3_600_000_000
    assert rule.until.expression == "persona.risk_score < 0.3"
    assert rule.when.expression.startswith("persona.signatures.exists(")
    assert (rule.action, rule.direction, rule.existing) == (Action.ISOLATE, Direction.BOTH, Existing("cut"))


def test_negated_peers_and_ports_of_the_persona(said):
    rule = rules(said, "shield-known-exploited")["shield"]
    assert rule.peers.negated.vms.expression == "true"
    assert isinstance(rule.ports, Condition)
    assert rule.ports.expression == "persona.exposed_ports"


def test_redirect_and_rate(said):
    found = rules(said, "slow-and-look")
    assert (found["look"].to, found["look"].ports) == ("analyser", ((80, 80),))
    assert found["slow"].rate == Rate(1_000_000, "bit")


def test_the_allow_list_keeps_its_comment_whole_and_ends_when_that_day_begins(said):
    partners, updates = said.allow[0].entries
    assert (partners.value, partners.comment) == ("198.51.100.0/24", "payment provider, ticket 4711")
    assert partners.until == 1_814_313_600_000_000  # 2027-06-30T00:00:00Z
    assert (updates.value, updates.until) == ("updates.example.com", None)
