"""Lists and watches of metadata, whatever others write into it."""

import asyncio
import json

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from maskinporten_operator.adapters.cluster import watch
from maskinporten_operator.adapters.cluster.api import ClusterApi
from maskinporten_operator.adapters.cluster.watch import follow_metadata, list_metadata, list_objects, reduce_metadata
from maskinporten_operator.assembly.watches import summarize
from maskinporten_operator.model.resources import SECRET
from maskinporten_operator.plan.secret import build_secret
from maskinporten_operator.runtime.owned_changes import SUMMARY
from tests.unit.fakes import SERVER, private_jwk, resource

DEADLINE = 20.0
DEEP = '{"f:a":' * 5000 + "{}" + "}" * 5000


def build(number, note="", fields="{}"):
    metadata = {
        "name": f"secret-{number}",
        "namespace": "some-team",
        "uid": f"uid-{number}",
        "resourceVersion": str(number),
        "labels": {"a": "b"},
        "annotations": {"example/note": note},
    }
    return f'{{"metadata":{{"managedFields":[{{"fieldsV1":{fields}}}],{json.dumps(metadata)[1:]}}}'


def reduced(number):
    return {
        "name": f"secret-{number}",
        "namespace": "some-team",
        "uid": f"uid-{number}",
        "resourceVersion": str(number),
    }


class ApiServer:
    """Lists what it is told to, and watches it."""

    def __init__(self):
        self.items = []
        self.news = []
        self.limits = []
        self.accepted = []
        self.watches = True

    async def serve(self, request):
        if "watch" in request.query and not self.watches:
            self.watches = True
            return web.json_response({"kind": "Status", "reason": "Expired", "code": 410}, status=410)
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            for one in self.news:
                await response.write(b'{"type":"MODIFIED","object":%b}\n' % one.encode())
            await asyncio.sleep(DEADLINE)
            return response
        begin, limit = int(request.query.get("continue", 0)), int(request.query["limit"])
        self.limits.append(limit)
        self.accepted.append(request.headers["Accept"])
        items = ",".join(self.items[begin : begin + limit])
        position = f',"continue":"{begin + limit}"' if begin + limit < len(self.items) else ""
        return web.Response(text=f'{{"metadata":{{"resourceVersion":"9"{position}}},"items":[{items}]}}')


@pytest.fixture
async def server(unused_tcp_port):
    server = ApiServer()
    app = web.Application()
    app.router.add_get(SECRET.path(), server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    server.url = f"http://127.0.0.1:{unused_tcp_port}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def api(server):
    configuration = Configuration()
    configuration.host = server.url
    api = ClusterApi(configuration)
    yield api
    await api.close()


async def test_what_others_wrote_into_metadata_is_left_out(server, api):
    server.items = [build(1, note="x" * 250_000), build(2, fields=DEEP), build(3)]

    items, version = await list_metadata(api, SECRET.path())

    assert items == [{"metadata": reduced(number)} for number in (1, 2, 3)]
    assert version == "9"


def test_of_the_labels_the_one_that_names_whom_it_was_made_for_is_kept():
    metadata = {"name": "some-secret", "labels": {"app": "some-app", "other": "label"}}

    assert reduce_metadata({"metadata": metadata}) == {"metadata": metadata | {"labels": {"app": "some-app"}}}


async def test_a_page_that_is_too_large_is_asked_for_again_with_fewer_objects(server, api):
    server.items = [build(number, note="x" * 1_000_000) for number in range(7)]

    items, _ = await list_metadata(api, SECRET.path())

    assert items == [{"metadata": reduced(number)} for number in range(7)]
    assert server.limits == [50, 6, 1, 2, 2, 2]


async def test_whole_objects_are_listed_within_limits_too(server, api):
    server.items = [build(1)[:-1] + f',"spec":{DEEP}}}', build(2)]

    items = await list_objects(api, SECRET.path())

    assert [one.get("unreadable") for one in items] == ["spec is nested more than 32 levels deep", None]


async def test_a_watch_goes_on_past_lines_of_any_length_and_depth(server, api):
    server.news = [build(1, note="x" * 250_000), build(2, fields=DEEP), build(3)]
    seen, events = [], []

    class Listener:
        def on_list(self, items, namespace):
            pass

        def on_change(self, metadata):
            seen.append(metadata["name"])

    class Signs:
        def note(self):
            pass

        def begin(self):
            events.append("begins")

        def fail(self):
            events.append("fails")

    task = asyncio.create_task(follow_metadata(api, SECRET, "", Listener(), None, Signs()))
    async with asyncio.timeout(DEADLINE):
        while len(seen) < 3:
            await asyncio.sleep(0.01)
    task.cancel()

    assert seen == ["secret-1", "secret-2", "secret-3"]
    assert events == ["begins"]


async def test_only_the_first_list_is_one_of_whole_objects_of_which_little_is_kept(server, api, monkeypatch):
    monkeypatch.setattr(watch, "FIRST_DELAY", 0.01)
    server.items = [build(1)[:-1] + ',"data":{"KEY":"c2VjcmV0"}}']
    server.watches = False
    lists = []

    class Listener:
        def on_list(self, items, namespace):
            lists.append(items)

    class Signs:
        note = begin = fail = lambda self: None

    def reduce(body):
        return {"metadata": {"name": body["metadata"]["name"]}, "members": sorted(body["data"])}

    task = asyncio.create_task(follow_metadata(api, SECRET, "", Listener(), None, Signs(), reduce))
    async with asyncio.timeout(DEADLINE):
        while len(lists) < 2:
            await asyncio.sleep(0.01)
    task.cancel()

    assert lists == [[{"metadata": {"name": "secret-1"}, "members": ["KEY"]}], [{"metadata": reduced(1)}]]
    assert server.accepted == ["application/json", watch.LIST_METADATA]


def test_of_a_secret_in_a_list_nothing_secret_is_kept():
    jwk = private_jwk(1)
    manifest = build_secret(resource().meta, "some-secret", client_id="client-1", jwk=jwk, scopes=[], server=SERVER)
    manifest["metadata"] |= {"uid": "secret-uid", "resourceVersion": "10"}
    kept = summarize(manifest)

    assert kept["metadata"]["resourceVersion"] == "10"
    assert kept[SUMMARY].client_id == "client-1"
    assert jwk.key.d not in repr(kept)
    assert manifest["data"]["MASKINPORTEN_CLIENT_JWK"] not in repr(kept)


def test_a_secret_in_a_list_that_cant_be_read_has_no_summary():
    kept = summarize({"metadata": {"name": "some-secret"}, "unreadable": "data is larger than 256 KiB as JSON"})

    assert kept == {"metadata": {"name": "some-secret"}}
