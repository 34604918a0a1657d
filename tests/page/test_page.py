"""The simulator's page in a browser."""

import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.page.conftest import HOSTILE, REBOUND
from tests.simulator.test_process import Process

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
MAX_BYTES = 100_000


class Visit:
    """A page that is looked at, and what the browser had to say about it."""

    def __init__(self, page, url):
        self.page = page
        self.url = url
        self.complaints = []
        self.requests = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => console.error(event.violatedDirective))"
        )

    def open(self):
        self.page.goto(self.url)
        expect(self.page.get_by_text("Live", exact=True)).to_be_visible()
        expect(self.page.locator("#accesses-table tbody tr").first).to_be_visible()
        expect(self.page.get_by_role("switch", name="Calls hang")).to_be_visible()
        expect(self.page.get_by_label("Latency")).to_be_visible()
        return self.page


@pytest.fixture
def visit(browser, simulator):
    """Look at the page; nothing that it does makes the browser complain, or leaves the simulator."""
    visits = []

    def visit(**context):
        page = browser.new_context(**{"viewport": WIDE, **context}).new_page()
        visits.append(Visit(page, f"{simulator.url}/"))
        return visits[-1]

    yield visit
    for one in visits:
        one.page.context.close()
    simulator.http.delete("/control/faults")
    simulator.http.patch("/control/settings", json={"latency_ms": 0, "created_status": 201})
    for one in visits:
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith(f"{simulator.url}/")] == []


def row(page, path):
    return page.locator("#calls-table tbody tr").filter(has_text=path).first


def test_a_call_appears_without_a_reload(visit, simulator):
    page = visit().open()

    simulator.http.get("/api/v1/prefix/all")

    expect(row(page, "/api/v1/prefix/all")).to_contain_text("200")
    expect(page.locator("#news")).to_contain_text("Newest call: GET /api/v1/prefix/all, 200")


def test_a_client_appears_without_a_reload_with_its_key_and_scope(visit, simulator):
    page = visit().open()

    client_id = simulator.create().json()["client_id"]

    expect(page.locator("#clients-table tbody tr").first).to_contain_text(client_id)
    expect(page.locator("#clients-table tbody tr").first).to_contain_text("skatt:some.scope")


def test_a_switch_makes_the_fault_and_takes_it_back(visit, simulator):
    page = visit().open()
    switch = page.get_by_role("switch", name="The admin API is down")

    switch.check()
    expect(page.locator("#faults-list")).to_contain_text("answer 503")
    assert simulator.http.get("/api/v1/scopes/all").status_code == 503
    expect(page.locator("#faults-list")).to_contain_text("1 struck")
    expect(row(page, "/api/v1/scopes/all")).to_contain_text("fault: status before")

    switch.uncheck()
    expect(page.locator("#faults-list li")).to_have_count(0)
    assert simulator.http.get("/api/v1/scopes/all").status_code == 200


def test_what_a_program_switches_is_shown_and_can_be_switched_off(visit, simulator):
    page = visit().open()

    simulator.http.post("/control/faults", json={"kind": "drop", "path": "/clients$", "times": 3})
    simulator.http.patch("/control/settings", json={"latency_ms": 250})

    expect(page.locator("#faults-list")).to_contain_text("0 of 3 struck")
    expect(page.get_by_label("Latency")).to_have_value("250")
    page.get_by_role("button", name="All off").click()
    expect(page.locator("#faults-list li")).to_have_count(0)
    expect(page.get_by_label("Latency")).to_have_value("0")
    assert simulator.http.get("/control/settings").json()["latency_ms"] == 0


def test_delays_and_answers_to_open_questions_are_set(visit, simulator):
    page = visit().open()

    page.get_by_label("Latency").fill("20")
    page.get_by_label("Latency").press("Enter")
    page.get_by_text("Answers to open questions").click()
    page.get_by_label("created status").select_option("200")

    expect(page.locator("#changed-manners")).to_have_text("1 changed")
    settings = simulator.http.get("/control/settings").json()
    assert (settings["latency_ms"], settings["created_status"]) == (20, 200)


def test_a_fault_of_ones_own_is_added_and_one_that_is_refused_is_explained(visit, simulator):
    opened = visit()
    page = opened.open()
    page.get_by_text("Add a fault").click()
    page.get_by_label("Path, a regular expression").fill("(")

    page.get_by_role("button", name="Add the fault").click()
    expect(page.get_by_role("alert")).to_contain_text("no regular expression")
    assert opened.complaints.pop().startswith("Failed to load resource: the server responded with a status of 400")

    page.get_by_label("Path, a regular expression").fill("/prefix")
    page.get_by_label("How many calls").fill("")
    page.get_by_role("button", name="Add the fault").click()
    expect(page.get_by_role("alert")).to_be_empty()
    expect(page.locator("#faults-list")).to_contain_text("path /prefix")
    assert simulator.http.get("/api/v1/prefix/all").status_code == 503


def test_hostile_names_are_nothing_but_text(visit, simulator):
    page = visit().open()

    page.get_by_role("region", name="Clients").get_by_label("Filter").fill("onerror")

    expect(page.locator("#clients-table tbody tr")).to_have_count(1)
    expect(page.locator("#clients-table .lead")).to_have_text(f"dev:{HOSTILE}")
    expect(page.locator("#scopes-table")).to_contain_text(HOSTILE)
    expect(page.locator("#violations-list")).to_contain_text("path is that of no operation")
    assert page.locator("img, main script, main iframe, main a").count() == 0


