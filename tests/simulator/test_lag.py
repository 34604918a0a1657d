async def ids(digdir):
    digdir.forget_token()
    return {client["client_id"] for client in (await digdir.admin("GET", "/clients")).json()}


async def test_a_list_lags_behind_writes_but_reading_one_client_does_not(digdir, clock):
    await digdir.set(list_lag_seconds=30)
    client_id = (await digdir.create())["client_id"]
    clock.advance(29)
    assert await ids(digdir) == {"admin-client"}
    assert (await digdir.admin("GET", f"/clients/{client_id}")).status_code == 200
    clock.advance(1)
    assert client_id in await ids(digdir)
    await digdir.admin("DELETE", f"/clients/{client_id}")
    clock.advance(29)
    assert client_id in await ids(digdir)
    clock.advance(1)
    assert client_id not in await ids(digdir)


async def test_a_lagging_list_shows_earlier_fields(digdir, clock):
    client_id = (await digdir.create(description="old"))["client_id"]
    clock.advance(10)
    await digdir.set(list_lag_seconds=5)
    await digdir.admin("PUT", f"/clients/{client_id}", json=digdir.client_request(description="new"))
    shown = {c["client_id"]: c["description"] for c in (await digdir.admin("GET", "/clients")).json()}
    assert shown[client_id] == "old"
    clock.advance(5)
    shown = {c["client_id"]: c["description"] for c in (await digdir.admin("GET", "/clients")).json()}
    assert shown[client_id] == "new"


async def seen(digdir, path, key="name"):
    digdir.forget_token()
    return {document[key] for document in (await digdir.admin("GET", path)).json()}


async def test_lists_of_scopes_lag_too(digdir, clock):
    await digdir.set(list_lag_seconds=30)
    await digdir.control("POST", "/grants", {"scope": "nav:new", "owner_orgno": "889640782"})
    clock.advance(29)
    assert "nav:new" not in await seen(digdir, "/scopes")
    assert "nav:new" not in await seen(digdir, "/scopes/all")
    clock.advance(1)
    assert "nav:new" in await seen(digdir, "/scopes")
    assert "nav:new" in await seen(digdir, "/scopes/all")


async def test_the_list_of_accesses_given_to_me_lags_too(digdir, clock):
    await digdir.set(list_lag_seconds=30)
    await digdir.control("POST", "/grants", {"scope": "ks:not.granted"})
    clock.advance(29)
    assert "ks:not.granted" not in await seen(digdir, "/scopes/access/all", "scope")
    clock.advance(1)
    assert "ks:not.granted" in await seen(digdir, "/scopes/access/all", "scope")


async def test_the_token_endpoint_sees_client_keys_and_scopes_late(digdir, clock, jwk):
    await digdir.set(propagation_delay_seconds=60)
    client_id = (await digdir.create())["client_id"]

    async def problem(scope="skatt:some.scope"):
        body = (await digdir.ask_token(client_id, jwk, scope)).json()
        return body.get("error_description", "") + body.get("error_uri", "")

    assert "MP-100" in await problem()
    clock.advance(60)
    assert "Unknown key identifier" in await problem()
    digdir.forget_token()
    await digdir.admin("POST", f"/clients/{client_id}/jwks", json={"keys": [digdir.public(jwk)]})
    clock.advance(59)
    assert "Unknown key identifier" in await problem()
    clock.advance(1)
    assert await problem() == ""
    digdir.forget_token()
    await digdir.admin("PUT", f"/clients/{client_id}", json=digdir.client_request(scopes=["udir:some.open.scope"]))
    assert await problem() == ""
    assert "MP-200" in await problem("udir:some.open.scope")
    clock.advance(60)
    assert "MP-200" in await problem()
    assert await problem("udir:some.open.scope") == ""


async def test_a_deleted_client_gets_tokens_until_the_deletion_has_arrived(digdir, clock, jwk):
    client_id = await digdir.register(jwk)
    clock.advance(20)
    await digdir.set(propagation_delay_seconds=20)
    await digdir.admin("DELETE", f"/clients/{client_id}")
    assert (await digdir.ask_token(client_id, jwk, "skatt:some.scope")).status_code == 200
    clock.advance(20)
    assert (await digdir.ask_token(client_id, jwk, "skatt:some.scope")).status_code == 400


async def test_the_past_is_remembered_for_a_few_minutes_only(digdir, clock):
    client_id = (await digdir.create())["client_id"]
    for _ in range(20):
        clock.advance(60)
        digdir.forget_token()
        await digdir.admin("PUT", f"/clients/{client_id}", json=digdir.client_request())
    assert len(digdir.simulator.state.clients[client_id]._versions) <= 6
