"""The life of a client and of scopes in every manner that DigDir may have: nothing public tells which one it has."""

import asyncio
import itertools

import pytest
import structlog

from digdir_contract import load
from digdir_simulator import jws
from maskinporten_operator.model.maskinportenclient import DELETE_ANNOTATION, ROTATE_ANNOTATION
from tests.adapters.life import LiveWorld
from tests.certificates import rsa_key
from tests.manners import LAX, ODD, STRICT
from tests.unit import fakes

UNKNOWN = load().unknown
OPEN = "udir:some.open.scope"
EXPOSED = "nav:arbeid:some.scope"
KOMMUNE, SKATT = "958935420", "974761076"

OF_CLIENTS = (
    "inactive_client_is_found",
    "inactive_client_changes",
    "missing_keys_deletion_status",
    "expired_keys_accepted",
    "list_includes_jwks",
    "created_status",
)
OF_SCOPES = (
    "owner_needs_access",
    "inactive_scope_access_changes",
    "missing_access_revocation_status",
    "access_list_includes_denied",
    "duplicate_scope_status",
    "scope_read_with_write_right",
    "created_status",
)
OF_ANSWERS = ("deleted_status", "empty_list_is_error", "empty_jwks", "form_limits_enforced", "orgno_check")
OF_TOKENS = ("assertion_max_seconds", "assertion_skew_seconds", "allow_clients_without_scopes")


def combine(*names):
    """Give every combination of the answers to some questions."""
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(UNKNOWN[n].values for n in names))]


def describe(manner):
    return "-".join(map(str, manner.values()))


