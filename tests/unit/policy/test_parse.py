"""Every mistake in a policy file is told with its line, its column and what was perhaps meant."""

import pytest

from netpersona.errors import PolicyError
from netpersona.policy.model import AlwaysAllow, Direction, Existing, Rate
from netpersona.policy.parse import merge, parse, parse_rules, problems
from netpersona.policy.rules import DEFAULT_HOLD

HEAD = "apiVersion: netpersona/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  mode: enforce\n  order: 1\n  rules:\n"


def rule(text):
    """A file whose one rule stands at line 8 from column 5: `    - {` puts the first field at column 8."""
    return f"{HEAD}    - {{{text}}}\n"


def only(text):
    found = problems(text, "f.yaml")
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


# (the rule, with ^ where the problem is told, or without it where that is the rule itself; message; hint)
MISTAKES = [
    ("name: r, action: ^denny", "unknown word 'denny'", "'deny'"),
    ("name: r, action: ^block", "unknown word 'block'", "'deny'"),
    ("name: r, ^acton: deny, action: deny", "unknown field 'acton'", "'action'"),
    ("name: r, ^match: {profile: new}, action: deny", "unknown field 'match'", "'peers'"),
    ("name: r, action: deny, direction: ^egress", "unknown word 'egress'", "'outbound'"),
    ("name: ^Not OK, action: deny", "'Not OK': a name has", "'not-ok'"),
    ("action: deny", "a rule needs name", None),
    ("name: r", "a rule needs action", None),
    ("name: r, action: deny, when: persona.^risc_score > 1", "unknown field risc_score", "risk_score"),
    ("name: r, action: deny, when: ^person.risk_score > 1", "unknown name person", "persona"),
    ("name: r, action: deny, when: persona.risk_score >^", "not a CEL expression", None),
    ("name: r, action: deny, when: ^persona.risk_score", "gives a number", None),
    ("name: r, action: deny, when: \"^persona.risk_score > 'x'\"", "types do not fit", None),
    ("name: r, action: deny, when: \"persona.signatures.exists(s, s.^nam == 'x')\"", "unknown field nam", "name"),
    ("name: r, action: deny, when: persona.version > ^foo(1)", "unknown function foo", "known are"),
    ("name: r, action: deny, ports: [80, ^70000]", "'70000' is not a port", None),
    ("name: r, action: deny, ports: ^90-80", "ends before it begins", "80-90"),
    ("name: r, action: deny, ports: ^https", "not a port", None),
    ("name: r, action: deny, ports: ^persona.name", "ports are whole numbers", None),
    ("name: r, action: deny, ports: ^[]", "the list is empty", "leave the field out"),
    ("name: r, action: deny, protocols: [^tpc]", "unknown protocol 'tpc'", "'tcp'"),
    ("name: r, action: deny, protocols: ^tcp", "a list is expected", "[...]"),
    ("name: r, action: deny, protocols: [icmp], ports: ^[80]", "icmp has no ports", None),
    ("name: r, action: deny, peers: {networks: [^10.0.0.5/24]}", "host bits", "10.0.0.0/24 or 10.0.0.5"),
    ("name: r, action: deny, peers: {networks: [^10.0.0]}", "not an address or prefix", "203.0.113.7"),
    ("name: r, action: deny, peers: {domains: [^'*.example.com']}", "below it already", "'example.com'"),
    ("name: r, action: deny, peers: {domains: [^'https://example.com/x']}", "not a domain", "without scheme"),
    ("name: r, action: deny, peers: {reputation_below: ^30}", "between 0 and 1", "0.3"),
    ("name: r, action: deny, peers: {reputation_below: ^low}", "not a number", None),
    ("name: r, action: deny, peers: {profile: ^knwon}", "unknown word 'knwon'", "'known'"),
    ("name: r, action: deny, peers: {^domain: [a.b]}", "unknown field 'domain'", "'domains'"),
    ("name: r, action: deny, peers: ^{}", "no criterion", "every peer"),
    ("name: r, action: deny, peers: {not: {not: ^{profile: new}}}", "not within not", None),
    ("name: r, action: deny, for: ^1h", "for needs `when`", None),
    ("name: r, action: deny, when: persona.risk_score > 0.5, for: ^90", "not a duration", "'90s'"),
    ("name: r, action: deny, when: persona.risk_score > 0.5, for: ^0s", "lies between", None),
    ("name: r, action: deny, existing: ^drain", "drain needs a duration", "drain 60s"),
    ("name: r, action: deny, existing: ^kep", "not one of", "'keep'"),
    ("name: r, action: allow, existing: ^cut", "allow keeps", "leave existing out"),
    ("name: r, action: ^rate-limit", "rate-limit needs rate", "1 mbit"),
    ("name: r, action: rate-limit, rate: ^1 mbps", "not a rate", "1 mbit"),
    ("name: r, action: deny, rate: ^1 mbit", "rate belongs to action: rate-limit", None),
    ("name: r, action: ^redirect", "redirect needs to", "analyser"),
    ("name: r, action: redirect, to: ^10.0.0.300", "not an address", None),
    ("name: r, action: isolate, ports: ^[80]", "ports cannot narrow it", "use deny"),
    ("name: r, action: isolate, direction: ^inbound", "direction cannot narrow it", "use deny"),
    ("name: r, action: deny, when: ^~", "when is empty", "leave it out"),
    ("name: r, ^name: q, action: deny", "'name' stands here twice", None),
    ("name: r, action: deny, when: ^[persona.risk_score > 0.7]", "a CEL expression is expected, not a list", None),
    ("name: r, action: ^!!python/name:os.system x", "tag", None),
    ("name: r, action: deny, ^to or not", "unknown field 'to or not'", "a comma inside"),
]


