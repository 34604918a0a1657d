import re

import pytest


async def test_a_created_client_has_an_id_the_defaults_and_timestamps(digdir):
    client = await digdir.create()
    assert re.fullmatch(r"[0-9a-f-]{36}", client["client_id"])
    assert client["client_orgno"] == "889640782"
    assert client["grant_types"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert client["token_endpoint_auth_method"] == "private_key_jwt"
    assert client["application_type"] == "web"
    assert (client["access_token_lifetime"], client["authorization_lifetime"]) == (120, 7200)
    assert client["active"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", client["created"])
    assert client["jwks"] == {"keys": []}


async def test_a_created_client_is_read_and_listed_with_its_keys(digdir, jwk):
    client_id = await digdir.register(jwk)
    read = (await digdir.admin("GET", f"/clients/{client_id}")).json()
    listed = {c["client_id"]: c for c in (await digdir.admin("GET", "/clients")).json()}
    assert listed[client_id] == read
    assert [key["kid"] for key in read["jwks"]["keys"]] == [jwk["kid"]]
    assert listed["admin-client"]["integration_type"] == "maskinporten"


async def test_descriptions_need_not_be_unique(digdir):
    assert (await digdir.create())["client_id"] != (await digdir.create())["client_id"]


async def test_a_client_id_may_be_chosen_once_even_after_deletion(digdir, problems):
    assert (await digdir.create(client_id="mine"))["client_id"] == "mine"
    assert problems(await digdir.admin("POST", "/clients", json=digdir.client_request(client_id="mine")), 409)
    await digdir.admin("DELETE", "/clients/mine")
    assert problems(await digdir.admin("POST", "/clients", json=digdir.client_request(client_id="mine")), 409)


@pytest.mark.violates
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_name", None),
        ("client_name", ""),
        ("description", ""),
        ("description", "x" * 256),
        ("description", 7),
        ("integration_type", "maskin"),
        ("integration_type", None),
        ("application_type", "native"),
        ("grant_types", ["password"]),
        ("grant_types", ["authorization_code"]),
        ("token_endpoint_auth_method", "client_secret_post"),
        ("access_token_lifetime", 0),
        ("access_token_lifetime", True),
        ("refresh_token_lifetime", 0),
        ("scopes", "skatt:some.scope"),
        ("scopes", []),
        ("active", "yes"),
        ("client_id", "a/b"),
    ],
)
async def test_a_wrong_field_is_refused_and_named(digdir, problems, field, value):
    response = await digdir.admin("POST", "/clients", json=digdir.client_request(**{field: value}))
    assert problems(response, 400)
    error = response.json()["errors"][0]
    assert (error["fieldIdentifier"], error["isFieldError"], error["objectName"]) == (field, True, "Client")
    assert len((await digdir.admin("GET", "/clients")).json()) == 1


@pytest.mark.violates
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_object_is_refused(digdir, problems, body):
    assert problems(await digdir.admin("POST", "/clients", content=body), 400)


async def test_names_of_255_characters_are_taken(digdir):
    assert (await digdir.create(client_name="å" * 255, description="ø" * 255))["client_name"] == "å" * 255


async def test_each_refused_scope_is_named(digdir, problems):
    await digdir.control("POST", "/scopes", {"name": "nav:for.users", "allowed_integration_types": ["idporten"]})
    scopes = ["skatt:some.scope", "ks:not.granted", "no:such", "nav:for.users"]
    messages = problems(await digdir.admin("POST", "/clients", json=digdir.client_request(scopes=scopes)), 400)
    assert [re.search(r"\S+:\S+", message)[0] for message in messages] == scopes[1:]


@pytest.mark.parametrize(
    "scope", ["skatt:some.scope", "nav:private/scope", "udir:some.open.scope", "skatt:delegated.scope"]
)
async def test_granted_own_open_and_delegated_scopes_are_taken(digdir, scope):
    assert (await digdir.create(scopes=[scope]))["scopes"] == [scope]


