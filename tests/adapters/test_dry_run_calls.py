"""What is sent to DigDir while `plan` runs: each read once, and no write. `planned_world.py` proves the rest."""

import asyncio

import httpx
import pytest

from maskinporten_operator.adapters.digdir.client_api import ClientApi
from maskinporten_operator.adapters.digdir.dry_run_calls import DryRunCalls
from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.plan.planned_writes import NEW_CLIENT
from tests.unit.fakes import NOW, private_jwk, registration_fields

SCOPE = {"name": "nav:some.scope", "prefix": "nav", "subscope": "some.scope", "description": "Old", "active": True}


class Answers:
    """Gives each path's answers in turn, the last one again and again, and notes what was asked."""

    def __init__(self, **answers):
        self.answers = {f"/{path.replace('_', '/')}": list(some) for path, some in answers.items()}
        self.asked = []
        self.writes = []
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.calls = DryRunCalls(
            http, "http://digdir.test", lambda *_: None, record=self.writes.append, now=lambda: NOW
        )

    def _answer(self, request):
        self.asked.append((request.method, request.url.path))
        some = self.answers[request.url.path]
        return some.pop(0) if len(some) > 1 else some[0]


def listing(*documents):
    return httpx.Response(200, json=list(documents))


async def test_a_list_is_read_once_and_knows_what_was_written_since():
    digdir = Answers(clients=[listing(registration_fields(client_id="old"))])
    clients = ClientApi(digdir.calls)
    await clients.list_clients()

    made = await clients.create_client({"description": "some:new"})
    await clients.update_client("old", {"description": "changed"})
    await clients.replace_keys(made.client_id, [private_jwk().public()])

    found = {one.client_id: one.description for one in await clients.list_clients()}
    assert found == {f"{NEW_CLIENT}1": "some:new", "old": "changed"}
    assert [key.kid for key in await clients.list_keys(made.client_id)] == [private_jwk().kid]
    assert digdir.asked == [("GET", "/clients")]
    assert [one.method for one in digdir.writes] == ["POST", "PUT", "POST"]


async def test_a_write_tells_what_there_is_now_from_the_list_if_nobody_read_it_alone():
    digdir = Answers(scopes=[listing(SCOPE)], clients=[listing(registration_fields(client_id="old"))])
    scopes, clients = ScopeApi(digdir.calls), ClientApi(digdir.calls)
    await scopes.list_own()
    await clients.list_clients()

    await scopes.update("nav:some.scope", {**SCOPE, "description": "New"})
    await clients.delete_client("old")

    assert [one.before["description"] for one in digdir.writes] == ["Old", registration_fields()["description"]]
    assert await clients.find_client("old") is None
    assert (await scopes.find("nav:some.scope")).description == "New"


async def test_access_that_was_given_and_taken_is_read_so():
    row = {"scope": "nav:some.scope", "consumer_orgno": "974761076", "state": "APPROVED"}
    digdir = Answers(scopes_access=[listing(row)])
    scopes = ScopeApi(digdir.calls)

    await scopes.revoke("nav:some.scope", "974761076")
    await scopes.grant("nav:some.scope", "970018131")

    assert [one.orgno for one in await scopes.list_accesses("nav:some.scope")] == ["970018131"]
    assert {method for method, _ in digdir.asked} == {"GET"}


async def test_a_read_that_digdir_asks_to_wait_with_is_repeated_after_that(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        digdir.calls._paused_until = 0.0

    monkeypatch.setattr(asyncio, "sleep", sleep)
    busy = httpx.Response(429, headers={"Retry-After": "7"}, json={})
    digdir = Answers(clients=[busy, listing()])

    assert await ClientApi(digdir.calls).list_clients() == ()
    assert slept == [pytest.approx(7.0, abs=1.0)]


async def test_a_fault_of_digdir_is_a_fault_of_the_plan():
    digdir = Answers(clients=[httpx.Response(503, json={}), listing()])

    with pytest.raises(TransientError):
        await ClientApi(digdir.calls).list_clients()