@pytest.mark.parametrize(("text", "message", "hint"), MISTAKES)
def test_a_mistake_in_a_rule_is_told_at_its_place(text, message, hint):
    problem = only(rule(text.replace("^", "")))
    assert message in problem.message
    assert problem.place == ("f.yaml", 8, 8 + text.find("^"))
    assert hint is None or hint in problem.hint


# (the file, line, column, message, hint)
FILES = [
    (
        "kind: Policy\nmetadata: {name: p}\nspec: {mode: off, order: 1, rules: [{name: r, action: deny}]}",
        1,
        1,
        "needs apiVersion",
        None,
    ),
    (HEAD.replace("v1", "v9") + "    - {name: r, action: deny}", 1, 13, "'netpersona/v9' is not read", "netpersona/v1"),
    (HEAD.replace("Policy", "Polcy") + "    - {name: r, action: deny}", 2, 7, "unknown word 'Polcy'", "'Policy'"),
    (
        HEAD.replace("name: p", "nme: p, name: p") + "    - {name: r, action: deny}",
        3,
        12,
        "unknown field 'nme'",
        "'name'",
    ),
    (
        HEAD.replace("enforce", "enforced") + "    - {name: r, action: deny}",
        5,
        9,
        "unknown word 'enforced'",
        "'enforce'",
    ),
    (HEAD.replace("  mode: enforce\n", "") + "    - {name: r, action: deny}", 5, 3, "needs mode", None),
    (HEAD.replace("order: 1", "order: first") + "    - {name: r, action: deny}", 6, 10, "not a whole number", None),
    (HEAD.replace("order", "ordr") + "    - {name: r, action: deny}", 6, 3, "unknown field 'ordr'", "'order'"),
    (
        HEAD.replace("name: p", "name: mitigation-rules-of-x") + "    - {name: r, action: deny}",
        3,
        18,
        "persona's own",
        None,
    ),
    (
        HEAD + "    - {name: r, action: deny}\n    - {name: r, action: allow}",
        9,
        7,
        "'r' stands here twice; line 8",
        None,
    ),
    (HEAD + "    - {name: r, action: deny", 9, 1, "not YAML", None),
    (HEAD + "    - just text", 8, 7, "a rule is a mapping of fields", None),
    ("a: \x01", 1, 4, "not YAML: control characters", None),
    ("a:\n\tb: 1", 2, 1, "not YAML: a tab; YAML is indented with spaces", None),
    ("[1, 2]", 1, 1, "a resource is a mapping", None),
    ("a: *b", 1, 4, "before its anchor", None),
    ("? [a]\n: b", 1, 3, "a name must be text", None),
    ("[" * 100, 1, 34, "nested too deeply", None),
]


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), FILES)
def test_a_mistake_in_a_file_is_told_at_its_place(text, line, column, message, hint):
    found = [p for p in problems(text, "f.yaml") if message in p.message]
    assert found, [str(p) for p in problems(text, "f.yaml")]
    assert found[0].place == ("f.yaml", line, column)
    assert hint is None or hint in found[0].hint


