"""The process is killed at a write, one of each kind: a pass is tried with a crash at each of its calls in tests/unit.

There, whatever it was about to do is done by a pass of another process (test_pass.py, test_pass_scopes.py). Here it is
seen that a killed process leaves nothing else behind that the next one would stumble over.
"""

import pytest

from tests.e2e.stage import NUMBERS, PATIENCE, exposed, held_kid
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"list_lag": "1s", "key_grace": "1s"}
RESOURCE = r"PATCH /apis/nais\.io/v1/namespaces/[^/]+/maskinportenclients/app"
# Writes, and at whose door each can be stopped.
REGISTRATION = ("digdir", {"method": "POST", "path": "/clients$"})
KEY = ("digdir", {"method": "POST", "path": "/jwks$"})
SECRET = ("cluster", r"PATCH /api/v1/namespaces/[^/]+/secrets/app-secret")
STATUS = ("cluster", RESOURCE + "/status")
CREATION = {
    "after the registration": (REGISTRATION, "after"),
    "after the key": (KEY, "after"),
    "before the Secret": (SECRET, "before"),
    "before the status": (STATUS, "before"),
}
FIRST_ACCESS = ("digdir", {"method": "PUT", "path": "/scopes/access/"})
SCOPE_UPDATE = ("digdir", {"method": "PUT", "path": "/scopes$"})
LAST_REVOCATION = ("digdir", {"method": "DELETE", "path": "/scopes/access/", "skip": 2})
CLIENT_DELETION = ("digdir", {"method": "DELETE", "path": "/clients/[^/]+$"})
ORGNOS = ["974761076", "970018131", "971032146"]


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


@pytest.mark.parametrize(("write", "when"), CREATION.values(), ids=CREATION)
def test_killed_at_a_write_of_a_creation_it_ends_up_the_same(stage, namespace, crash, write, when):
    crash(write, when, lambda: stage.create(namespace))

    assert_whole(stage, namespace)


def test_killed_at_a_write_of_a_change_it_ends_up_the_same(stage, namespace, app, crash):
    spec = {"spec": {"scopes": {"consumes": [{"name": "krr:global/kontaktinformasjon.read"}]}}}

    crash(SECRET, "before", lambda: stage.kube.patch_client(namespace, "app", spec))

    assert_whole(stage, namespace)
    assert stage.registration(namespace)["scopes"] == ["krr:global/kontaktinformasjon.read"]
    assert stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == "krr:global/kontaktinformasjon.read"


def test_killed_at_a_write_of_a_deletion_for_good_it_ends_up_the_same(stage, namespace, app, crash):
    stage.annotate(namespace, "app", delete="true")

    crash(CLIENT_DELETION, "after", lambda: stage.kube.delete_client(namespace, "app"))

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


def test_killed_at_a_write_of_a_scopes_creation_it_ends_up_the_same(stage, namespace, crash, scope):
    crash(FIRST_ACCESS, "after", lambda: stage.expose(namespace, "app", exposed(scope, *ORGNOS)))

    assert_exposed(stage, namespace, scope, ORGNOS)
    assert_whole(stage, namespace)


def test_killed_at_a_write_of_a_scopes_change_it_ends_up_the_same(stage, namespace, crash, scope):
    stage.expose_ready(namespace, "app", exposed(scope, *ORGNOS[:2]))
    stage.edit_exposed(namespace, "app", exposed(scope, *ORGNOS[:2], enabled=False))
    wait_for(lambda: not stage.scope(f"nav:arbeid:{scope}")["active"], PATIENCE, "the deactivation")
    stage.wait_ready(namespace)

    crash(SCOPE_UPDATE, "after", lambda: stage.edit_exposed(namespace, "app", exposed(scope, *ORGNOS[1:], atMaxAge=99)))

    assert_exposed(stage, namespace, scope, ORGNOS[1:])
    assert stage.scope(f"nav:arbeid:{scope}")["at_max_age"] == 99


def test_killed_at_a_write_of_a_deletion_with_scopes_it_ends_up_the_same(stage, namespace, crash, scope):
    stage.expose_ready(namespace, "app", exposed(scope, *ORGNOS))
    stage.annotate(namespace, "app", delete="true")

    crash(LAST_REVOCATION, "after", lambda: stage.kube.delete_client(namespace, "app"))

    stage.wait_gone(namespace)
    registered = stage.registration(namespace)
    assert (registered["active"], registered["keys"]) == (False, [])
    assert stage.scope(f"nav:arbeid:{scope}")["active"] is False
    assert stage.consumers(f"nav:arbeid:{scope}") == set()


def test_killed_while_it_repairs_a_secret_it_ends_up_with_one_key(stage, namespace, app, crash):
    crash(KEY, "after", lambda: stage.delete_secret(namespace))

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
