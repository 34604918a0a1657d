import httpx
import pytest

from digdir_simulator import Config, Settings, create_app
from digdir_simulator.seed import dump, load, parse_seed


async def test_settings_are_read_and_changed_one_by_one(digdir):
    before = await digdir.control("GET", "/settings")
    assert before == Settings().model_dump()
    await digdir.set(latency_ms=5)
    assert await digdir.control("GET", "/settings") == before | {"latency_ms": 5}


@pytest.mark.parametrize("changes", [{"latency": 5}, {"latency_ms": -1}, {"list_lag_seconds": 121}, [1]])
async def test_wrong_settings_are_refused(digdir, changes):
    response = await digdir.http.patch("/control/settings", json=changes)
    assert response.status_code == 400
    assert await digdir.control("GET", "/settings") == Settings().model_dump()


async def test_the_ledger_has_every_call_in_order(digdir, clock, jwk):
    client_id = await digdir.register(jwk)
    ledger = await digdir.control("GET", "/ledger")
    assert [(e["sequence"], e["operation"], e["method"], e["status"]) for e in ledger["entries"]] == [
        (1, "token", "POST", 200),
        (2, "create-client", "POST", 201),
        (3, "replace-keys", "POST", 200),
    ]
    assert [e["client_id"] for e in ledger["entries"]] == ["admin-client", client_id, client_id]
    last = ledger["entries"][-1]
    assert last["template"] == "/api/v1/clients/{client_id}/jwks"
    assert last["path"] == f"/api/v1/clients/{client_id}/jwks"
    assert last["wall"] == clock.now
    assert last["caller"] == "admin-client"
    assert last["duration_ms"] >= 0
    assert ledger["dropped"] == 0


async def test_the_ledger_is_filtered_by_operation_client_and_sequence(digdir):
    first = (await digdir.create())["client_id"]
    await digdir.admin("GET", "/clients")
    since = (await digdir.control("GET", "/ledger/summary"))["last_sequence"]
    await digdir.admin("GET", f"/clients/{first}")
    await digdir.admin("GET", "/clients/unknown")

    async def operations(query):
        return [e["operation"] for e in (await digdir.control("GET", f"/ledger?{query}"))["entries"]]

    assert await operations("operation=list-clients") == ["list-clients"]
    assert await operations(f"since={since}") == ["read-client", "read-client"]
    assert await operations(f"client_id={first}") == ["create-client", "read-client"]
    summary = await digdir.control("GET", f"/ledger/summary?since={since}")
    assert summary["operations"] == {"read-client": {"200": 1, "404": 1}}
    assert summary["total"] == 2


async def test_the_ledger_is_cleared_and_its_sequence_goes_on(digdir):
    await digdir.admin("GET", "/clients")
    await digdir.control("DELETE", "/ledger")
    assert (await digdir.control("GET", "/ledger"))["entries"] == []
    await digdir.admin("GET", "/clients")
    ledger = await digdir.control("GET", "/ledger")
    assert [e["sequence"] for e in ledger["entries"]] == [3]
    assert ledger["dropped"] == 0


async def test_the_ledger_is_bounded_and_tells_what_it_dropped(digdir, clock, admin_jwk):
    ledger = create_app(Config(ledger_size=2, admin_jwk=admin_jwk), clock=clock).state.simulator.ledger
    for _ in range(5):
        ledger.close(ledger.open(operation="o", method="GET", template="/", path="/", query="", wall=0), 200)
    assert ledger.dropped == 3
    assert [entry["sequence"] for entry in ledger.entries()["entries"]] == [4, 5]


async def test_seeded_clients_pass_all_rules_and_leave_no_trace(digdir, jwk):
    await digdir.set(list_lag_seconds=60, propagation_delay_seconds=60)
    seeded = digdir.client_request(
        client_id="a", scopes=["skatt:some.scope", "ks:not.granted"], keys=[digdir.public(jwk)]
    )
    shown = await digdir.control("POST", "/clients", [seeded, digdir.client_request()])
    assert shown[0]["client_id"] == "a"
    assert len((await digdir.admin("GET", "/clients")).json()) == 3
    assert (await digdir.ask_token("a", jwk, "skatt:some.scope")).status_code == 200
    assert (await digdir.control("GET", "/ledger?operation=create-client"))["entries"] == []


