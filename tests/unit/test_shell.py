"""kopf as the shell: what ends it, what it tells of its watches, and what it doesn't ask for."""

import asyncio
import concurrent.futures
import getpass

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from maskinporten_operator.adapters.cluster.session import open_session
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.runtime.shell import run_shell
from maskinporten_operator.runtime.vitals import Vitals
from tests.unit.fakes import resource_body

PATH = MASKINPORTEN_CLIENT.path()
DEADLINE = 20.0


class ApiServer:
    """An API server with one resource, whose watch brings nothing."""

    def __init__(self):
        self.watch_status = 200
        self.watches = 0

    async def serve(self, request):
        if request.path == PATH:
            return await self._serve_resources(request)
        ours, verbs = MASKINPORTEN_CLIENT, ["list", "watch", "patch"]
        version = {"version": ours.version}
        clients = {"name": ours.plural, "kind": ours.name, "namespaced": True, "singularName": "", "verbs": verbs}
        namespaces = {**clients, "name": "namespaces", "kind": "Namespace", "namespaced": False}
        answers = {
            "/api": {"versions": ["v1"]},
            "/api/v1": {"resources": [namespaces]},
            "/apis": {"groups": [{"name": ours.group, "versions": [version], "preferredVersion": version}]},
            f"/apis/{ours.group}/{ours.version}": {"resources": [clients]},
        }
        return web.json_response(answers[request.path])

    async def _serve_resources(self, request):
        if "watch" not in request.query:
            return web.json_response({"items": [resource_body()], "metadata": {"resourceVersion": "1"}})
        self.watches += 1
        response = web.StreamResponse(status=self.watch_status)
        await response.prepare(request)
        if self.watch_status == 200:
            await asyncio.sleep(DEADLINE)
        return response


@pytest.fixture
async def api(unused_tcp_port):
    api = ApiServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", api.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    api.url = f"http://127.0.0.1:{unused_tcp_port}"
    yield api
    await runner.cleanup()


@pytest.fixture
def vitals():
    return Vitals(lambda: 0.0)


@pytest.fixture
async def shell(api, vitals):
    """Starts it, and ends it at the end if it hasn't ended."""
    configuration = Configuration()
    configuration.host = api.url
    paths = vitals.expect_paths([PATH])
    stop, tasks = concurrent.futures.Future(), []

    def start(on_event=lambda *_: None, session=lambda: open_session(configuration, paths)):
        tasks.append(asyncio.create_task(run_shell(on_event, session, api.url, [MASKINPORTEN_CLIENT], [], stop)))
        return tasks[0]

    yield start
    stop.set_result(None)
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


async def test_nobody_asks_for_the_users_name(shell, monkeypatch):
    def ask():
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", ask)
    events = []
    shell(lambda kind, event, body: events.append((kind, event, body["metadata"]["name"])))
    await until(lambda: events)

    assert events == [(MASKINPORTEN_CLIENT, None, resource_body()["metadata"]["name"])]


async def test_a_watch_works_once_it_is_granted(shell, vitals, api):
    assert vitals.find_idle() == [PATH]
    shell()
    await until(lambda: not vitals.find_idle())

    assert api.watches == 1


@pytest.mark.parametrize("status", [403, 500])
async def test_a_watch_that_is_refused_after_its_list_never_works(shell, vitals, api, status):
    api.watch_status = status
    shell()
    seen = []

    def look():
        seen.append(vitals.find_idle())
        return api.watches == 3

    await until(look)
    assert seen == [[PATH]] * len(seen)


async def test_what_an_event_ends_in_ends_the_shell(shell):
    def fail(*_):
        raise KeyError("some event")

    with pytest.raises(KeyError, match="some event"):
        async with asyncio.timeout(DEADLINE):
            await shell(fail)


async def test_a_session_that_cant_be_opened_ends_the_shell(shell):
    def fail():
        raise FileNotFoundError("ca.crt")

    with pytest.raises(FileNotFoundError, match=r"ca\.crt"):
        async with asyncio.timeout(DEADLINE):
            await shell(session=fail)


async def test_an_api_server_that_doesnt_answer_ends_nothing(shell, vitals, api, unused_tcp_port_factory):
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{unused_tcp_port_factory()}"
    api.url = configuration.host
    tried = []

    class Observer:
        def on_request(self, path):
            pass

        def on_failure(self, path, why):
            tried.append(why)

    task = shell(session=lambda: open_session(configuration, Observer()))
    await until(lambda: len(tried) > 2)

    assert not task.done()
    assert set(tried) <= {aiohttp.ClientConnectorError.__name__}
