"""Accesses that the organisation gives to its scopes."""

import pytest

SKATT, UDIR = "974761076", "970018131"
PENSION = "nav:pension"


@pytest.fixture
async def scope(digdir):
    return await digdir.create_scope()


async def test_an_access_is_approved_at_once_and_has_the_documented_fields(digdir, scope):
    response = await digdir.grant()
    access = response.json()
    assert response.status_code == 200
    assert access.pop("created") == access.pop("last_updated")
    assert access == {
        "scope": PENSION,
        "owner_orgno": "889640782",
        "owner_organization_name": "ARBEIDS- OG VELFERDSETATEN",
        "consumer_orgno": SKATT,
        "consumer_organization_name": "SKATTEETATEN",
        "state": "APPROVED",
    }


async def test_a_given_access_is_listed_as_it_was_answered(digdir, scope):
    access = (await digdir.grant()).json()
    assert (await digdir.admin("GET", f"/scopes/access?scope={PENSION}")).json() == [access]
    assert (await digdir.admin("GET", f"/scopes/access?consumer_orgno={SKATT}")).json() == [access]


async def test_accesses_are_listed_by_scope_by_consumer_or_both(digdir, scope):
    await digdir.grant(SKATT)
    await digdir.grant(UDIR)
    await digdir.grant(SKATT, "nav:private/scope")
    assert await digdir.accesses(scope=PENSION) == {(PENSION, SKATT): "APPROVED", (PENSION, UDIR): "APPROVED"}
    assert await digdir.accesses(consumer_orgno=SKATT) == {
        (PENSION, SKATT): "APPROVED",
        ("nav:private/scope", SKATT): "APPROVED",
    }
    assert await digdir.accesses(scope=PENSION, consumer_orgno=UDIR) == {(PENSION, UDIR): "APPROVED"}


async def test_accesses_that_others_gave_are_not_among_them(digdir):
    assert await digdir.accesses(consumer_orgno="889640782") == {}


async def test_a_list_of_accesses_must_name_a_scope_or_a_consumer(digdir, problems):
    assert problems(await digdir.admin("GET", "/scopes/access"), 400)


async def test_an_empty_list_of_accesses_is_an_error_if_so_set(digdir, scope, problems):
    assert await digdir.accesses(scope=PENSION) == {}
    await digdir.set(empty_list_is_error=True)
    response = await digdir.admin("GET", f"/scopes/access?scope={PENSION}")
    assert problems(response, 404) == ["The organization does not have any accesses"]


async def test_a_given_access_shows_in_the_consumers_own_list(digdir, scope, jwk):
    await digdir.grant()
    await digdir.control("POST", "/grants", {"scope": "idporten:scopes.read", "consumer_orgno": SKATT})
    seed = digdir.client_request(client_orgno=SKATT, scopes=["idporten:scopes.read"], keys=[digdir.public(jwk)])
    client_id = (await digdir.control("POST", "/clients", seed))["client_id"]
    token = (await digdir.ask_token(client_id, jwk, "idporten:scopes.read")).json()["access_token"]
    shown = (await digdir.admin("GET", "/scopes/access/all", token)).json()
    assert (PENSION, "APPROVED") in [(access["scope"], access["state"]) for access in shown]
    response = await digdir.admin("GET", f"/scopes/access?scope={PENSION}", token)
    assert response.status_code == 403


async def test_a_revoked_access_is_denied_and_kept(digdir, scope, clock):
    before = (await digdir.grant()).json()
    clock.advance(5)
    response = await digdir.revoke()
    after = response.json()
    assert response.status_code == 200
    assert after == before | {"state": "DENIED", "last_updated": after["last_updated"]}
    assert after["last_updated"] > before["last_updated"]
    assert await digdir.accesses(scope=PENSION) == {}
    assert await digdir.accesses(scope=PENSION, inactive="true") == {(PENSION, SKATT): "DENIED"}
    assert await digdir.accesses(consumer_orgno=SKATT) == {}
    assert await digdir.accesses(consumer_orgno=SKATT, inactive="true") == {(PENSION, SKATT): "DENIED"}


async def test_lists_have_denied_accesses_always_if_so_set(digdir, scope):
    await digdir.grant()
    await digdir.revoke()
    await digdir.control("POST", "/grants", {"scope": "skatt:some.scope", "state": "DENIED"})
    await digdir.set(access_list_includes_denied=True)
    assert await digdir.accesses(scope=PENSION) == {(PENSION, SKATT): "DENIED"}
    shown = (await digdir.admin("GET", "/scopes/access/all")).json()
    assert ("skatt:some.scope", "DENIED") in [(access["scope"], access["state"]) for access in shown]


async def test_a_requested_access_is_listed(digdir, scope):
    await digdir.control("POST", "/grants", {"scope": PENSION, "consumer_orgno": SKATT, "state": "REQUESTED"})
    assert await digdir.accesses(scope=PENSION) == {(PENSION, SKATT): "REQUESTED"}


async def test_a_revoked_access_is_approved_by_another_put(digdir, scope, clock):
    before = (await digdir.grant()).json()
    await digdir.revoke()
    clock.advance(5)
    after = (await digdir.grant()).json()
    assert (after["state"], after["created"]) == ("APPROVED", before["created"])
    assert after["last_updated"] > before["last_updated"]
    assert await digdir.accesses(scope=PENSION) == {(PENSION, SKATT): "APPROVED"}


