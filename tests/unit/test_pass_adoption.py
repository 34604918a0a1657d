"""Which of DigDir's clients a resource takes as its own, in whole passes."""

import copy

import pytest

from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION
from tests.unit.fakes import DESCRIPTION, SCOPE, decode, private_jwk, registered
from tests.unit.world import World

DAY = 86400


@pytest.fixture
def world():
    world = World()
    yield world
    assert world.digdir.violations == []


@pytest.fixture
async def converged(world):
    await world.settle()
    return world


def make_by_hand(world, description=DESCRIPTION, *keys, age=0, **fields):
    """Somebody registers a client by hand, `age` seconds ago; give its id."""
    fields = {"client_name": "by hand", "description": description, "scopes": [SCOPE], **fields}
    client_id = world.digdir.create(fields, *keys).client_id
    world.digdir.change(client_id, created=world.digdir.now - age)
    return client_id


async def test_a_client_that_is_adopted_keeps_its_keys_and_what_others_set(world):
    by_hand = make_by_hand(world, DESCRIPTION, registered(private_jwk(7, "by-hand"), None), logo_uri="https://logo/")

    await world.settle()

    assert world.status["clientID"] == by_hand
    assert set(world.kids) == {"by-hand", world.held.kid}
    assert world.client.fields["logo_uri"] == "https://logo/"
    assert "create-client" not in [call["operation"] for call in world.digdir.calls()]


async def test_an_adopted_key_that_lasts_shorter_keeps_its_end(world):
    ends = int(world.digdir.now) + 40 * DAY
    make_by_hand(world, DESCRIPTION, registered(private_jwk(7, "by-hand"), None, exp=ends))

    await world.settle()

    (key,) = (one for one in world.client.keys if one.kid == "by-hand")
    assert key.expires == ends


@pytest.mark.parametrize(
    "fields",
    [{"active": False}, {"integration_type": "api_klient"}],
    ids=["inactive", "of another integration type"],
)
async def test_a_client_that_isnt_usable_is_never_adopted_and_stays_as_it_is(world, fields):
    other = make_by_hand(world, **fields)
    before = world.digdir.clients[other]

    await world.settle()

    assert world.status["clientID"] != other
    assert world.digdir.clients[other] == before


@pytest.mark.parametrize("form", ["{}x", "{} ", " {}", "x{}", "{}:y", "upper"])
async def test_a_description_that_is_only_like_ours_is_somebody_elses(world, form):
    other = make_by_hand(world, DESCRIPTION.upper() if form == "upper" else form.format(DESCRIPTION))
    before = world.digdir.clients[other]

    await world.settle()

    assert world.status["clientID"] != other
    assert world.digdir.clients[other] == before


async def test_of_several_the_oldest_is_adopted_and_the_others_are_named_and_left_alone(world):
    younger = make_by_hand(world, age=1000)
    oldest = make_by_hand(world, age=3000)
    middle = make_by_hand(world, age=2000)

    await world.settle()

    assert world.status["clientID"] == oldest
    condition = world.find_condition("RegistrationUnique")
    assert condition["status"] == "False"
    assert [one in condition["message"] for one in (younger, middle, oldest)] == [True, True, False]
    assert [world.digdir.clients[one].keys for one in (younger, middle)] == [(), ()]


@pytest.mark.parametrize("keeps_secret", [True, False], ids=["of the Secret", "of the status"])
async def test_of_several_the_one_that_was_ours_wins_over_an_older_one(converged, keeps_secret):
    own = converged.client.client_id
    older = make_by_hand(converged, age=5000)
    if not keeps_secret:
        converged.cluster.secrets.clear()
    converged.start()

    await converged.settle()

    assert decode(converged.secret, "MASKINPORTEN_CLIENT_ID") == own
    assert converged.digdir.clients[older].keys == ()


async def test_the_condition_about_others_goes_when_they_are_gone(converged):
    other = make_by_hand(converged)
    await converged.resync()
    await converged.reconcile()
    assert converged.find_condition("RegistrationUnique")["reason"] == "DuplicateRegistrations"
    converged.digdir.change(other, active=False)
    await converged.resync()

    await converged.reconcile()

    assert converged.find_condition("RegistrationUnique") is None
    assert converged.ready == "True"


async def list_again(world):
    await world.resync()


async def start_again(world):
    world.start()
    await world.resync()


async def ask_for_a_resync(world):
    """Then what the list tells of it is older than what is read."""
    world.cluster.annotate(**{RESYNC_ANNOTATION: "true"})


async def lose_the_secrets_id(world):
    """Then the Secret doesn't confirm what the list tells."""
    del world.secret["data"]["MASKINPORTEN_CLIENT_ID"]


LOOKS = [list_again, start_again, ask_for_a_resync, lose_the_secrets_id]


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.__name__)
async def test_a_client_that_was_given_another_description_is_released_and_nothing_is_changed(converged, look):
    own = converged.client.client_id
    converged.digdir.change(own, description="given to somebody else")
    before = converged.digdir.clients
    since = converged.digdir.sequence
    await look(converged)
    secret = copy.deepcopy(converged.secret)

    await converged.reconcile()

    assert (converged.ready, converged.condition["reason"]) == ("False", "RegistrationReleased")
    assert own in converged.condition["message"]
    assert converged.digdir.clients == before
    assert converged.secret == secret
    assert [call for call in converged.digdir.calls(since=since) if call["method"] != "GET"] == []
    converged.digdir.change(own, description=DESCRIPTION)
    await converged.resync()
    await converged.reconcile()
    assert converged.ready == "True"
    assert converged.status["clientID"] == own