def test_of_ten_thousand_clients_the_newest_are_shown_and_the_others_found(visit):
    page = visit().open()
    expect(page.locator("#clients-note")).to_contain_text("the first 50 are shown")

    page.get_by_role("region", name="Clients").get_by_label("Filter").fill("Generated client 4711")

    expect(page.locator("#clients-note")).to_contain_text(re.compile(r"^\d of 10,0\d\d match"))
    expect(page.get_by_text("Generated client 4711", exact=True)).to_be_visible()


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_is_accessible_in_light_and_dark(visit, simulator, viewport):
    simulator.http.post("/control/faults", json={"kind": "hold", "path": "/nothing"})
    page = visit(color_scheme="light", viewport=viewport).open()
    page.get_by_text("Add a fault").click()
    page.get_by_text("Answers to open questions").click()
    page.get_by_role("switch", name="Calls hang").check()
    expect(page.locator("#faults-list li")).to_have_count(2)

    assert find_barriers(page) == []
    page.emulate_media(color_scheme="dark")
    assert find_barriers(page, only="color-contrast") == []


def find_barriers(page, only=None):
    found = Axe().run(page, options={"runOnly": [only]} if only else None).response
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]]


def test_nothing_is_wider_than_a_phone(visit):
    page = visit(viewport=PHONE).open()
    page.get_by_text("Add a fault").click()
    page.get_by_text("Answers to open questions").click()
    for width in (360, 320):
        page.set_viewport_size({"width": width, "height": 740})

        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_it_is_small_and_asks_nobody_else(visit, simulator):
    opened = visit()
    sizes = {}
    opened.page.on("response", lambda response: sizes.setdefault(response.url, response))
    opened.open()

    files = [url for url in sizes if "/control/" not in url]
    assert {url.removeprefix(simulator.url) for url in files} >= {"/", "/page/page.css", "/page/page.js"}
    assert sum(len(sizes[url].body()) for url in files) <= MAX_BYTES


def test_it_is_used_by_the_keyboard_alone(visit, simulator):
    page = visit().open()

    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the calls")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#calls-filter")).to_be_focused()
    outline = page.locator("#calls-filter").evaluate("(element) => getComputedStyle(element).outlineStyle")
    page.get_by_role("switch", name="A gateway answers").focus()
    page.keyboard.press("Space")

    assert outline == "solid"
    expect(page.locator("#faults-list")).to_contain_text("html before")
    assert simulator.http.get("/api/v1/prefix/all").status_code == 502


def test_calls_stand_still_while_paused_and_are_found_by_a_filter(visit, simulator):
    page = visit().open()
    simulator.http.get("/api/v1/scopes/all")
    expect(row(page, "/api/v1/scopes/all")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    before = page.locator("#calls-table tbody tr").count()
    simulator.http.get("/api/v1/prefix/all")
    expect(page.locator("[data-count=calls]")).to_have_text(
        str(simulator.http.get("/control/ledger/summary").json()["total"])
    )
    assert page.locator("#calls-table tbody tr").count() == before

    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#calls-table tbody tr")).to_have_count(before + 1)
    page.locator("#calls-filter").fill("get prefix/all 200")
    expect(page.locator("#calls-table tbody tr").filter(has_not_text="/prefix/all")).to_have_count(0)


def test_nothing_moves_for_who_asked_for_that(visit):
    page = visit(reduced_motion="reduce").open()

    styles = page.get_by_role("switch").first.evaluate("(element) => getComputedStyle(element, '::before').transition")
    assert not styles.startswith("left")


def test_another_site_in_the_same_browser_can_change_nothing(simulator, browser, tmp_path):
    other = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    Thread(target=other.serve_forever).start()
    page = browser.new_context().new_page()
    try:
        page.goto(f"http://localhost:{other.server_port}/")
        send = "([url, body]) => fetch(url, {method: 'POST', mode: 'no-cors', body}).catch(() => 'kept from the site')"
        answered = page.evaluate(send, [f"{simulator.url}/control/faults", '{"kind": "drop"}'])
    finally:
        page.context.close()
        other.shutdown()
        other.server_close()

    assert answered == "kept from the site"
    assert simulator.http.get("/control/faults").json() == []


def test_a_site_whose_name_leads_here_learns_and_changes_nothing(simulator, browser):
    page = browser.new_context().new_page()
    page.goto(simulator.url.replace("127.0.0.1", REBOUND))

    expect(page.get_by_role("alert")).to_contain_text(f"isn't reached by the name '{REBOUND}")
    expect(page.locator("#clients-table tbody tr")).to_have_count(0)
    send = "async (body) => (await fetch('/control/faults', {method: 'POST', body})).status"
    assert page.evaluate(send, '{"kind": "drop"}') == 403
    assert simulator.http.get("/control/faults").json() == []
    page.context.close()


def test_a_page_whose_simulator_is_started_again_goes_on_by_itself(browser, tmp_path):
    first = Process(tmp_path)
    first.http.get("/api/v1/prefix/all")
    page = browser.new_context().new_page()
    page.goto(first.url)
    expect(row(page, "/api/v1/prefix/all")).to_be_visible()
    assert first.stop() == ""
    expect(page.get_by_text("Not connected")).to_be_visible()
    second = Process(tmp_path, port=first.url.rpartition(":")[2])
    try:
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        expect(page.get_by_text("No call yet")).to_be_visible()
        second.http.get("/api/v1/scopes/all")
        expect(row(page, "/api/v1/scopes/all")).to_be_visible()
        page.context.close()
    finally:
        second.kill()
