"""What a site that a developer visits can't do to the simulator through the browser."""

import httpx
import pytest

from digdir_simulator import Config, create_app

FAULT = {"kind": "status", "path": "/clients$"}


def calls(headers, **config):
    app = create_app(Config(**config))
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 40000))
    return app, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "http://127.0.0.1:8080.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_another_site_can_neither_change_nor_read_anything(headers):
    app, http = calls(headers)
    async with http:
        form = await http.post("/control/faults", content='{"kind": "drop"}', headers={"Content-Type": "text/plain"})
        answers = [form, await http.post("/control/reset"), await http.get("/control/state")]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}
    assert list(app.state.simulator.faults) == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "127.1", "[::1"])
async def test_a_name_that_an_attacker_may_own_isnt_answered_even_if_it_leads_here(host):
    _, http = calls({"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"})
    async with http:
        answer = await http.post("/control/faults", json=FAULT)

    assert answer.status_code == 403
    assert "--public-url" in answer.json()["error"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "[::1]:8080", "10.1.2.3", "localhost:8080", "LOCALHOST", "sim.localhost", "digdir",
     "digdir.test", "host.docker.internal:8080", "sim.team.svc:8080"],
)  # fmt: skip
async def test_names_that_lead_nowhere_else_are_answered(host):
    _, http = calls({"Host": host}, public_url="http://sim.team.svc:8080")
    async with http:
        assert (await http.post("/control/faults", json=FAULT)).status_code == 201


async def test_the_page_itself_may_change_things_at_whatever_port_is_forwarded():
    _, http = calls({"Host": "localhost:9999", "Origin": "http://localhost:9999", "Sec-Fetch-Site": "same-origin"})
    async with http:
        assert (await http.post("/control/faults", json=FAULT)).status_code == 201


async def test_a_program_needs_none_of_what_browsers_send():
    _, http = calls({})
    async with http:
        answer = await http.post("/control/faults", content='{"kind": "drop"}', headers={"Content-Type": "a/form"})

    assert answer.status_code == 201


async def test_the_way_in_by_everybody_isnt_one_for_other_sites():
    _, http = calls({"Origin": "https://evil.example"}, control_from_anywhere=True)
    async with http:
        assert (await http.get("/control/state")).status_code == 403


async def test_what_it_tells_is_kept_nowhere_and_is_no_script():
    _, http = calls({})
    async with http:
        answer = await http.get("/control/state")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in answer.headers
