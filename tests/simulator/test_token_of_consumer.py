"""Tokens with the organisation's own scopes, as another organisation's client gets them."""

import pytest
from jose import jwt

NAV, SKATT, SUPPLIED = "889640782", "974761076", "910753614"
PENSION = "nav:pension"


@pytest.fixture
def ask(digdir, jwk):
    """Asks for a token with one scope, as a client of another organisation that has it registered."""

    async def ask(scope=PENSION, **changes):
        if "client_id" not in known:
            known["client_id"] = await digdir.register_elsewhere(jwk, scopes=[PENSION, "nav:other"])
        response = await digdir.ask_token(known["client_id"], jwk, scope, **changes)
        body = response.json()
        return body.get("error_uri", "").rpartition("/")[2] or body.get("error") or body

    known = {}
    return ask


async def test_a_consumer_gets_tokens_when_it_was_granted_the_scope(digdir, ask):
    await digdir.create_scope()
    assert await ask() == "MP-250"
    await digdir.grant()
    token = await ask()
    assert jwt.get_unverified_claims(token["access_token"])["consumer"]["ID"] == f"0192:{SKATT}"
    assert token["scope"] == PENSION


async def test_the_access_of_one_consumer_is_no_other_consumers(digdir, ask):
    await digdir.create_scope()
    await digdir.grant("970018131")
    assert await ask() == "MP-250"


async def test_access_to_one_scope_is_none_to_another(digdir, ask):
    await digdir.create_scope()
    await digdir.create_scope(subscope="other")
    await digdir.grant()
    assert await ask("nav:other") == "MP-250"
    assert await ask(f"{PENSION} nav:other") == "MP-250"


async def test_a_revoked_access_gives_no_more_tokens_until_it_is_approved_again(digdir, ask):
    await digdir.create_scope()
    await digdir.grant()
    await digdir.revoke()
    assert await ask() == "MP-250"
    await digdir.grant()
    assert "access_token" in await ask()


async def test_a_requested_access_gives_no_tokens(digdir, ask):
    await digdir.create_scope()
    await digdir.control("POST", "/grants", {"scope": PENSION, "consumer_orgno": SKATT, "state": "REQUESTED"})
    assert await ask() == "MP-250"


async def test_an_inactive_scope_gives_no_tokens_until_it_is_active_again(digdir, ask):
    await digdir.create_scope()
    await digdir.grant()
    await digdir.delete_scope()
    assert await ask() == "MP-201"
    await digdir.put_scope(active=True)
    assert "access_token" in await ask()


async def test_a_scope_that_put_made_inactive_gives_no_tokens(digdir, ask):
    await digdir.create_scope()
    await digdir.grant()
    await digdir.put_scope()
    assert await ask() == "MP-201"


async def test_a_scope_that_does_not_exist_gives_no_tokens(ask):
    assert await ask() == "MP-200"


async def test_a_scope_for_other_integration_types_gives_no_tokens(digdir, ask):
    await digdir.create_scope(allowed_integration_types=["ansattporten"])
    await digdir.grant()
    assert await ask() == "MP-201"


async def test_a_scope_open_to_all_needs_no_grant(digdir, ask):
    await digdir.create_scope(accessible_for_all=True)
    assert "access_token" in await ask()
    await digdir.put_scope(active=True, accessible_for_all=False)
    assert await ask() == "MP-250"


async def test_the_owner_needs_no_grant(digdir, jwk):
    await digdir.create_scope()
    client_id = await digdir.register(jwk, scopes=[PENSION])
    assert (await digdir.ask_token(client_id, jwk, PENSION)).status_code == 200


@pytest.mark.parametrize(("at_max_age", "expires_in"), [(30, 30), (0, 120), (3600, 120)])
async def test_the_max_age_of_a_created_scope_caps_the_lifetime(digdir, ask, at_max_age, expires_in):
    await digdir.create_scope(at_max_age=at_max_age)
    await digdir.grant()
    token = await ask()
    assert token["expires_in"] == expires_in
    claims = jwt.get_unverified_claims(token["access_token"])
    assert claims["exp"] - claims["iat"] == expires_in


async def test_a_changed_max_age_caps_the_next_token(digdir, ask):
    await digdir.create_scope()
    await digdir.grant()
    await digdir.put_scope(active=True, at_max_age=30)
    assert (await ask())["expires_in"] == 30


async def delegate(digdir, *delegations):
    state = await digdir.control("GET", "/state")
    await digdir.control("PUT", "/state", state | {"delegations": list(delegations)})


async def test_a_supplier_gets_tokens_for_the_consumer_that_was_granted_and_delegated_the_scope(digdir, ask):
    await digdir.create_scope(delegation_source="https://www.altinn.no/")
    assert await ask(consumer_org=SUPPLIED) == "MP-250"
    await digdir.grant(SUPPLIED)
    assert await ask(consumer_org=SUPPLIED) == "MP-251"
    await delegate(digdir, {"scope": PENSION, "consumer_orgno": SUPPLIED, "supplier_orgno": SKATT})
    claims = jwt.get_unverified_claims((await ask(consumer_org=SUPPLIED))["access_token"])
    assert (claims["consumer"]["ID"], claims["supplier"]["ID"]) == (f"0192:{SUPPLIED}", f"0192:{SKATT}")
    assert claims["delegation_source"] == "https://www.altinn.no/"
    await digdir.revoke(SUPPLIED)
    assert await ask(consumer_org=SUPPLIED) == "MP-250"


async def test_a_delegation_to_another_supplier_is_none(digdir, ask):
    await digdir.create_scope(delegation_source="https://www.altinn.no/")
    await digdir.grant(SUPPLIED)
    await delegate(digdir, {"scope": PENSION, "consumer_orgno": SUPPLIED, "supplier_orgno": NAV})
    assert await ask(consumer_org=SUPPLIED) == "MP-251"


async def test_a_scope_without_delegation_source_can_not_be_delegated(digdir, ask):
    await digdir.create_scope()
    await digdir.grant(SUPPLIED)
    await delegate(digdir, {"scope": PENSION, "consumer_orgno": SUPPLIED, "supplier_orgno": SKATT})
    assert await ask(consumer_org=SUPPLIED) == "MP-251"


async def test_the_token_endpoint_sees_scopes_and_accesses_late(digdir, ask, clock):
    await digdir.set(propagation_delay_seconds=60)
    await digdir.create_scope()
    clock.advance(30)
    await digdir.grant()
    clock.advance(29)
    assert await ask() == "MP-200"
    clock.advance(1)
    assert await ask() == "MP-250"
    clock.advance(30)
    digdir.forget_token()
    assert "access_token" in await ask()
    await digdir.revoke()
    clock.advance(59)
    assert "access_token" in await ask()
    clock.advance(1)
    assert await ask() == "MP-250"
