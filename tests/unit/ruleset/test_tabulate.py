"""What is kept from table to table never shows: only the names of what VMs share may be older."""

import re
from itertools import count

from hypothesis import given, settings

from kernel.two_vms import ruleset as of_two
from netpersona.ruleset.render import written
from netpersona.ruleset.tables import Table
from netpersona.ruleset.tabulate import Tabulator
from properties.given_rulesets import World, worlds


@settings(max_examples=40, deadline=None)
@given(worlds(), worlds(), worlds())
def test_tables_after_changes_are_those_made_at_once(first: World, second: World, third: World) -> None:
    kept = Tabulator()
    for world, bridged in ((first, ()), (second, ("tap-vm-2",)), (third, ("tap-vm-2",)), (second, ()), (first, ())):
        ruleset = world.ruleset()
        over = frozenset(bridged)
        assert _text(kept.tables(ruleset, over)) == _text(Tabulator().tables(ruleset, over))


@settings(max_examples=20, deadline=None)
@given(worlds())
def test_what_did_not_change_is_the_very_same(world: World) -> None:
    kept, ruleset = Tabulator(), world.ruleset()
    before, after = kept.tables(ruleset)[0], kept.tables(ruleset)[0]
    assert all(after.chains[name] is lines for name, lines in before.chains.items() if name.startswith("from_"))
    assert all(after.maps[name] is leads for name, leads in before.maps.items())


def test_one_vms_change_leaves_what_it_does_not_concern_the_very_same() -> None:
    known = "{name: k, direction: outbound, peers: {profile: known}, action: allow}"
    redirect = "{name: r, when: persona.name == 'a', direction: outbound, action: redirect, to: '192.0.2.9:80'}"
    kept = Tabulator()
    (before,), (after,) = (kept.tables(of_two(rules)) for rules in (known, f"{known}, {redirect}"))
    assert after.maps["nat_interface"].chains == {"tap-a": "nat_a"}
    assert all(after.maps[name] is leads for name, leads in before.maps.items())
    assert before.own
    assert all(after.own[name] is own for name, own in before.own.items())
    (again,) = kept.tables(of_two(known))
    assert again.maps == before.maps


def test_vms_with_the_same_rules_share_their_chains() -> None:
    alike = of_two("{name: r, direction: outbound, peers: {profile: new}, action: deny}")
    (table,) = Tabulator().tables(alike)
    leads = {name: [line for line in table.chains[name] if "goto from." in line] for name in ("from_a", "from_b")}
    assert leads["from_a"] == leads["from_b"] != []


def test_prefixes_of_several_rules_are_near_together() -> None:
    cut = "direction: outbound, action: deny, existing: cut"
    rules = [
        f"{{name: {name}, {cut}, peers: {{networks: [{peers}]}}}}"
        for name, peers in (("one", "192.0.2.0/25, 203.0.113.7"), ("two", "10.0.0.0/15"))
    ]
    kept = Tabulator()
    before, after = (kept.tables(of_two(", ".join(rules)))[0] for _ in range(2))
    (name,) = (name for name in before.sets if name.startswith("near."))
    assert before.sets[name].members == ("10.0.0.0", "10.1.0.0", "192.0.0.0")
    assert after.sets[name] is before.sets[name]
    assert any(f"@{name} " in line for lines in before.chains.values() for line in lines)
    (alone,) = kept.tables(of_two(rules[0]))
    assert not any(each.startswith("near.") for each in alone.sets)


def _text(tables: tuple) -> list[list[str]]:
    return [_lines(table) for table in tables]


def _lines(table: Table) -> list[str]:
    """The lines, with the names of what VMs share replaced by numbers, in the order in which VMs lead there.

    Each table has names of its own: in one they may be older than in the other.
    """
    lines = sorted(line.rstrip(",").strip() for line in written((table,)).splitlines())
    names: dict[str, str] = {}
    numbers = count()
    for chain, body in sorted(table.chains.items()):
        if chain.startswith("from_"):
            for name in re.findall(r"goto from\.(\w+)", " ".join(body)):
                names.setdefault(name, f"L{next(numbers)}")
    found = [re.sub(r"\b(from|to|nat)\.(\w+)", lambda m: f"{m[1]}.{names.get(m[2], m[2])}", line) for line in lines]
    return sorted(found)