async def test_a_seeded_client_with_a_wrong_field_is_refused(digdir):
    response = await digdir.http.post("/control/clients", json={"client_name": "x"})
    assert response.status_code == 400
    assert "description" in response.json()["error"]


async def test_seeded_scopes_pass_all_rules_and_leave_no_trace(digdir):
    await digdir.set(list_lag_seconds=60)
    seeded = {"name": "ks:made.by.hand", "owner_orgno": "971032146", "visibility": "INTERNAL", "at_max_age": 30}
    shown = await digdir.control("POST", "/scopes", [seeded, {"name": "nav:by.hand"}])
    assert [(s["name"], s["owner_orgno"], s["visibility"]) for s in shown] == [
        ("ks:made.by.hand", "971032146", "INTERNAL"),
        ("nav:by.hand", "889640782", "PUBLIC"),
    ]
    assert shown[1] in (await digdir.admin("GET", "/scopes")).json()
    assert (await digdir.control("GET", "/ledger?operation=create-scope"))["entries"] == []


async def test_a_seeded_scope_replaces_one_of_its_name_and_leaves_its_accesses(digdir):
    await digdir.create_scope()
    await digdir.grant()
    shown = await digdir.control("POST", "/scopes", {"name": "nav:pension", "active": False, "more": {"x": 1}})
    assert (shown["active"], shown["x"]) == (False, 1)
    assert (await digdir.read_scope()).json() == shown
    assert await digdir.accesses(scope="nav:pension") == {("nav:pension", "974761076"): "APPROVED"}


@pytest.mark.parametrize("wrong", [{}, {"name": "noprefix"}, {"name": "foreign:scope"}, {"name": "nav:a", "x": 1}, 7])
async def test_a_wrong_seeded_scope_is_refused_and_none_of_its_list_is_made(digdir, wrong):
    before = await digdir.control("GET", "/state")
    for body in (wrong, [{"name": "nav:right"}, wrong]):
        response = await digdir.http.post("/control/scopes", json=body)
        assert response.status_code == 400
        assert response.json()["error"]
    assert await digdir.control("GET", "/state") == before


async def test_an_exported_state_with_own_scopes_can_be_put_back(digdir, clock):
    await digdir.create_scope(**{"description#nn": "Pensjonar", "token_type": "OPAQUE", "accessible_for_all": True})
    await digdir.create_scope(subscope="other", delegation_source="https://www.altinn.no/", at_max_age=30)
    await digdir.delete_scope("nav:other")
    await digdir.grant("974761076")
    await digdir.grant("970018131")
    await digdir.revoke("974761076")
    state = await digdir.control("GET", "/state")
    scopes = (await digdir.admin("GET", "/scopes?inactive=true")).json()
    accesses = (await digdir.admin("GET", "/scopes/access?scope=nav:pension&inactive=true")).json()
    clock.advance(50)
    await digdir.put_scope(active=True)
    await digdir.grant("974761076")
    await digdir.control("PUT", "/state", state)
    assert (await digdir.admin("GET", "/scopes?inactive=true")).json() == scopes
    assert (await digdir.admin("GET", "/scopes/access?scope=nav:pension&inactive=true")).json() == accesses
    assert await digdir.control("GET", "/state") == state


async def test_an_exported_state_can_be_put_back(digdir, clock, jwk):
    client_id = await digdir.register(jwk)
    await digdir.control("POST", "/grants", {"scope": "skatt:some.scope", "state": "DENIED"})
    state = await digdir.control("GET", "/state")
    clients = (await digdir.admin("GET", "/clients")).json()
    clock.advance(50)
    await digdir.admin("DELETE", f"/clients/{client_id}")
    await digdir.create(scopes=["udir:some.open.scope"])
    await digdir.control("PUT", "/state", state)
    assert (await digdir.admin("GET", "/clients")).json() == clients
    assert await digdir.control("GET", "/state") == state


async def test_a_wrong_state_is_refused_and_changes_nothing(digdir):
    before = await digdir.control("GET", "/state")
    for wrong in ([], {"surprise": 1}, {"scopes": [{"name": "foreign:scope"}]}, {"clients": [{}]}):
        assert (await digdir.http.put("/control/state", json=wrong)).status_code == 400
    assert await digdir.control("GET", "/state") == before


