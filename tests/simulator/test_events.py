"""Following what happens by server-sent events."""

import asyncio
import json
import signal
import socket

import httpx
import pytest

from digdir_simulator import events
from digdir_simulator.connections import ABORT_EXTENSION
from digdir_simulator.ledger import RECENT_CHANGES
from tests.simulator.test_process import DEADLINE, Process


class Listener:
    """One that follows, as a server would serve it: it may leave, and take nothing."""

    def __init__(self, digdir, last_event_id=None):
        headers = [(b"host", b"127.0.0.1")]
        if last_event_id is not None:
            headers.append((b"last-event-id", last_event_id.encode()))
        self.chunks = asyncio.Queue()
        self.takes = asyncio.Event()
        self.takes.set()
        self.left = asyncio.Event()
        self.aborted = False
        scope = {
            "type": "http", "method": "GET", "path": "/control/events", "raw_path": b"/control/events",
            "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080),
            "scheme": "http", "extensions": {ABORT_EXTENSION: self.abort},
        }  # fmt: skip
        self.served = asyncio.create_task(digdir.app(scope, self.receive, self.send))

    def abort(self):
        self.aborted = True
        self.left.set()

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        await self.takes.wait()
        self.chunks.put_nowait(message)

    async def next(self):
        """The next event, past what isn't one: its id and its data."""
        while True:
            message = await asyncio.wait_for(self.chunks.get(), DEADLINE)
            lines = dict(line.split(": ", 1) for line in message.get("body", b"").decode().splitlines() if ": " in line)
            if "data" in lines:
                return lines["id"], json.loads(lines["data"])

    async def close(self):
        self.left.set()
        await asyncio.wait_for(self.served, DEADLINE)


@pytest.fixture
async def follow(digdir, monkeypatch):
    monkeypatch.setattr(events, "INTERVAL_SECONDS", 0)
    listeners = []

    def follow(last_event_id=None):
        listeners.append(Listener(digdir, last_event_id))
        return listeners[-1]

    yield follow
    for one in listeners:
        await one.close()
    assert digdir.simulator.listeners == 0


def paths(news):
    return [call["path"] for call in news["calls"]]


async def test_a_call_is_told_when_it_comes_and_when_it_ends(digdir, follow):
    await digdir.admin_token()
    await digdir.fault(kind="hold", path="/scopes/all$")
    listener = follow()
    _, news = await listener.next()
    assert (news["anew"], paths(news)) == (True, ["/token"])

    call = asyncio.create_task(digdir.http.get("/api/v1/scopes/all"))
    _, news = await listener.next()
    assert [(one["path"], one["duration_ms"]) for one in news["calls"]] == [("/api/v1/scopes/all", None)]
    await digdir.control("POST", "/faults/1/release")
    await call
    while not news["calls"] or news["calls"][0]["status"] is None:
        _, news = await listener.next()

    assert news["calls"][0]["status"] == 200
    assert news["calls"][0]["duration_ms"] >= 0
    assert not news["anew"]


async def test_who_called_and_what_for_is_told_by_the_names_that_people_know(digdir, follow, jwk):
    client_id = await digdir.register(jwk)
    await digdir.ask_token(client_id, jwk, "skatt:some.scope")

    _, news = await follow().next()

    assert [(one["caller"], one["client"]) for one in news["calls"]] == [
        ("Client of the operator itself", None),
        ("Client of the operator itself", "cluster:team:app"),
        ("Client of the operator itself", "cluster:team:app"),
        ("cluster:team:app", None),
    ]


async def test_what_changed_is_told_by_versions(digdir, follow):
    listener = follow()
    _, first = await listener.next()
    await digdir.control("POST", "/clients", digdir.client_request())
    _, second = await listener.next()
    await digdir.set(latency_ms=1)
    _, third = await listener.next()
    await digdir.control("POST", "/reset")
    _, fourth = await listener.next()

    assert len({news["control"] for news in (first, second, third, fourth)}) == 4
    assert first["state"] != second["state"] == third["state"]
    assert fourth["state"] not in {first["state"], second["state"]}
    assert fourth["anew"]