def test_all_problems_are_told_together_one_line_each_in_their_order():
    text = HEAD + "    - {name: A, action: deni}\n    - {name: b, action: deny, ports: [0]}\n"
    with pytest.raises(PolicyError) as error:
        parse(text, "f.yaml")
    lines = str(error.value).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["f.yaml:8:14:", "f.yaml:8:25:", "f.yaml:9:39:"]
    assert lines[1] == "f.yaml:8:25: action: unknown word 'deni'; did you mean 'deny'?"


def test_a_flaw_inside_a_block_of_cel_is_told_at_its_own_line():
    text = (
        HEAD
        + "    - name: r\n      action: deny\n      when: |\n        persona.risk_score > 0.5 &&\n        persona.compleness > 0.9\n"
    )
    problem = only(text)
    assert (problem.place.line, problem.place.column) == (12, 17)
    assert "completeness" in problem.hint


def test_mode_off_is_a_word_and_not_a_truth_value():
    assert parse(rule("name: r, action: deny").replace("enforce", "off"), "f").policies[0].mode == "off"


def test_defaults_are_a_careful_operators():
    deny = parse(rule("name: r, action: deny"), "f").policies[0].rules[0]
    assert (deny.direction, deny.existing, deny.hold) == (Direction.BOTH, Existing("keep"), None)
    isolate = parse(rule("name: r, action: isolate"), "f").policies[0].rules[0]
    assert isolate.existing == Existing("cut")
    until = parse(rule("name: r, action: deny, when: persona.risk_score > 0.7, until: persona.risk_score < 0.2"), "f")
    assert until.policies[0].rules[0].hold == DEFAULT_HOLD


def test_values_are_canonical():
    text = rule(
        "name: r, action: rate-limit, rate: 1.5 mbit/s, ports: [8000-8100, 80, 8101, 81], protocols: [TCP, icmpv6], "
        "peers: {networks: [2001:DB8:0::1/128, '::ffff:192.0.2.1', 10.0.0.0/8], domains: [Bücher.Example., a.b]}"
    )
    found = parse(text, "f").policies[0].rules[0]
    assert found.rate == Rate(1_500_000, "bit")
    assert found.ports == ((80, 81), (8000, 8101))
    assert found.protocols == ("tcp", "icmp6")
    assert found.peers.networks == ("10.0.0.0/8", "192.0.2.1", "2001:db8::1")
    assert found.peers.domains == ("a.b", "xn--bcher-kva.example")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("60s", 60), ("5m", 300), ("1h", 3600), ("30d", 2_592_000), ("1w", 604_800), ("1h 30m", 5400), ("1h30m", 5400)],
)
def test_durations(written, meant):
    found = parse(rule(f"name: r, action: deny, when: persona.risk_score > 0.5, for: {written}"), "f")
    assert found.policies[0].rules[0].hold == meant * 1_000_000


@pytest.mark.parametrize("to", ["analyser", "10.0.0.9", "10.0.0.9:3128", "2001:db8::9", "[2001:db8::9]:3128"])
def test_redirects_lead_to_names_or_addresses(to):
    assert parse(rule(f"name: r, action: redirect, to: '{to}'"), "f").policies[0].rules[0].to == to


def test_anchors_and_merge_keys_serve():
    text = HEAD + "    - &a {name: a, action: deny, direction: outbound}\n    - {<<: *a, name: b}\n"
    assert [(r.name, r.direction) for r in parse(text, "f").policies[0].rules] == [("a", "outbound"), ("b", "outbound")]


