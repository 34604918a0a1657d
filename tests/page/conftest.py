"""The simulator as a process with something to show, and Debian's Chromium to look at it."""

import os
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.simulator.test_process import DEADLINE, Process

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202e\"'`${7}"

REBOUND = "rebound.example"
"""A name that an attacker has registered, and pointed at this machine."""


def find_chromium():
    path = shutil.which("chromium")
    if path is None:
        lacks = "Chromium isn't installed: tests/page/debian-packages.txt names its package"
        if os.environ.get("ALL_TESTS") == "required":
            pytest.fail(lacks)
        pytest.skip(lacks)
    return path


@pytest.fixture(scope="module")
def browser():
    chromium = find_chromium()
    expect.set_options(timeout=DEADLINE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulator")
    (folder / "seed.yaml").write_text("generate_clients: 10000\n")
    process = Process(folder, "--seed", folder / "seed.yaml")
    process.authorise()
    client = {"client_name": HOSTILE, "description": f"dev:{HOSTILE}", "integration_type": "maskinporten"}
    long = {**client, "client_name": "n" * 255, "description": "d" * 255}
    clients = [client | {"scopes": ["skatt:some.scope"]}, long | {"scopes": [f"skatt:{'s' * 200}"]}]
    process.http.post("/control/clients", json=clients).raise_for_status()
    scope = {"name": f"nav:{'s' * 200}", "description": HOSTILE}
    process.http.post("/control/scopes", json=scope).raise_for_status()
    process.http.post("/control/grants", json={"scope": "nav:pension", "consumer_orgno": "974761076"})
    process.http.get(f"/api/v1/{HOSTILE}")
    yield process
    assert process.stop() == ""
