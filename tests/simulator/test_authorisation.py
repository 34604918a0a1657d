import pytest


async def test_without_a_token_nobody_is_let_in(digdir, problems):
    response = await digdir.http.get("/api/v1/clients")
    assert problems(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/json;charset=UTF-8"


@pytest.mark.parametrize("header", ["Basic eDp5", "Bearer", "Bearer x", "Bearer a.b.c"])
async def test_a_malformed_token_is_refused(digdir, problems, header):
    assert problems(await digdir.http.get("/api/v1/clients", headers={"Authorization": header}), 401)


async def test_a_token_by_another_key_is_refused(digdir, other_jwk, problems):
    claims = digdir.claims("admin-client", "idporten:dcr.read") | {"consumer": {"ID": "0192:889640782"}}
    response = await digdir.admin("GET", "/clients", digdir.sign(claims, other_jwk))
    assert problems(response, 401) == ["The access token is not valid"]


async def test_a_changed_token_is_refused(digdir, problems):
    head, payload, signature = (await digdir.admin_token()).split(".")
    flipped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
    assert problems(await digdir.admin("GET", "/clients", f"{head}.{payload}.{flipped}"), 401)


async def test_an_expired_token_is_refused_also_when_it_was_used_before(digdir, clock, problems):
    token = await digdir.admin_token()
    assert (await digdir.admin("GET", "/clients", token)).status_code == 200
    clock.advance(119)
    assert (await digdir.admin("GET", "/clients", token)).status_code == 200
    clock.advance(1)
    response = await digdir.admin("GET", "/clients", token)
    assert problems(response, 401) == ["The access token has expired"]
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.violates
@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        ("idporten:dcr.read", "GET", "/clients", 200),
        ("idporten:dcr.read", "POST", "/clients", 403),
        ("idporten:dcr.read", "DELETE", "/clients/x", 403),
        ("idporten:dcr.write", "GET", "/clients", 403),
        ("idporten:dcr.write", "GET", "/clients/x/jwks", 404),
        ("idporten:dcr.write", "GET", "/clients/x/jwks/y", 403),
        ("idporten:scopes.write", "GET", "/clients/x/jwks", 403),
        ("idporten:dcr.write", "DELETE", "/clients/x", 404),
        ("idporten:dcr.write", "GET", "/scopes", 403),
        ("idporten:scopes.read", "GET", "/scopes", 200),
        ("idporten:scopes.write", "GET", "/scopes/access/all", 200),
        ("idporten:scopes.read", "GET", "/clients", 403),
        ("idporten:scopes.read", "GET", "/scopes/scope?scope=nav:private/scope", 200),
        ("idporten:scopes.write", "GET", "/scopes/scope?scope=nav:private/scope", 200),
        ("idporten:scopes.read", "POST", "/scopes", 403),
        ("idporten:scopes.write", "POST", "/scopes", 400),
        ("idporten:scopes.read", "PUT", "/scopes?scope=nav:private/scope", 403),
        ("idporten:scopes.read", "DELETE", "/scopes?scope=nav:private/scope", 403),
        ("idporten:scopes.write", "DELETE", "/scopes?scope=nav:private/scope", 200),
        ("idporten:dcr.write", "DELETE", "/scopes?scope=nav:private/scope", 403),
        ("idporten:scopes.read", "GET", "/scopes/access?scope=nav:private/scope", 200),
        ("idporten:scopes.write", "GET", "/scopes/access?scope=nav:private/scope", 200),
        ("idporten:scopes.read", "PUT", "/scopes/access/974761076?scope=nav:private/scope", 403),
        ("idporten:scopes.write", "PUT", "/scopes/access/974761076?scope=nav:private/scope", 200),
        ("idporten:scopes.read", "DELETE", "/scopes/access/974761076?scope=nav:private/scope", 403),
        ("idporten:scopes.write", "DELETE", "/scopes/access/974761076?scope=nav:private/scope", 404),
        ("idporten:scopes.read", "GET", "/prefix", 200),
        ("idporten:scopes.write", "GET", "/prefix", 200),
        ("idporten:dcr.read", "GET", "/prefix", 403),
    ],
)
async def test_each_operation_takes_its_scope(digdir, scope, method, path, status):
    response = await digdir.admin(method, path, await digdir.admin_token(scope))
    assert response.status_code == status


async def test_reading_one_scope_takes_its_own_right_if_so_set(digdir):
    await digdir.set(scope_read_with_write_right=False)
    for right, status in (("idporten:scopes.write", 403), ("idporten:scopes.read", 200)):
        path = "/scopes/scope?scope=nav:private/scope"
        assert (await digdir.admin("GET", path, await digdir.admin_token(right))).status_code == status


@pytest.mark.violates
async def test_unknown_paths_and_methods_have_the_usual_error_body(digdir, problems):
    assert problems(await digdir.admin("GET", "/nothing"), 404)
    assert problems(await digdir.admin("PATCH", "/clients"), 405)