def test_a_billion_laughs_is_refused_at_once():
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12))
    assert "more than" in only(f"l0: &l0 [x]\n{levels}").message


ALWAYS = "apiVersion: netpersona/v1\nkind: AlwaysAllow\nspec: {%s}\n"


def test_always_allow():
    found = parse(ALWAYS % "management: [192.0.2.10/32, 10.9.0.0/16], ports: [22, 8443], dhcp: false", "f").always
    assert found == AlwaysAllow(("10.9.0.0/16", "192.0.2.10"), (22, 8443), dhcp=False)


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("mangement: [192.0.2.1]", 8, "unknown field 'mangement'", "'management'"),
        ("arp: true", 8, "unknown field 'arp'", "'neighbours'"),
        ("dhcp: maybe", 14, "true or false", None),
        ("management: [host.example]", 21, "not an address or prefix", None),
    ],
)
def test_mistakes_in_always_allow(text, column, message, hint):
    problem = only(ALWAYS % text)
    assert message in problem.message
    assert problem.place == ("f.yaml", 3, column)
    assert hint is None or hint in problem.hint


ALLOW = "apiVersion: netpersona/v1\nkind: AllowList\nmetadata: {name: a}\nspec:\n  entries:\n    - {%s}\n"


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("value: 10.0.0.1, comment: c, until: 30.6.2027", 44, "not a date", "2027-06-30"),
        ("value: 10.0.0.1, comment: c, until: 2027-02-30", 44, "no such date", None),
        ("value: 10.0.0.1, comment: c, until: '2027-06-30T12:00'", 44, "needs its zone", "T12:00Z"),
        ("value: 10.0.0.1", 7, "an entry needs comment", None),
        ("comment: c", 7, "an entry needs value", None),
        ("value: 10.0.0.1, commnt: c, comment: c", 25, "unknown field 'commnt'", "'comment'"),
        ("value: 'a b', comment: c", 15, "not a domain", None),
    ],
)
def test_mistakes_in_an_allow_list(text, column, message, hint):
    problem = only(ALLOW % text)
    assert message in problem.message
    assert problem.place == ("f.yaml", 6, column)
    assert hint is None or hint in problem.hint


def test_an_entry_may_end_at_an_instant():
    entry = parse(ALLOW % "value: 10.0.0.1, comment: c, until: 2027-06-30T02:00:00+02:00", "f").allow[0].entries[0]
    assert entry.until == 1_814_313_600_000_000


def test_merging_refuses_a_name_that_stands_twice_and_names_both_places():
    one, two = parse(rule("name: r, action: deny"), "one.yaml"), parse(rule("name: r, action: allow"), "two.yaml")
    with pytest.raises(PolicyError, match=r"two.yaml:1:1: the policy 'p' stands twice; one.yaml:1:1 has it too"):
        merge([two, one])


def test_merging_orders_policies_and_takes_the_one_always_allow():
    one = parse(rule("name: r, action: deny"), "one.yaml")
    two = parse(rule("name: r, action: deny").replace("name: p", "name: a"), "two.yaml")
    always = parse(ALWAYS % "management: [192.0.2.1]", "three.yaml")
    assert merge([one, two, always]) == merge([always, two, one])
    assert [p.name for p in merge([one, always, two]).policies] == ["a", "p"]
    assert merge([one, always, two]).always.management == ("192.0.2.1",)


def test_a_personas_own_rules_are_parsed_and_told_by_their_number():
    good = {"name": "a", "when": "'c2_beacon' in persona.exposure", "action": "isolate", "for": "1h"}
    assert parse_rules([good], "web-1")[0].hold == 3_600_000_000
    with pytest.raises(PolicyError, match=r"web-1.mitigation_rules:2:1: action: unknown word 'denny'"):
        parse_rules([good, {"name": "b", "action": "denny"}], "web-1")
    assert parse_rules([{"name": "a", "action": "deny", "ports": [80, "81-90"]}], "x")[0].ports == ((80, 90),)