async def test_a_reset_goes_back_to_the_start(digdir):
    before = await digdir.control("GET", "/state")
    await digdir.create()
    await digdir.set(latency_ms=5)
    await digdir.fault(kind="drop")
    await digdir.control("POST", "/reset")
    assert await digdir.control("GET", "/state") == before
    assert await digdir.control("GET", "/settings") == Settings().model_dump()
    assert await digdir.control("GET", "/faults") == []
    assert (await digdir.control("GET", "/ledger"))["entries"] == []


async def test_clients_are_generated_with_the_same_ids_each_time(digdir, clock, admin_jwk):
    def ids():
        app = create_app(Config(seed={"generate_clients": 50}, admin_jwk=admin_jwk), clock=clock)
        return list(app.state.simulator.state.clients)

    assert len(ids()) == 51
    assert ids() == ids()


@pytest.fixture
def generated(clock, admin_jwk):
    app = create_app(
        Config(seed={"generate_scopes": 50, "prefixes": ["nav", "arbeid"]}, admin_jwk=admin_jwk), clock=clock
    )
    return app.state.simulator.state


def test_scopes_are_generated_under_the_first_prefix(generated):
    scopes = {name: scope.current for name, scope in generated.scopes.items() if ":generated/" in name}
    assert list(scopes) == [f"nav:generated/scope.{number}" for number in range(1, 51)]
    scope = scopes["nav:generated/scope.7"]
    assert (scope.description, scope.owner_orgno, scope.active) == ("Generated scope 7", "889640782", True)


def test_each_generated_scope_has_one_approved_consumer(generated, clock):
    for number in range(1, 51):
        accesses = list(generated.accesses_to(f"nav:generated/scope.{number}", clock.now))
        assert [(access.consumer_orgno, access.state) for access in accesses] == [("991825827", "APPROVED")]


def test_a_state_with_generated_scopes_survives_export_and_import(generated, clock):
    document = dump(generated)
    clock.advance(50)
    assert dump(load(parse_seed(document), clock.now)) == document


async def test_generating_scopes_takes_a_prefix(digdir):
    response = await digdir.http.put("/control/state", json={"prefixes": [], "scopes": [], "generate_scopes": 1})
    assert response.status_code == 400
    assert "prefix" in response.json()["error"]


async def test_an_admin_key_that_is_too_small_is_refused(clock, admin_jwk):
    with pytest.raises(ValueError, match="2048 bits"):
        create_app(Config(admin_jwk={"kty": "RSA", "kid": "k", "n": "wQ" * 50, "e": "AQAB"}), clock=clock)


# Who may control it

CONTROL = "http://10.0.0.7:8080/control/settings"


def call_from(app, caller, server="10.0.0.7"):
    """Call the control API at the server's address, as a caller of another address."""

    async def at(scope, receive, send):
        await app({**scope, "client": caller and (caller, 40000), "server": (server, 8080)}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(app=at))


@pytest.mark.parametrize("caller", ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1", "10.0.0.7"])
async def test_callers_on_its_own_machine_may_control_it(caller):
    async with call_from(create_app(), caller) as http:
        assert (await http.get(CONTROL)).status_code == 200


@pytest.mark.parametrize("caller", ["10.0.0.8", "::ffff:10.0.0.7", "2001:db8::1", "localhost", None])
async def test_callers_from_elsewhere_may_not_whatever_they_say(caller):
    headers = {"Host": "127.0.0.1:8080", "X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    app = create_app()
    async with call_from(app, caller) as http:
        answer = await http.patch(CONTROL, json={"latency_ms": 5}, headers=headers)

    assert answer.status_code == 403
    assert "port-forward" in answer.json()["error"]
    assert app.state.simulator.settings.latency_ms == 0


async def test_from_elsewhere_all_else_is_there():
    async with call_from(create_app(), "10.0.0.8") as http:
        assert (await http.get("http://10.0.0.7:8080/.well-known/oauth-authorization-server")).status_code == 200


async def test_the_control_api_can_be_opened_to_all():
    async with call_from(create_app(Config(control_from_anywhere=True)), "10.0.0.8") as http:
        assert (await http.get(CONTROL)).status_code == 200
