import pytest

from tests.e2e.stage import NUMBERS, PATIENCE, exposed, held_kid
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"list_lag": "1s", "key_grace": "1s"}
RESOURCE = r"PATCH /apis/nais\.io/v1/namespaces/[^/]+/maskinportenclients/app"
# Each write, in the order in which they are made, and at whose door it can be stopped.
CREATION = {
    "the finalizer": ("cluster", RESOURCE),
    "the registration": ("digdir", {"method": "POST", "path": "/clients$"}),
    "the key": ("digdir", {"method": "POST", "path": "/jwks$"}),
    "the Secret": ("cluster", r"PATCH /api/v1/namespaces/[^/]+/secrets/app-secret"),
    "the status": ("cluster", RESOURCE + "/status"),
}
CHANGE = {
    "the update": ("digdir", {"method": "PUT", "path": "/clients/[^/]+$"}),
    "the Secret": ("cluster", r"PATCH /api/v1/namespaces/[^/]+/secrets/app-secret"),
}
EXPOSURE = {
    "the scope": ("digdir", {"method": "POST", "path": "/scopes$"}),
    "the first access": ("digdir", {"method": "PUT", "path": "/scopes/access/"}),
    "the last access": ("digdir", {"method": "PUT", "path": "/scopes/access/", "skip": 2}),
    "the status": ("cluster", RESOURCE + "/status"),
}
SCOPE_UPDATE = {
    "the update": ("digdir", {"method": "PUT", "path": "/scopes$"}),
    "the revocation": ("digdir", {"method": "DELETE", "path": "/scopes/access/"}),
    "the access": ("digdir", {"method": "PUT", "path": "/scopes/access/"}),
}
SCOPE_DEACTIVATION = {"the deactivation": ("digdir", {"method": "DELETE", "path": "/scopes$"})}
SCOPE_DELETION = {
    "the first revocation": ("digdir", {"method": "DELETE", "path": "/scopes/access/"}),
    "the last revocation": ("digdir", {"method": "DELETE", "path": "/scopes/access/", "skip": 2}),
    **SCOPE_DEACTIVATION,
    "the keys": ("digdir", {"method": "DELETE", "path": "/jwks$"}),
    "the client": ("digdir", {"method": "DELETE", "path": "/clients/[^/]+$"}),
    "the finalizer": ("cluster", RESOURCE),
}
ORGNOS = ["974761076", "970018131", "971032146"]
DELETION = {
    "the keys": ("digdir", {"method": "DELETE", "path": "/jwks$"}),
    "the client": ("digdir", {"method": "DELETE", "path": "/clients/[^/]+$"}),
    "the finalizer": ("cluster", RESOURCE),
}


@pytest.fixture(scope="module")
def running(bare_stage, proxy):
    bare_stage.start_ready()
    return bare_stage


@pytest.fixture
def crash(stage, proxy):
    """Do something, kill the operator and its children at one of the writes that follow, and start it again."""

    def crash(write, when, act):
        door, which = write
        if door == "cluster":
            hold = proxy.hold(which, when)
            act()
            proxy.wait_for(hold)
        else:
            number = stage.fault("hold", when=when, **which)
            # Let go when nobody listens any more, it must not be carried out after all.
            stage.fault("drop", when=when, **which)
            act()
            stage.wait_for_held(number)
        stage.operator.kill()
        stage.clear_faults()
        proxy.release()
        stage.start_ready()

    return crash


def assert_whole(stage, namespace):
    """One client, one Secret, its key registered, and no other key of ours after the grace."""
    client = stage.wait_ready(namespace)
    values = stage.read_secret(namespace)
    registered = stage.registration(namespace)
    assert registered["active"] is True
    assert registered["client_id"] == values["MASKINPORTEN_CLIENT_ID"] == client["status"]["clientID"]
    assert held_kid(values) in stage.kids(namespace)
    wait_for(lambda: stage.kids(namespace) == [held_kid(values)], PATIENCE, "the end of other keys")
    assert stage.read_secret(namespace) == values


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", CREATION.values(), ids=CREATION)
def test_killed_at_any_write_of_a_creation_it_ends_up_the_same(stage, namespace, crash, write, when):
    crash(write, when, lambda: stage.create(namespace))

    assert_whole(stage, namespace)


@pytest.mark.parametrize(("write", "when"), [("the update", "after"), ("the Secret", "before")])
def test_killed_at_any_write_of_a_change_it_ends_up_the_same(stage, namespace, app, crash, write, when):
    spec = {"spec": {"scopes": {"consumes": [{"name": "krr:global/kontaktinformasjon.read"}]}}}

    crash(CHANGE[write], when, lambda: stage.kube.patch_client(namespace, "app", spec))

    assert_whole(stage, namespace)
    assert stage.registration(namespace)["scopes"] == ["krr:global/kontaktinformasjon.read"]
    assert stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == "krr:global/kontaktinformasjon.read"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", DELETION.values(), ids=DELETION)
