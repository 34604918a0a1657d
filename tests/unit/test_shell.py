"""kopf as the shell: what ends it, what it tells of its watches, and what it doesn't ask for."""

import asyncio
import concurrent.futures
import getpass
import json

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from maskinporten_operator.adapters.cluster.session import open_session
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.runtime.shell import is_outage, run_shell
from maskinporten_operator.runtime.store import trim
from maskinporten_operator.runtime.vitals import Vitals
from tests.unit.fakes import resource_body

PATH = MASKINPORTEN_CLIENT.path()
DEADLINE = 20.0


class ApiServer:
    """An API server with one resource, whose watch brings nothing unless it is told what."""

    def __init__(self):
        self.watch_status = 200
        self.watches = 0
        self.since = []
        self.stays_open = True
        self.items = [json.dumps(resource_body())]
        self.news = []
        self.limits = []
        self.methods = set()

    async def serve(self, request):
        self.methods.add(request.method)
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
            return self._list(int(request.query.get("continue", 0)), int(request.query["limit"]))
        self.watches += 1
        self.since.append(request.query["resourceVersion"])
        response = web.StreamResponse(status=self.watch_status)
        await response.prepare(request)
        if self.watch_status == 200:
            for one in self.news:
                await response.write(b'{"type":"MODIFIED","object":%b}\n' % one.encode())
            if self.stays_open:
                await asyncio.sleep(DEADLINE)
            self.news = []
        return response

    def _list(self, begin, limit):
        self.limits.append(limit)
        end = begin + limit
        position = f',"continue":"{end}"' if end < len(self.items) else ""
        items = ",".join(self.items[begin:end])
        page = f'{{"items":[{items}],"metadata":{{"resourceVersion":"1"{position}}}}}'
        return web.Response(text=page, content_type="application/json")


@pytest.fixture
async def api(unused_tcp_port):
    api = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.serve)
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

    def start(on_event=lambda *_: None, session=lambda take: open_session(configuration, paths, takers(take))):
        tasks.append(asyncio.create_task(run_shell(on_event, session, api.url, [MASKINPORTEN_CLIENT], [], stop)))
        return tasks[0]

    yield start
    stop.set_result(None)
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*tasks, return_exceptions=True)


def takers(take):
    """Give what takes in the resources, reduced as the operator reduces them."""
    return {PATH: lambda event, body: take(MASKINPORTEN_CLIENT, event, trim(MASKINPORTEN_CLIENT, body))}


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


def build_odd(number, spec="{}", **metadata):
    metadata = {**resource_body()["metadata"], "name": f"odd-{number}", "uid": f"uid-{number}", **metadata}
    return f'{{"metadata":{json.dumps(metadata)},"spec":{spec}}}'


ODD = (
    '{"foo":' * 5000 + "1" + "}" * 5000,
    '{"foo":' * 500 + "1" + "}" * 500,
    '{"foo":[' + ",".join(["{}"] * 420_000) + "]}",
    '{"foo":1e999}',
)
"""Specs that each cost only their own resource."""


@pytest.mark.parametrize("where", ["items", "news"])
async def test_what_is_no_json_is_an_outage(shell, api, where):
    setattr(api, where, ["<html>"])

    async with asyncio.timeout(DEADLINE):
        (end,) = await asyncio.gather(shell(), return_exceptions=True)

    assert is_outage(end)


@pytest.mark.parametrize("where", ["items", "news"])
async def test_what_is_odd_is_told_of_like_anything_else_and_no_larger(shell, api, where):
    odd = [build_odd(number, spec) for number, spec in enumerate(ODD)]
    setattr(api, where, [*odd, json.dumps(resource_body())])
    seen = {}
    shell(lambda kind, event, body: seen.update({body["metadata"]["name"]: body}))
    await until(lambda: len(seen) == len(ODD) + 1)

    why = [seen[f"odd-{number}"].get("unreadable") for number in range(len(ODD))]
    assert why == [
        "spec is nested more than 32 levels deep",
        "spec is nested more than 32 levels deep",
        "spec is larger than 256 KiB as JSON",
        "spec has a value that can't be read",
    ]
    assert all(len(json.dumps(body)) < 2000 for body in seen.values())


