"""What we render, the real nft accepts, whatever text stands in names, labels and comments."""

import json

from hypothesis import HealthCheck, given, settings

from kernel.private_net import in_new_namespace, needs_kernel
from netpersona.flow.vm import vm_id
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.policy.parse import parse
from netpersona.ruleset.render import render
from netpersona.ruleset.resolve import resolve
from properties.given_rulesets import World, worlds
from shared_data import SHARED, needs_shared

pytestmark = needs_kernel


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_nft_accepts_what_is_rendered(world: World) -> None:
    text = render(world.ruleset())
    done = in_new_namespace("nft -c -f -", text)
    assert done.returncode == 0, f"{done.stderr}\n{text}"


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_loading_twice_gives_the_same_and_touches_no_other_table(world: World) -> None:
    text = render(world.ruleset())
    script = (
        "nft add table inet other && cat > /dev/shm/np-test-$$ && f=/dev/shm/np-test-$$ && nft -f $f && "
        "nft -s -j list ruleset && nft -f $f && nft -s -j list ruleset; code=$?; rm -f $f; exit $code"
    )
    done = in_new_namespace(script, text)
    assert done.returncode == 0, done.stderr
    first, second = (_without_handles(json.loads(line)) for line in done.stdout.splitlines())
    assert first == second
    tables = {entry["table"]["name"] for entry in first["nftables"] if "table" in entry}
    assert tables == {"other", "netpersona"}


@needs_shared
def test_nft_accepts_the_operators_examples() -> None:
    path = SHARED / "policies" / "examples.yaml"
    personas = [
        Persona(
            vm=vm_id(f"vm-{number}"),
            labels={"role": "web"},
            base=BaseNetworkConfig(addresses=(f"10.77.0.{number}/24", f"fd00::{number}/64"), inferred=False),
            risk_prior=number / 10,
            exposure=("known_exploited",),
            exposed_ports=(8080,),
        )
        for number in range(1, 10)
    ]
    interfaces = {persona.vm: f"tap-{persona.vm}" for persona in personas[:5]}
    policies = parse(path.read_text(), path.name)
    text = render(resolve(personas, policies, IndicatorSet.merge([]), 1_800_000_000_000_000, interfaces=interfaces))
    done = in_new_namespace("nft -c -f -", text)
    assert done.returncode == 0, done.stderr


def _without_handles(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_handles(inner) for key, inner in value.items() if key != "handle"}
    if isinstance(value, list):
        return [_without_handles(inner) for inner in value]
    return value