def test_killed_at_any_write_of_a_deletion_for_good_it_ends_up_the_same(stage, namespace, app, crash, write, when):
    stage.annotate(namespace, "app", delete="true")

    crash(write, when, lambda: stage.kube.delete_client(namespace, "app"))

    stage.wait_gone(namespace)
    registered = stage.registration(namespace)
    assert (registered["active"], registered["keys"]) == (False, [])


@pytest.fixture
def scope(stage):
    """A scope's name of this test alone, within the product `arbeid`."""
    return f"crash{next(NUMBERS)}.read"


def assert_exposed(stage, namespace, scope, consumers):
    """The scope is as the spec says, and is told of."""
    full = f"nav:arbeid:{scope}"
    expected = [{"name": full, "state": "Active", "consumers": len(consumers)}]
    wait_for(
        lambda: stage.kube.find_client(namespace, "app").get("status", {}).get("exposedScopes") == expected,
        PATIENCE,
        f"{expected}",
    )
    stage.wait_ready(namespace)
    assert stage.scope(full)["active"] is True
    assert stage.consumers(full) == set(consumers)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", EXPOSURE.values(), ids=EXPOSURE)
def test_killed_at_any_write_of_a_scopes_creation_it_ends_up_the_same(stage, namespace, crash, scope, write, when):
    crash(write, when, lambda: stage.expose(namespace, "app", exposed(scope, *ORGNOS)))

    assert_exposed(stage, namespace, scope, ORGNOS)
    assert_whole(stage, namespace)


@pytest.mark.parametrize("enabled", [True, False], ids=["active", "inactive"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", SCOPE_UPDATE.values(), ids=SCOPE_UPDATE)
def test_killed_at_any_write_of_a_scopes_change_it_ends_up_the_same(
    stage, namespace, crash, scope, write, when, enabled
):
    stage.expose_ready(namespace, "app", exposed(scope, *ORGNOS[:2]))
    if not enabled:
        stage.edit_exposed(namespace, "app", exposed(scope, *ORGNOS[:2], enabled=False))
        wait_for(lambda: not stage.scope(f"nav:arbeid:{scope}")["active"], PATIENCE, "the deactivation")
        stage.wait_ready(namespace)

    crash(write, when, lambda: stage.edit_exposed(namespace, "app", exposed(scope, *ORGNOS[1:], atMaxAge=99)))

    assert_exposed(stage, namespace, scope, ORGNOS[1:])
    assert stage.scope(f"nav:arbeid:{scope}")["at_max_age"] == 99


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", SCOPE_DEACTIVATION.values(), ids=SCOPE_DEACTIVATION)
def test_killed_at_a_scopes_deactivation_it_ends_up_the_same(stage, namespace, crash, scope, write, when):
    stage.expose_ready(namespace, "app", exposed(scope, *ORGNOS))

    crash(write, when, lambda: stage.edit_exposed(namespace, "app", exposed(scope, *ORGNOS, enabled=False)))

    stage.wait_ready(namespace)
    assert stage.scope(f"nav:arbeid:{scope}")["active"] is False
    assert stage.consumers(f"nav:arbeid:{scope}") == set(ORGNOS)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", SCOPE_DELETION.values(), ids=SCOPE_DELETION)
def test_killed_at_any_write_of_a_deletion_with_scopes_it_ends_up_the_same(stage, namespace, crash, scope, write, when):
    stage.expose_ready(namespace, "app", exposed(scope, *ORGNOS))
    stage.annotate(namespace, "app", delete="true")

    crash(write, when, lambda: stage.kube.delete_client(namespace, "app"))

    stage.wait_gone(namespace)
    registered = stage.registration(namespace)
    assert (registered["active"], registered["keys"]) == (False, [])
    assert stage.scope(f"nav:arbeid:{scope}")["active"] is False
    assert stage.consumers(f"nav:arbeid:{scope}") == set()


@pytest.mark.parametrize(("write", "when"), [("the key", "after")])
def test_killed_while_it_repairs_a_secret_it_ends_up_with_one_key(stage, namespace, app, crash, write, when):
    crash(CREATION[write], when, lambda: stage.delete_secret(namespace))

    stage.wait_for_secret(namespace)
    assert_whole(stage, namespace)


def test_a_registration_that_gets_through_when_its_sender_is_gone_is_adopted(stage, namespace):
    number = stage.fault("hold", method="POST", path="/clients$")
    stage.create(namespace)
    stage.wait_for_held(number)
    stage.operator.kill()
    stage.start()
    stage.clear_faults()

    assert_whole(stage, namespace)


def test_killed_in_the_middle_of_twenty_creations_every_one_ends_up_the_same(stage, namespace):
    names = [f"app-{number}" for number in range(20)]
    number = stage.fault("hold", when="after", method="POST", path="/jwks$", skip=8)
    for name in names:
        stage.create(namespace, name)
    stage.wait_for_held(number)
    stage.operator.kill()
    stage.clear_faults()
    stage.start_ready()

    for name in names:
        client = stage.wait_ready(namespace, name)
        values = stage.read_secret(namespace, f"{name}-secret")
        assert stage.registration(namespace, name)["client_id"] == client["status"]["clientID"]
        wait_for(lambda: stage.kids(namespace, name) == [held_kid(values)], PATIENCE, "one key")