@pytest.fixture(scope="module")
def begin():
    """Begin a life in a manner; the log would take longer than the life."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield LiveWorld
    structlog.reset_defaults()


def look(world):
    """What somebody sees who asks how it is: of what differs in any case, such as ids, only how it fits together."""
    active = [one for one in world.clients if one.active]
    seen = {"clients": len(world.clients), "active": len(active)}
    if world.cluster.resource is not None:
        seen |= {"ready": world.ready, "reason": world.condition["reason"]}
        seen |= {"told": world.status.get("clientID") == world.client.client_id}
        seen |= {"held": world.held.kid in world.kids, "kids": len(world.kids)}
    for one in active:
        seen |= {"scopes": sorted(one.scopes), "lifetime": one.fields["access_token_lifetime"]}
    scope = world.scope(EXPOSED)
    if scope is not None:
        seen |= {
            "scope": scope.active,
            "at_max_age": scope.at_max_age,
            "consumers": sorted(world.digdir.consumers(EXPOSED)),
        }
    return seen


async def live_as_client(world):
    """Create, update, rotate, restart, lose, delete, create again, delete for good, and once more."""
    seen = {}

    async def note(what, settling):
        await settling
        seen[what] = look(world)

    await note("created", world.settle())
    world.cluster.edit_spec(scopes={"consumes": [{"name": fakes.SCOPE}, {"name": OPEN}]})
    await note("updated", world.settle())
    world.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    await note("rotated", world.settle())
    await note("the old key gone", world.later(hours=25))

    foreign = jws.as_public_jwk(rsa_key(0).public_key(), "made-by-hand")
    world.change_client(keys=(*world.client.keys, world.expiring(foreign, days=1)))
    await note("a key beside ours", world.later(hours=1))
    world.clock.advance(2 * 86400)
    world.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    await note("rotated beside an expired key", world.later(seconds=11))

    world.start()
    await note("restarted", world.settle())
    world.change_client(active=False)
    await note("deleted by hand", world.later(seconds=11))
    await note("deleted", world.delete())
    world.create(status={"clientID": world.clients[0].client_id})
    await note("created again", world.settle())
    world.change_client(keys=())
    await note("deleted for good without keys", world.delete(**{DELETE_ANNOTATION: "true"}))
    world.clock.advance(11)
    world.create(status={"clientID": world.clients[-1].client_id})
    await note("created after that", world.settle())
    await note("deleted for good", world.delete(**{DELETE_ANNOTATION: "true"}))
    return seen


def exposed(*consumers, **more):
    scope = {"name": "some.scope", "product": "arbeid", "enabled": True, "atMaxAge": 60}
    return {"exposes": [scope | {"consumers": [{"orgno": orgno} for orgno in consumers]} | more]}


async def live_as_scope(world):
    """Expose, change, disable, change while it is inactive, enable again, remove, expose again, delete for good."""
    seen = {}
    used = {"consumes": [{"name": fakes.SCOPE}, {"name": EXPOSED}]}

    async def note(what, settling):
        await settling
        seen[what] = look(world)

    world.cluster.edit_spec(scopes=used | exposed(KOMMUNE, fakes.ORGNO))
    await world.settle()
    await note("exposed", world.later(minutes=5))
    world.cluster.edit_spec(scopes=used | exposed(KOMMUNE, SKATT, fakes.ORGNO, atMaxAge=120))
    await note("changed", world.settle())
    world.cluster.edit_spec(scopes={"consumes": [{"name": fakes.SCOPE}]} | exposed(KOMMUNE, SKATT, enabled=False))
    await note("disabled", world.settle())
    world.start()
    await note("restarted", world.later(seconds=11))
    world.cluster.edit_spec(scopes={"consumes": [{"name": fakes.SCOPE}]} | exposed(KOMMUNE))
    await note("enabled again", world.settle())
    world.cluster.edit_spec(scopes={"consumes": [{"name": fakes.SCOPE}]})
    await note("removed", world.settle())
    world.cluster.edit_spec(scopes={"consumes": [{"name": fakes.SCOPE}]} | exposed(SKATT))
    await note("exposed again", world.settle())
    world.cluster.edit_spec(scopes={"consumes": [{"name": fakes.SCOPE}]} | exposed(SKATT, enabled=False))
    await note("disabled again", world.settle())
    await note("deleted for good", world.delete(**{DELETE_ANNOTATION: "true"}))
    return seen


LIVES = (live_as_client, live_as_scope)


@pytest.fixture(scope="module")
def expected(begin):
    """How it goes in the manner that has the better evidence."""
    return {live: asyncio.run(live(begin())) for live in LIVES}


def test_every_question_has_its_place_here():
    assert {*OF_CLIENTS, *OF_SCOPES, *OF_ANSWERS, *OF_TOKENS} == UNKNOWN.keys()
    assert STRICT.keys() == LAX.keys() == ODD.keys() == UNKNOWN.keys()


EVERY = [
    *((live_as_client, manner) for manner in combine(*OF_CLIENTS)),
    *((live_as_scope, manner) for manner in combine(*OF_SCOPES)),
    *itertools.product(LIVES, [*combine(*OF_ANSWERS), *combine(*OF_TOKENS), STRICT, LAX, ODD]),
]
"""Each life in every combination that can matter to it, and each in the extremes of all at once."""


@pytest.mark.parametrize(("live", "manner"), EVERY, ids=lambda one: describe(one) if isinstance(one, dict) else None)
async def test_life_is_the_same_in_every_manner(begin, expected, live, manner):
    world = begin(**manner)
    assert await live(world) == expected[live]
    assert world.digdir.violations == []


def test_the_life_in_the_assumed_manner_is_as_it_should_be(expected):
    client, scope = expected[live_as_client], expected[live_as_scope]
    assert {what: (one["clients"], one["active"]) for what, one in client.items()} == {
        "created": (1, 1),
        "updated": (1, 1),
        "rotated": (1, 1),
        "the old key gone": (1, 1),
        "a key beside ours": (1, 1),
        "rotated beside an expired key": (1, 1),
        "restarted": (1, 1),
        "deleted by hand": (2, 1),
        "deleted": (2, 1),
        "created again": (2, 1),
        "deleted for good without keys": (2, 0),
        "created after that": (3, 1),
        "deleted for good": (3, 0),
    }
    assert all(one.get("ready", "True") == "True" and one.get("held", True) for one in client.values())
    assert all(one.get("told", True) for one in client.values())
    assert client["created"]["scopes"] == [fakes.SCOPE]
    assert client["updated"]["scopes"] == [fakes.SCOPE, OPEN]
    assert [client[what]["kids"] for what in ("created", "rotated", "the old key gone")] == [1, 2, 1]

    assert {what: (one["scope"], one["consumers"]) for what, one in scope.items()} == {
        "exposed": (True, [fakes.ORGNO, KOMMUNE]),
        "changed": (True, [fakes.ORGNO, KOMMUNE, SKATT]),
        "disabled": (False, [fakes.ORGNO, KOMMUNE, SKATT]),
        "restarted": (False, [fakes.ORGNO, KOMMUNE, SKATT]),
        "enabled again": (True, [KOMMUNE]),
        "removed": (True, [KOMMUNE]),
        "exposed again": (True, [SKATT]),
        "disabled again": (False, [SKATT]),
        "deleted for good": (False, []),
    }
    assert scope["exposed"]["scopes"] == [EXPOSED, fakes.SCOPE]
    assert scope["changed"]["at_max_age"] == 120


@pytest.mark.parametrize("needs_access", [False, True])
async def test_a_client_works_without_an_own_scope_until_the_organisation_has_access_to_it(begin, needs_access):
    own = "nav:some/other/scope"
    world = begin(owner_needs_access=needs_access)
    world.cluster.edit_spec(scopes={"consumes": [{"name": fakes.SCOPE}, {"name": own}]})

    await world.reconcile()
    assert world.client.scopes == ([fakes.SCOPE] if needs_access else [fakes.SCOPE, own])
    assert world.held.kid in world.kids
    if needs_access:
        assert world.find_condition("ScopesGranted")["status"] == "False"
        assert f"must list {fakes.ORGNO} among its consumers" in world.find_condition("ScopesGranted")["message"]

    world.digdir.grant(own)
    await world.later(hours=1)
    assert sorted(world.client.scopes) == sorted([fakes.SCOPE, own])
    assert world.find_condition("ScopesGranted")["status"] == "True"
    assert world.digdir.violations == []