async def test_an_access_may_be_given_twice_and_taken_back_twice(digdir, scope):
    for _ in range(2):
        assert (await digdir.grant()).json()["state"] == "APPROVED"
    for _ in range(2):
        assert (await digdir.revoke()).json()["state"] == "DENIED"


async def test_an_access_that_never_was_can_not_be_revoked(digdir, scope, problems):
    assert problems(await digdir.revoke(), 404)


async def test_the_status_of_revoking_can_be_set(digdir, scope):
    await digdir.grant()
    await digdir.set(deleted_status=204)
    response = await digdir.revoke()
    assert (response.status_code, response.content) == (204, b"")


async def test_access_to_an_inactive_scope_can_be_given_and_listed(digdir, scope):
    await digdir.delete_scope()
    assert (await digdir.grant()).json()["state"] == "APPROVED"
    assert await digdir.accesses(scope=PENSION) == {(PENSION, SKATT): "APPROVED"}


async def test_accesses_stay_when_their_scope_is_deleted(digdir, scope):
    await digdir.grant()
    await digdir.delete_scope()
    assert await digdir.accesses(scope=PENSION) == {(PENSION, SKATT): "APPROVED"}


@pytest.mark.parametrize(("name", "status"), [("nav:unknown", 404), ("skatt:some.scope", 403), ("", 400)])
async def test_only_the_owner_of_a_scope_reads_or_changes_its_accesses(digdir, problems, name, status):
    for response in (
        await digdir.grant(scope=name),
        await digdir.revoke(scope=name),
        await digdir.admin("GET", "/scopes/access", params={"scope": name}),
    ):
        assert problems(response, status)


@pytest.mark.violates
@pytest.mark.parametrize("orgno", ["12345678", "1234567890", "12345678x", "१२३४५६७८९", "all", "0192:974761076"])
async def test_a_consumer_without_nine_digits_is_refused(digdir, scope, problems, orgno):
    assert problems(await digdir.grant(orgno), 400) == ["consumer_orgno must have nine digits"]
    assert await digdir.accesses(scope=PENSION, inactive="true") == {}


@pytest.mark.violates
async def test_a_check_digit_is_not_looked_at_unless_so_set(digdir, scope, problems):
    assert (await digdir.grant("123456789")).status_code == 200
    await digdir.set(orgno_check="checksum")
    assert problems(await digdir.grant("123456789"), 400) == ["consumer_orgno has a wrong check digit"]
    assert problems(await digdir.grant("12345678"), 400) == ["consumer_orgno must have nine digits"]


@pytest.mark.parametrize(
    ("orgno", "is_valid"),
    [
        ("991825827", True),
        ("889640782", True),
        ("971040238", True),
        ("311718371", True),
        ("123456785", True),
        ("000000000", True),
        ("123456789", False),
        ("991825828", False),
        # The check digit would be 10
        ("000000370", False),
        ("000000371", False),
    ],
)
async def test_check_digits_follow_the_rule_of_the_register(digdir, scope, orgno, is_valid):
    await digdir.set(orgno_check="checksum")
    assert (await digdir.grant(orgno)).status_code == (200 if is_valid else 400)


async def test_an_unknown_consumer_has_no_name(digdir, scope):
    assert (await digdir.grant("123456789")).json()["consumer_organization_name"] is None


async def test_lists_of_given_accesses_lag(digdir, scope, clock):
    await digdir.set(list_lag_seconds=30)
    await digdir.grant()
    clock.advance(29)
    assert await digdir.accesses(scope=PENSION) == {}
    assert await digdir.accesses(consumer_orgno=SKATT) == {}
    clock.advance(1)
    assert await digdir.accesses(scope=PENSION) == {(PENSION, SKATT): "APPROVED"}
    assert await digdir.accesses(consumer_orgno=SKATT) == {(PENSION, SKATT): "APPROVED"}
    await digdir.revoke()
    clock.advance(29)
    assert await digdir.accesses(scope=PENSION) == {(PENSION, SKATT): "APPROVED"}


@pytest.mark.violates
async def test_the_ledger_names_scope_and_consumer_of_an_access(digdir, scope):
    await digdir.grant()
    await digdir.revoke()
    await digdir.grant("1")
    ledger = await digdir.control("GET", f"/ledger?scope={PENSION}&since=2")
    assert [(e["operation"], e["scope"], e["consumer"], e["status"]) for e in ledger["entries"]] == [
        ("grant-access", PENSION, SKATT, 200),
        ("revoke-access", PENSION, SKATT, 200),
        ("grant-access", PENSION, "1", 400),
    ]
    assert ledger["entries"][0]["template"] == "/api/v1/scopes/access/{consumer_orgno}"


async def test_access_to_an_inactive_scope_changes_unless_set_otherwise(digdir, scope, problems):
    await digdir.grant()
    await digdir.delete_scope()
    assert (await digdir.revoke()).status_code == 200
    assert (await digdir.grant()).status_code == 200
    await digdir.set(inactive_scope_access_changes=False)
    assert problems(await digdir.revoke(), 409)
    assert problems(await digdir.grant("971032146"), 409)


async def test_taking_back_what_was_never_given_succeeds_if_so_set(digdir, scope):
    await digdir.set(missing_access_revocation_status=200)
    response = await digdir.revoke("971032146")
    assert (response.status_code, response.json()["state"]) == (200, "DENIED")
    assert await digdir.accesses(scope=PENSION, inactive="true") == {}