async def test_one_that_comes_back_goes_on_where_it_was(digdir, follow):
    listener = follow()
    await digdir.http.get("/api/v1/scopes/all")
    event, news = await listener.next()
    while not paths(news):
        event, news = await listener.next()
    await listener.close()
    await digdir.http.get("/api/v1/prefix/all")

    _, news = await follow(event).next()

    assert (news["anew"], paths(news)) == (False, ["/api/v1/prefix/all"])


@pytest.mark.parametrize("event", ["", "x", "-1", "other-5", "-", "{}-99999999999999999999999999", "{}-²"])
async def test_one_that_comes_from_elsewhere_begins_anew(digdir, follow, event):
    await digdir.http.get("/api/v1/scopes/all")

    _, news = await follow(event.replace("{}", digdir.simulator.instance)).next()

    assert (news["anew"], paths(news)) == (True, ["/api/v1/scopes/all"])


async def test_one_that_missed_too_much_is_told_the_latest_and_nothing_is_kept_for_it(digdir, follow):
    listener = follow()
    await listener.next()
    listener.takes.clear()
    for _ in range(RECENT_CHANGES):
        await digdir.http.get("/api/v1/prefix/all")
    listener.takes.set()
    _, news = await listener.next()
    while not news["anew"]:
        _, news = await listener.next()

    assert len(news["calls"]) <= RECENT_CHANGES
    assert news["calls"][-1]["sequence"] == news["count"] == RECENT_CHANGES
    assert listener.chunks.empty()


async def test_a_cleared_ledger_is_told_anew(digdir, follow):
    await digdir.http.get("/api/v1/prefix/all")
    listener = follow()
    await listener.next()
    await digdir.control("DELETE", "/ledger")
    _, news = await listener.next()

    assert (news["anew"], news["calls"], news["count"]) == (True, [], 0)


async def test_one_that_takes_nothing_is_dropped(digdir, follow, monkeypatch):
    monkeypatch.setattr(events, "PATIENCE_SECONDS", 0.01)
    listener = follow()
    await listener.next()
    listener.takes.clear()
    await digdir.http.get("/api/v1/prefix/all")
    await asyncio.wait_for(listener.served, DEADLINE)

    assert listener.aborted
    assert digdir.simulator.listeners == 0


async def test_one_that_is_gone_is_noticed_at_once(digdir, follow):
    listener = follow()
    await listener.next()
    assert digdir.simulator.listeners == 1

    await listener.close()

    assert digdir.simulator.listeners == 0
    assert not listener.aborted


async def test_while_nothing_happens_a_sign_of_life_is_sent(follow, monkeypatch):
    monkeypatch.setattr(events, "QUIET_SECONDS", 0.01)
    listener = follow()
    await listener.next()

    message = await asyncio.wait_for(listener.chunks.get(), DEADLINE)

    assert message == {"type": "http.response.body", "body": b":\n\n", "more_body": True}


async def test_more_than_a_few_dozen_are_refused(digdir, follow, monkeypatch):
    monkeypatch.setattr(events, "MAX_LISTENERS", 1)
    await follow().next()

    answer = await digdir.http.get("/control/events")

    assert answer.status_code == 503


async def test_a_stop_ends_what_is_told(digdir, follow):
    listener = follow()
    await listener.next()
    slow = follow()
    await slow.next()
    slow.takes.clear()

    digdir.simulator.abandon()
    await asyncio.wait_for(asyncio.gather(listener.served, slow.served), DEADLINE)

    assert listener.chunks.get_nowait() == {"type": "http.response.body", "body": b"", "more_body": False}
    assert (listener.aborted, slow.aborted) == (False, True)


def test_a_simulator_stops_at_once_while_some_listen(tmp_path):
    process = Process(tmp_path)
    host, port = process.url.removeprefix("http://").split(":")
    with (
        socket.create_connection((host, int(port))) as deaf,
        httpx.stream("GET", f"{process.url}/control/events", timeout=DEADLINE) as answer,
    ):
        deaf.sendall(b"GET /control/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith("data"))
        assert deaf.recv(16)
        process._process.send_signal(signal.SIGTERM)
        assert not any(line.startswith("data") for line in lines)  # the answer ends as answers do
    assert process.stop() == ""  # no call had to be cancelled
