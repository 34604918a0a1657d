"""Every call that the operator can make of DigDir's self-service API, against what is known of that API."""

import importlib
import inspect
import pkgutil

import pytest

from digdir_contract import check_answer, load
from digdir_simulator import jws
from digdir_simulator.in_process import InProcessTransport
from maskinporten_operator.adapters import digdir as digdir_adapters
from maskinporten_operator.adapters.digdir.client_api import ClientApi
from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
from maskinporten_operator.adapters.digdir.wire import OwnedClients
from maskinporten_operator.model.jwk import PublicJwk
from tests.adapters.conftest import fields, scope_fields
from tests.certificates import rsa_key

NAME, KOMMUNE, CLIENT = "nav:arbeid:some.scope.read", "123456785", "client-1"
KEY = PublicJwk(jws.as_public_jwk(rsa_key(0).public_key(), "mpo-some-kid"))

WALK = [
    (ClientApi.list_clients, ()),
    (ClientApi.create_client, (fields(client_id=CLIENT),)),
    (ClientApi.list_owned_clients, (OwnedClients("some-cluster:"),)),
    (ClientApi.find_client, (CLIENT,)),
    (ClientApi.update_client, (CLIENT, fields())),
    (ClientApi.list_keys, (CLIENT,)),
    (ClientApi.replace_keys, (CLIENT, [KEY])),
    (ClientApi.list_keys, (CLIENT,)),
    (ClientApi.delete_keys, (CLIENT,)),
    (ClientApi.delete_client, (CLIENT,)),
    (ScopeApi.list_own, ()),
    (ScopeApi.create, (scope_fields(),)),
    (ScopeApi.find, (NAME,)),
    (ScopeApi.update, (NAME, scope_fields())),
    (ScopeApi.grant, (NAME, KOMMUNE)),
    (ScopeApi.list_accesses, (NAME,)),
    (ScopeApi.revoke, (NAME, KOMMUNE)),
    (ScopeApi.deactivate, (NAME,)),
    (ScopeApi.list_granted, ()),
    (ScopeApi.list_open, ()),
    (ScopeApi.list_delegated, ()),
    (ScopeApi.list_delegation_sources, ()),
    (ScopeApi.list_prefixes, ()),
]
"""Each method, with what it is called with, in an order in which each has something to do."""


class Listener(InProcessTransport):
    """Keeps what was asked and answered."""

    def __init__(self, app):
        super().__init__(app)
        self.exchanges = []

    async def handle_async_request(self, request):
        response = await super().handle_async_request(request)
        await response.aread()
        self.exchanges.append((request, response))
        return response


def list_methods():
    """Give all public methods of the classes that make calls, wherever in the adapters they are."""
    for module in pkgutil.iter_modules(digdir_adapters.__path__, f"{digdir_adapters.__name__}."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name and "calls" in getattr(found.__init__, "__annotations__", {}):
                methods = inspect.getmembers(found, inspect.iscoroutinefunction)
                yield from (method for name, method in methods if not name.startswith("_"))


def test_the_walk_takes_every_call_of_the_adapters():
    assert {method for method, _ in WALK} == set(list_methods())


@pytest.mark.parametrize("statuses", [{}, {"created_status": 200, "deleted_status": 204, "empty_jwks": "empty-object"}])
async def test_every_call_keeps_the_contract_and_so_does_every_answer(digdir, statuses):
    digdir.set(**statuses)
    listener = Listener(digdir.app)
    calls = digdir.calls_over(digdir.authorized(digdir.credentials, transport=listener))
    apis = {"ClientApi": ClientApi(calls), "ScopeApi": ScopeApi(calls)}

    for method, arguments in WALK:
        listener.exchanges.clear()
        await method(apis[method.__qualname__.partition(".")[0]], *arguments)
        ((request, response),) = listener.exchanges
        match = load().match(request.method, request.url.path.removeprefix("/api/v1"))
        assert match is not None, request.url
        body = [response.json()] if response.content else []
        assert check_answer(match.operation, response.status_code, *body) == []

    assert digdir.simulator.ledger.violating() == []