async def test_a_client_without_scopes_is_taken_if_so_set(digdir):
    await digdir.set(allow_clients_without_scopes=True)
    assert (await digdir.create(scopes=[]))["scopes"] == []


async def test_another_organisation_as_owner_is_refused(digdir, problems):
    response = await digdir.admin("POST", "/clients", json=digdir.client_request(client_orgno="974761076"))
    assert problems(response, 403)


@pytest.mark.violates
async def test_put_replaces_every_writable_field_and_ignores_the_others(digdir, clock):
    client = await digdir.create(access_token_lifetime=60, logo_uri="https://logo.test")
    clock.advance(5)
    changed = digdir.client_request(description="new", created="1999", jwks={"keys": []}, client_secret="x", unknown=1)
    response = await digdir.admin("PUT", f"/clients/{client['client_id']}", json=changed)
    after = response.json()
    assert response.status_code == 200
    assert after["description"] == "new"
    assert after["access_token_lifetime"] == 120
    assert "logo_uri" not in after
    assert "unknown" not in after
    assert "client_secret" not in after
    assert after["created"] == client["created"]
    assert after["last_updated"] > client["last_updated"]


async def test_put_leaves_the_keys_alone(digdir, jwk):
    client_id = await digdir.register(jwk)
    after = (await digdir.admin("PUT", f"/clients/{client_id}", json=digdir.client_request())).json()
    assert [key["kid"] for key in after["jwks"]["keys"]] == [jwk["kid"]]


async def test_the_integration_type_can_not_change(digdir, problems):
    client_id = (await digdir.create())["client_id"]
    response = await digdir.admin("PUT", f"/clients/{client_id}", json=digdir.client_request(integration_type="krr"))
    assert problems(response, 400) == ["integration_type can not be changed"]


async def test_put_follows_the_scope_rule_too(digdir, problems):
    client_id = (await digdir.create())["client_id"]
    response = await digdir.admin("PUT", f"/clients/{client_id}", json=digdir.client_request(scopes=["ks:not.granted"]))
    assert "ks:not.granted" in problems(response, 400)[0]


async def test_a_deleted_client_is_hidden_but_not_erased(digdir, problems):
    client_id = (await digdir.create())["client_id"]
    response = await digdir.admin("DELETE", f"/clients/{client_id}")
    assert (response.status_code, response.content) == (200, b"")
    assert problems(await digdir.admin("GET", f"/clients/{client_id}"), 404)
    assert (await digdir.admin("GET", f"/clients/{client_id}?inactive=true")).json()["active"] is False
    shown = [c["client_id"] for c in (await digdir.admin("GET", "/clients")).json()]
    shown_all = [c["client_id"] for c in (await digdir.admin("GET", "/clients?inactive=true")).json()]
    assert client_id not in shown
    assert client_id in shown_all


async def test_an_inactive_client_can_not_be_changed_if_so_set(digdir, jwk, problems):
    await digdir.set(inactive_client_changes="refused")
    client_id = (await digdir.create())["client_id"]
    await digdir.admin("DELETE", f"/clients/{client_id}")
    for method, path, body in (
        ("PUT", "", digdir.client_request(active=True)),
        ("DELETE", "", None),
        ("POST", "/jwks", {"keys": [digdir.public(jwk)]}),
        ("PUT", f"/jwks/{jwk['kid']}", digdir.public(jwk)),
        ("DELETE", "/jwks", None),
    ):
        assert problems(await digdir.admin(method, f"/clients/{client_id}{path}", json=body), 409)


@pytest.mark.parametrize(("changes", "active"), [("stays-inactive", False), ("reactivated", True)])
async def test_whether_put_brings_an_inactive_client_back_is_a_setting(digdir, jwk, changes, active):
    await digdir.set(inactive_client_changes=changes)
    client_id = (await digdir.create())["client_id"]
    await digdir.admin("DELETE", f"/clients/{client_id}")
    response = await digdir.admin("PUT", f"/clients/{client_id}", json=digdir.client_request(active=True))
    assert response.status_code == 200
    assert response.json()["active"] is active
    response = await digdir.admin("POST", f"/clients/{client_id}/jwks", json={"keys": [digdir.public(jwk)]})
    assert response.status_code == 200
    assert (await digdir.admin("DELETE", f"/clients/{client_id}")).status_code == 200


