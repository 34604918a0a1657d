"""What all tests of passes have in common."""

import pytest

from tests.unit.planned_world import PlanOracle
from tests.unit.world import World


@pytest.fixture(autouse=True)
def plans_are_what_an_operator_does(monkeypatch):
    """Before passes, compare `plan` with what an operator would do that started then."""
    oracle, reconcile = PlanOracle(), World.reconcile

    async def plan_and_reconcile(self, body=None):
        await oracle.check(self)
        return await reconcile(self, body)

    monkeypatch.setattr(World, "reconcile", plan_and_reconcile)
