"""One namespace's load doesn't hold up another's work."""

import pytest

from tests.e2e.stage import NUMBERS, PATIENCE, exposed
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

WORKERS = 8
SETTINGS = {"workers": str(WORKERS), "resync_interval": "1h", "key_pool_size": "16"}
MANY = 120
"""Scopes of one resource: more than two passes change."""
SKATT = "974761076"


@pytest.fixture
def calm(stage):
    """Another namespace."""
    name = f"calm-{next(NUMBERS)}"
    stage.kube.create_namespace(name)
    yield name
    stage.sweep(name)


def word(namespace):
    """What a scope may be called that is a namespace's alone."""
    return namespace.replace("-", "")


def test_however_many_passes_of_a_namespace_hang_another_is_served_at_once(stage, namespace, calm):
    stage.create_ready(calm, "old")
    hold = stage.fault("hold", method="POST", path="/scopes$", times=None)
    for number in range(WORKERS + 1):
        stage.expose(namespace, f"api{number}", exposed(f"{word(namespace)}/{number}"))
    stage.wait_for_held(hold)
    running = lambda: stage.operator.metric("maskinporten_operator_active_workers")  # noqa: E731
    wait_for(lambda: running() == WORKERS - 1, PATIENCE, "as many passes as one namespace may have")

    stage.create_ready(calm, "new")
    lost = stage.find_secret(calm, "old-secret")
    stage.delete_secret(calm, "old-secret")
    stage.wait_for_secret(calm, "old-secret", unlike=lost)
    stage.delete(calm, "old")

    wait_for(lambda: running() == WORKERS - 1, PATIENCE, "only those passes left")
    stage.clear_faults()
    for number in range(WORKERS + 1):
        stage.wait_ready(namespace, f"api{number}")


def test_many_scopes_are_made_by_several_passes_with_few_writes_to_the_cluster(stage, namespace, audit):
    since = stage.sequence
    before = stage.passes
    names = [f"{word(namespace)}/{number}" for number in range(MANY)]

    stage.expose_ready(namespace, "api", *(exposed(name, SKATT) for name in names))

    made = stage.writes(since)
    assert made.count("create-scope") == made.count("grant-access") == MANY
    assert made[:2] == ["create-client", "replace-keys"]
    assert stage.passes - before >= 2 * MANY / 50
    assert len(audit.count(namespace)) <= 4  # finalizer, Secret, and the status at the beginning and at the end
    assert all(stage.consumers(f"nav:arbeid/{name}") == {SKATT} for name in names)