async def test_an_inactive_client_is_found_by_its_id_if_so_set(digdir):
    await digdir.set(inactive_client_is_found=True)
    client_id = (await digdir.create())["client_id"]
    await digdir.admin("DELETE", f"/clients/{client_id}")
    assert (await digdir.admin("GET", f"/clients/{client_id}")).json()["active"] is False
    assert (await digdir.admin("GET", f"/clients/{client_id}/jwks")).status_code == 200


async def test_a_client_of_a_user_login_type_follows_no_rule_for_machines(digdir):
    await digdir.control("POST", "/scopes", {"name": "nav:for.any", "allowed_integration_types": []})
    client = await digdir.create(
        integration_type="api_klient",
        application_type="native",
        grant_types=["authorization_code", "refresh_token"],
        token_endpoint_auth_method="none",
        scopes=["nav:for.any"],
    )
    assert client["application_type"] == "native"


@pytest.mark.violates
async def test_limits_of_the_web_form_hold_if_so_set(digdir, problems):
    request = digdir.client_request(authorization_lifetime=0, access_token_lifetime=0, description="x" * 256)
    assert len(problems(await digdir.admin("POST", "/clients", json=request), 400)) == 3
    await digdir.set(form_limits_enforced=False)
    assert (await digdir.admin("POST", "/clients", json=request)).status_code == 201
    assert problems(await digdir.admin("POST", "/clients", json=request | {"refresh_token_lifetime": 0}), 400)


@pytest.mark.violates
async def test_supplier_orgno_takes_a_right_that_nobody_has(digdir, problems):
    request = digdir.client_request(supplier_orgno="974761076")
    assert problems(await digdir.admin("POST", "/clients", json=request), 403)


@pytest.mark.violates
async def test_the_client_id_can_not_change(digdir, problems):
    client_id = (await digdir.create())["client_id"]
    request = digdir.client_request(client_id="another")
    assert problems(await digdir.admin("PUT", f"/clients/{client_id}", json=request), 400)


async def test_an_owner_needs_an_access_of_its_own_if_so_set(digdir, problems):
    await digdir.set(owner_needs_access=True)
    request = digdir.client_request(scopes=["nav:private/scope"])
    assert "nav:private/scope" in problems(await digdir.admin("POST", "/clients", json=request), 400)[0]
    await digdir.grant("889640782", "nav:private/scope")
    assert (await digdir.admin("POST", "/clients", json=request)).status_code == 201


async def test_an_unknown_client_is_not_found(digdir, problems):
    for method, body in (("GET", None), ("PUT", digdir.client_request()), ("DELETE", None)):
        assert problems(await digdir.admin(method, "/clients/unknown", json=body), 404)


async def test_a_client_of_another_organisation_is_neither_listed_nor_shown(digdir, problems):
    await digdir.control("POST", "/clients", digdir.client_request(client_id="theirs", client_orgno="974761076"))
    assert problems(await digdir.admin("GET", "/clients/theirs"), 403)
    assert "theirs" not in [c["client_id"] for c in (await digdir.admin("GET", "/clients")).json()]


async def test_statuses_of_creation_and_deletion_can_be_set(digdir):
    await digdir.set(created_status=200, deleted_status=204)
    response = await digdir.admin("POST", "/clients", json=digdir.client_request())
    assert response.status_code == 200
    response = await digdir.admin("DELETE", f"/clients/{response.json()['client_id']}")
    assert (response.status_code, response.content) == (204, b"")


async def test_the_list_can_be_without_keys(digdir, jwk):
    client_id = await digdir.register(jwk)
    await digdir.set(list_includes_jwks=False)
    assert all("jwks" not in client for client in (await digdir.admin("GET", "/clients")).json())
    assert "jwks" in (await digdir.admin("GET", f"/clients/{client_id}")).json()