class Failures(list):
    """Notes what became of requests that weren't answered well."""

    def on_request(self, path):
        pass

    def on_watch(self, path):
        pass

    def on_failure(self, path, why):
        self.append(why)


@pytest.mark.parametrize("where", ["items", "news"])
async def test_what_kopf_would_keep_in_an_object_is_neither_read_nor_written(shell, api, where):
    annotations = {"kopf.zalando.org/last-handled-configuration": '{"spec":', "kopf.zalando.org/enqueue": "{"}
    finalizers = ["kopf.zalando.org/KopfFinalizerMarker", "maskinporten-operator.nais.io/unused"]
    setattr(api, where, [build_odd(number, annotations=annotations, finalizers=finalizers) for number in range(2)])
    configuration, failures, seen = Configuration(), Failures(), []
    configuration.host = api.url
    shell(
        lambda kind, event, body: seen.append(body["metadata"]["name"]),
        lambda take: open_session(configuration, failures, takers(take)),
    )
    await until(lambda: {"odd-0", "odd-1"} <= set(seen) and api.watches)
    await asyncio.sleep(0.1)  # what kopf would write, it does after it has told of the object

    assert failures == []
    assert api.methods == {"GET"}


async def test_a_watch_that_ends_is_opened_anew_after_its_last_event_and_nothing_is_told_twice(shell, api):
    api.items, api.news = [build_odd(0), build_odd(1)], [build_odd(2, resourceVersion="7")]
    api.stays_open = False
    seen = []
    shell(lambda kind, event, body: seen.append((event, body["metadata"]["name"])))
    await until(lambda: len(api.since) > 2)

    assert seen == [(None, "odd-0"), (None, "odd-1"), ("MODIFIED", "odd-2")]
    assert api.since[:3] == ["1", "7", "7"]


async def test_the_session_only_reads(api):
    configuration, failures = Configuration(), Failures()
    async with open_session(configuration, failures, {}) as session:
        with pytest.raises(RuntimeError, match="PATCH isn't for this session"):
            await session.patch(f"{api.url}{PATH}", json={})

    assert api.methods == set()


async def test_a_page_that_is_too_large_is_asked_for_again_with_fewer_objects(shell, api):
    api.items = [build_odd(number, json.dumps({"foo": "x" * 1_000_000})) for number in range(12)]
    seen = []
    shell(lambda kind, event, body: seen.append(body["metadata"]["name"]))
    await until(lambda: len(seen) == len(api.items))

    assert api.limits == [50, 6, 1, *[2] * 6]
    assert sorted(seen) == sorted(f"odd-{number}" for number in range(12))


async def test_small_objects_are_listed_in_ever_larger_pages(shell, api):
    api.items = [build_odd(number) for number in range(2600)]
    seen = []
    shell(lambda kind, event, body: seen.append(body["metadata"]["name"]))
    await until(lambda: len(seen) == len(api.items))

    assert api.limits == [50, 2500, 2500]


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
    def fail(_):
        raise FileNotFoundError("ca.crt")

    with pytest.raises(FileNotFoundError, match=r"ca\.crt"):
        async with asyncio.timeout(DEADLINE):
            await shell(session=fail)


async def test_an_api_server_that_doesnt_answer_ends_nothing(shell, vitals, api, unused_tcp_port_factory):
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{unused_tcp_port_factory()}"
    api.url = configuration.host
    tried = Failures()

    task = shell(session=lambda _: open_session(configuration, tried, {}))
    await until(lambda: len(tried) > 2)

    assert not task.done()
    assert set(tried) <= {aiohttp.ClientConnectorError.__name__}
