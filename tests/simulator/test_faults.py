import asyncio
import time

import httpx
import pytest

from digdir_simulator import AnswerDroppedError
from digdir_simulator.in_process import InProcessTransport


async def count(digdir):
    return len((await digdir.admin("GET", "/clients")).json())


async def test_a_status_strikes_the_next_calls_that_match_and_no_others(digdir, problems):
    await digdir.fault(kind="status", status=503, retry_after=7, method="post", path="/clients$", times=2)
    assert await count(digdir) == 1
    for _ in range(2):
        response = await digdir.admin("POST", "/clients", json=digdir.client_request())
        assert problems(response, 503)
        assert response.headers["retry-after"] == "7"
    assert (await digdir.admin("POST", "/clients", json=digdir.client_request())).status_code == 201
    assert await count(digdir) == 2


async def test_a_fault_may_let_calls_pass_first_and_have_its_own_body(digdir):
    await digdir.fault(kind="status", status=429, path="/clients", skip=1, body={"message": "slow down"})
    assert await count(digdir) == 1
    response = await digdir.admin("GET", "/clients")
    assert (response.status_code, response.json()) == (429, {"message": "slow down"})


async def test_a_status_after_the_operation_hides_that_it_was_carried_out(digdir):
    await digdir.fault(kind="status", status=500, when="after", path="/clients$")
    assert (await digdir.admin("POST", "/clients", json=digdir.client_request())).status_code == 500
    assert await count(digdir) == 2


async def test_a_gateway_answers_with_a_page(digdir):
    await digdir.admin_token()
    await digdir.fault(kind="html", path="/clients")
    response = await digdir.admin("GET", "/clients")
    assert response.status_code == 502
    assert response.headers["content-type"] == "text/html"
    assert response.text.startswith("<html>")


async def test_the_token_endpoint_can_fail_too(digdir, jwk):
    await digdir.fault(kind="status", status=500, path="^/token$")
    assert (await digdir.ask_token("admin-client", digdir.admin_jwk, "idporten:dcr.read")).status_code == 500


@pytest.mark.parametrize(("when", "clients"), [("before", 1), ("after", 2)])
async def test_a_dropped_answer_is_an_exception_in_process(digdir, when, clients):
    await digdir.fault(kind="drop", when=when, method="POST", path="/clients$")
    with pytest.raises(AnswerDroppedError):
        await digdir.admin("POST", "/clients", json=digdir.client_request())
    assert await count(digdir) == clients
    entry = (await digdir.control("GET", "/ledger?operation=create-client"))["entries"][0]
    assert entry["fault"] == f"drop {when}"
    assert entry["status"] == (201 if when == "after" else None)
    assert (entry["client_id"] is not None) == (when == "after")


async def test_the_transport_in_process_reports_a_drop_as_a_network_would(digdir):
    await digdir.fault(kind="drop")
    async with httpx.AsyncClient(transport=InProcessTransport(digdir.app)) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("http://digdir.test/api/v1/scopes/all")
        assert (await http.get("http://digdir.test/api/v1/scopes/all")).status_code == 200


async def until_held(digdir, fault):
    async with asyncio.timeout(2):
        while not (await digdir.control("GET", f"/faults/{fault}"))["held"]:
            await asyncio.sleep(0)


@pytest.mark.parametrize(("when", "clients"), [("before", 1), ("after", 2)])
async def test_a_call_is_held_before_or_after_it_is_carried_out(digdir, when, clients):
    fault = await digdir.fault(kind="hold", when=when, method="POST", path="/clients$")
    call = asyncio.create_task(digdir.admin("POST", "/clients", json=digdir.client_request()))
    await until_held(digdir, fault)
    assert await count(digdir) == clients
    summary = await digdir.control("GET", "/ledger/summary?operation=create-client")
    assert summary["operations"] == {"create-client": {"pending": 1}}
    assert not call.done()
    await digdir.control("POST", f"/faults/{fault}/release")
    assert (await call).status_code == 201
    assert await count(digdir) == 2


async def test_a_held_call_can_be_dropped_on_release(digdir):
    fault = await digdir.fault(kind="hold", when="after", path="/clients$", method="POST")
    await digdir.fault(kind="drop", when="after", path="/clients$", method="POST")
    call = asyncio.create_task(digdir.admin("POST", "/clients", json=digdir.client_request()))
    await until_held(digdir, fault)
    await digdir.control("DELETE", f"/faults/{fault}")
    with pytest.raises(AnswerDroppedError):
        await call


async def test_removing_all_faults_releases_held_calls(digdir):
    fault = await digdir.fault(kind="hold", path="/clients")
    call = asyncio.create_task(digdir.admin("GET", "/clients"))
    await until_held(digdir, fault)
    await digdir.control("DELETE", "/faults")
    assert (await call).status_code == 200
    assert await digdir.control("GET", "/faults") == []


async def test_a_fault_can_delay_and_latency_delays_every_admin_call(digdir):
    await digdir.admin_token()
    await digdir.fault(kind="delay", delay_ms=60, path="/scopes")
    begin = time.monotonic()
    await digdir.http.get("/api/v1/scopes/all")
    assert time.monotonic() - begin >= 0.059
    await digdir.set(latency_ms=40)
    begin = time.monotonic()
    await digdir.http.get("/api/v1/scopes/all")
    assert time.monotonic() - begin >= 0.039


async def test_an_empty_list_may_be_an_error(digdir, problems):
    await digdir.set(empty_list_is_error=True)
    response = await digdir.http.get("/api/v1/scopes/all?prefix=none")
    assert "does not have any" in problems(response, 404)[0]
    assert "does not have any" in response.json()["error_description"]
    assert (await digdir.http.get("/api/v1/scopes/all")).status_code == 200
    await digdir.fault(kind="empty-list-error", path="/clients")
    assert "does not have any" in (await digdir.admin("GET", "/clients")).json()["error_description"]


@pytest.mark.parametrize(
    "order",
    [{}, {"kind": "fire"}, {"kind": "drop", "path": "("}, {"kind": "drop", "times": 0}, {"kind": "drop", "x": 1}],
)
async def test_a_fault_that_makes_no_sense_is_refused(digdir, order):
    response = await digdir.http.post("/control/faults", json=order)
    assert response.status_code == 400
    assert response.json()["error"]
