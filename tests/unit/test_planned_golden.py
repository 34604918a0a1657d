"""Of what Applications ask for, `plan` tells what an operator then does: when it is new, unchanged, and deleted."""

from pathlib import Path

import pytest
import yaml

from maskinporten_operator.model.application import parse_application
from maskinporten_operator.model.maskinportenclient import DELETE_ANNOTATION
from maskinporten_operator.model.resources import InvalidSpec
from tests.children import application_body
from tests.unit.fakes import SECRET, resource_body
from tests.unit.planned_world import PlanOracle
from tests.unit.world import World

PASSES = 4
GOLDEN = Path(__file__).parents[1] / "golden"


def list_specs():
    """Give the spec of the MaskinportenClient that each Application of the golden files asks for, each once."""
    specs = {}
    for path in sorted([*GOLDEN.glob("cases/*.yaml"), *GOLDEN.glob("manifests/*.yaml")]):
        application = yaml.safe_load(path.read_text())["application"]
        spec = parse_application(application_body(application["spec"], **application["metadata"])).spec
        if not isinstance(spec, InvalidSpec) and spec.maskinporten.enabled:
            scopes = application["spec"]["maskinporten"].get("scopes") or {}
            specs.setdefault(yaml.safe_dump(scopes), pytest.param(scopes, id=path.stem))
    return list(specs.values())


@pytest.mark.parametrize("scopes", list_specs())
async def test_what_golden_applications_ask_for_is_planned_as_it_is_done(monkeypatch, scopes):
    monkeypatch.setenv("EVERY_PLAN", "true")
    compared = len(PlanOracle.seen)
    world = World()
    world.cluster.resource = resource_body(spec={"secretName": SECRET, "scopes": scopes})
    world.see()

    await reconcile_on_and_on(world)
    annotations = {DELETE_ANNOTATION: "true"}
    world.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z", annotations=annotations)
    await reconcile_on_and_on(world)

    assert len(PlanOracle.seen) >= compared + 2
    assert world.digdir.active == []


async def reconcile_on_and_on(world):
    """Run passes for two minutes, whatever they end with."""
    for _ in range(PASSES):
        if world.cluster.resource:
            await world.reconcile()
            world.clock.advance(30.0)
