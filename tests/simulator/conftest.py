"""A simulator in this process, with a clock that the tests move, and someone who calls it."""

import time
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from jose import jwt
from jose.jwk import construct

from digdir_contract import check_answer, load
from digdir_simulator import Config, Simulator, create_app, jws

PUBLIC_URL = "http://digdir.test"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ADMIN_SCOPES = "idporten:dcr.read idporten:dcr.write idporten:scopes.read idporten:scopes.write"


class ManualClock:
    def __init__(self):
        self.now = float(int(time.time()))

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


_KEYS = {}


def signed(claims, jwk, **header):
    """Sign with python-jose, not with the simulator's own code."""
    # Checking a private key takes far longer than signing with it
    if jwk["kid"] not in _KEYS:
        _KEYS[jwk["kid"]] = construct(jwk, "RS256")
    headers = {"kid": jwk["kid"], **header}
    return jwt.encode(claims, _KEYS[jwk["kid"]], algorithm="RS256", headers=headers)


def client_request(**changes):
    request = {
        "client_name": "NAV",
        "description": "cluster:team:app",
        "integration_type": "maskinporten",
        "grant_types": [JWT_BEARER],
        "token_endpoint_auth_method": "private_key_jwt",
        "scopes": ["skatt:some.scope"],
    } | changes
    return {name: value for name, value in request.items() if value is not None}


def scope_request(**changes):
    request = {"prefix": "nav", "subscope": "pension", "description": "Pensions", "visibility": "PUBLIC"} | changes
    return {name: value for name, value in request.items() if value is not None}


def public(jwk, **changes):
    return jws.public_jwk(jwk) | changes


class Digdir:
    """Calls one simulator as the operator's admin client would, and as an application would."""

    def __init__(self, app, clock, admin_jwk):
        self.app = app
        self.clock = clock
        self.admin_jwk = admin_jwk
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=PUBLIC_URL)
        self._token = None

    sign = staticmethod(signed)
    public = staticmethod(public)
    client_request = staticmethod(client_request)
    scope_request = staticmethod(scope_request)

    @property
    def simulator(self) -> Simulator:
        return self.app.state.simulator

    def claims(self, client_id, scope, **changes):
        now = int(self.clock.now)
        claims = {
            "aud": f"{PUBLIC_URL}/",
            "iss": client_id,
            "iat": now,
            "exp": now + 120,
            "jti": str(uuid.uuid4()),
            "scope": scope,
        } | changes
        return {name: value for name, value in claims.items() if value is not None}

    async def ask_token(self, client_id, jwk, scope, **changes):
        return await self.exchange(signed(self.claims(client_id, scope, **changes), jwk))

    async def exchange(self, assertion):
        return await self.http.post("/token", data={"grant_type": JWT_BEARER, "assertion": assertion})

    async def admin_token(self, scope=ADMIN_SCOPES):
        response = await self.ask_token("admin-client", self.admin_jwk, scope)
        assert response.status_code == 200, response.text
        return response.json()["access_token"]

    async def admin(self, method, path, token=None, **more):
        if token is None:
            token = self._token = self._token or await self.admin_token()
        return await self.http.request(method, f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"}, **more)

    def forget_token(self):
        self._token = None

    async def control(self, method, path, json=None):
        response = await self.http.request(method, f"/control{path}", json=json)
        assert response.is_success, response.text
        return response.json() if response.content else None

    async def set(self, **settings):
        await self.control("PATCH", "/settings", settings)

    async def fault(self, **order):
        return (await self.control("POST", "/faults", order))["id"]

    async def create(self, **fields):
        response = await self.admin("POST", "/clients", json=self.client_request(**fields))
        assert response.status_code == 201, response.text
        return response.json()

    async def create_scope(self, **fields):
        response = await self.admin("POST", "/scopes", json=self.scope_request(**fields))
        assert response.status_code == 201, response.text
        return response.json()

    async def put_scope(self, name="nav:pension", /, **fields):
        return await self.admin("PUT", "/scopes", params={"scope": name}, json=self.scope_request(**fields))

    async def delete_scope(self, name="nav:pension"):
        return await self.admin("DELETE", "/scopes", params={"scope": name})

    async def read_scope(self, name="nav:pension"):
        return await self.admin("GET", "/scopes/scope", params={"scope": name})

    async def grant(self, consumer="974761076", scope="nav:pension"):
        return await self.admin("PUT", f"/scopes/access/{consumer}", params={"scope": scope})

    async def revoke(self, consumer="974761076", scope="nav:pension"):
        return await self.admin("DELETE", f"/scopes/access/{consumer}", params={"scope": scope})

    async def accesses(self, **query):
        """The states of the accesses that the organisation gave, by scope and consumer."""
        shown = (await self.admin("GET", "/scopes/access", params=query)).json()
        return {(access["scope"], access["consumer_orgno"]): access["state"] for access in shown}

    async def register_elsewhere(self, jwk, orgno="974761076", *, scopes):
        """Make a client of another organisation with the public half of `jwk`; return its client_id."""
        client = self.client_request(client_orgno=orgno, scopes=scopes, keys=[self.public(jwk)])
        return (await self.control("POST", "/clients", client))["client_id"]

    async def register(self, jwk, **fields):
        """Create a client and register the public half of `jwk` on it; return its client_id."""
        client_id = (await self.create(**fields))["client_id"]
        response = await self.admin("POST", f"/clients/{client_id}/jwks", json={"keys": [self.public(jwk)]})
        assert response.status_code == 200, response.text
        return client_id


@pytest.fixture(scope="session")
def admin_jwk():
    return jws.new_private_jwk()


@pytest.fixture(scope="session")
def jwk():
    return jws.new_private_jwk()


@pytest.fixture(scope="session")
def other_jwk():
    return jws.new_private_jwk()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def digdir(clock, admin_jwk, request) -> AsyncIterator[Digdir]:
    """One simulator. What a test sends keeps the contract of DigDir's API, unless it is marked `violates`."""
    app = create_app(Config(public_url=PUBLIC_URL, admin_jwk=public(admin_jwk)), clock=clock)
    digdir = Digdir(app, clock, admin_jwk)
    async with digdir.http:
        yield digdir
    if request.node.get_closest_marker("violates") is None:
        assert digdir.simulator.ledger.violating() == []


def problems_of(response, status):
    """Return the messages of the admin API's error body, after a look at its form."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body["status"] == status
    assert check_answer(load().operations["list-clients"], 400, body) == []  # the form is the same of all
    assert len(body["correlation_id"]) == 32
    int(body["correlation_id"], 16)
    messages = [error["errorMessage"] for error in body["errors"]]
    assert body["error"] == body["error_description"] == "".join(f", {message}" for message in messages)
    return messages


@pytest.fixture
def problems():
    return problems_of
