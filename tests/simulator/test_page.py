"""The files of the page, and what the control API tells it."""

import json
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from digdir_simulator import jws
from digdir_simulator.page import DEVTOOLS

STATIC = resources.files("digdir_simulator") / "static"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize("path", ["/", "/page/page.css", "/page/page.js", "/favicon.ico"])
async def test_its_files_are_served_to_run_nothing_from_elsewhere(digdir, path):
    answer = await digdir.http.get(path)

    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_its_files_are_in_the_wheel():
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "static/*" in pyproject["tool"]["setuptools"]["package-data"]["digdir_simulator"]
    assert {file.name for file in STATIC.iterdir()} == {"index.html", "page.css", "page.js", "icon.svg"}


async def test_a_browser_that_looks_leaves_no_trace_in_the_ledger(digdir):
    for path in ("/", "/page/page.js", "/favicon.ico", DEVTOOLS, "/control/page/clients"):
        await digdir.http.get(path)

    assert (await digdir.control("GET", "/ledger"))["entries"] == []


async def test_it_shows_the_newest_of_very_many_and_finds_the_others(digdir):
    clients = [digdir.client_request(description=f"dev:team:app-{number}") for number in range(500)]
    await digdir.control("POST", "/clients", clients)

    newest = await digdir.control("GET", "/page/clients")
    found = await digdir.control("GET", "/page/clients?q=APP-7%20team")

    assert (newest["total"], newest["matching"], len(newest["shown"])) == (501, 501, 50)
    assert newest["shown"][0]["description"] == "dev:team:app-499"
    assert found["matching"] == 11
    assert found["shown"][-1]["description"] == "dev:team:app-7"


async def test_a_client_is_shown_with_its_scopes_and_keys(digdir, jwk):
    client_id = await digdir.register(jwk)

    shown = (await digdir.control("GET", "/page/clients"))["shown"][0]

    key = digdir.simulator.state.client(client_id).keys[0]
    assert shown["client_id"] == client_id
    assert shown["scopes"] == ["skatt:some.scope"]
    assert shown["keys"] == [{"kid": jwk["kid"], "created": key.created, "exp": key.exp}]


async def test_scopes_are_shown_with_the_organisations_own_first(digdir):
    await digdir.create_scope()
    await digdir.grant()

    first, *others = (await digdir.control("GET", "/page/scopes"))["shown"]

    assert (first["name"], first["prefix"], first["exposed"], first["consumers"]) == ("nav:pension", "nav", True, 1)
    assert first["owner"] == {"orgno": "889640782", "name": "ARBEIDS- OG VELFERDSETATEN"}
    assert [scope["exposed"] for scope in others] == sorted((scope["exposed"] for scope in others), reverse=True)


async def test_accesses_are_shown_and_found_by_the_consumers_name(digdir):
    await digdir.create_scope()
    await digdir.grant()
    await digdir.revoke()

    found = await digdir.control("GET", "/page/accesses?q=skatteetaten")

    assert found["shown"][0] == {
        "scope": "nav:pension",
        "consumer": {"orgno": "974761076", "name": "SKATTEETATEN"},
        "state": "DENIED",
        "changed": digdir.clock.now,
    }


async def test_switches_are_told_with_what_they_may_be(digdir):
    await digdir.fault(kind="status", body={"secret": 1})
    shown = await digdir.control("GET", "/page/switches")

    by_name = {one["name"]: one for one in shown["settings"]}
    assert by_name["latency_ms"] | {"description": ""} == {
        "name": "latency_ms", "value": 0, "description": "", "default": 0, "type": "number", "values": [],
        "maximum": 60000,
    }  # fmt: skip
    assert by_name["created_status"]["values"] == [200, 201]
    assert by_name["empty_list_is_error"]["type"] == "boolean"
    assert {one["type"] for one in by_name.values()} == {"number", "choice", "boolean"}
    assert "body" not in shown["faults"][0]


@pytest.mark.violates
async def test_neither_private_keys_nor_tokens_are_told(digdir, jwk):
    client_id = await digdir.register(jwk)
    token = (await digdir.ask_token(client_id, jwk, "skatt:some.scope")).json()["access_token"]
    await digdir.admin("GET", f"/clients/{token}")
    await digdir.admin("GET", "/clients", params={"token": token, "d": jwk["d"]})
    await digdir.control("POST", "/clients", digdir.client_request(description=f"by {token}"))

    pages = ("clients", "scopes", "accesses", "violations", "switches")
    answers = json.dumps([await digdir.control("GET", f"/page/{page}") for page in pages])

    assert "violations" in answers
    assert "[token]" in answers
    for secret in (token, token.split(".")[2], *(jwk[name] for name in ("d", "p", "q", "n"))):
        assert secret not in answers
    assert jws.public_jwk(jwk)["kid"] in answers


async def test_a_text_without_end_is_cut(digdir):
    await digdir.control("POST", "/clients", digdir.client_request(client_name="x" * 100_000))

    shown = (await digdir.control("GET", "/page/clients"))["shown"][0]

    assert shown["name"] == "x" * 300 + "…"
