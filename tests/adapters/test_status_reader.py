"""What `status` reads where somebody may not read all of it."""

import json

import pytest

from maskinporten_operator.adapters.cluster.status_errors import AbsentError, translate_status
from maskinporten_operator.assembly.status_reader import NoResourceError, StatusReader
from tests.unit.fakes import NAME, NAMESPACE, resource_body


class Api:
    """An API server with one MaskinportenClient; of these kinds nothing may be read."""

    def __init__(self, *forbidden):
        self.forbidden = forbidden

    async def request(self, method, path, *_, **more):
        self._check(path)
        if path.endswith(f"/maskinportenclients/{NAME}"):
            return resource_body()
        raise AbsentError("not found")

    async def request_page(self, path, *_):
        self._check(path)
        if path.endswith("/applications"):
            raise AbsentError("not served")
        items = [] if path.endswith("/events") else [resource_body()]
        return json.dumps({"metadata": {"resourceVersion": "1"}, "items": items}).encode()

    def _check(self, path):
        if any(f"/{kind}" in path for kind in self.forbidden):
            raise translate_status({"code": 403, "message": "forbidden"})


def lack(verb, kind, where=f"in namespace {NAMESPACE}"):
    return f"you may not {verb} {kind}.nais.io {where}: "


async def test_of_two_kinds_the_one_that_may_be_read_is_shown_and_the_other_named():
    reader = StatusReader(Api("applications"))

    assert [one.name for one in await reader.read_all(None)] == [NAME]
    assert [text.startswith(lack("list", "applications", "in all namespaces")) for text in reader.lacks] == [True]
    assert [one.name for one in await reader.read_one(NAMESPACE, NAME)] == [NAME]
    assert [text.startswith(lack("get", "applications")) for text in reader.lacks] == [True]


async def test_a_look_that_lacks_nothing_forgets_what_the_one_before_lacked():
    api = Api("applications")
    reader = StatusReader(api)
    await reader.read_all(NAMESPACE)
    api.forbidden = ()
    await reader.read_all(NAMESPACE)

    assert reader.lacks == []


@pytest.mark.parametrize(("look", "verb"), [("read_all", "list"), ("read_one", "get")])
async def test_without_a_right_to_either_kind_both_rights_are_named(look, verb):
    reader = StatusReader(Api("applications", "maskinportenclients"))
    arguments = (NAMESPACE, NAME) if look == "read_one" else (NAMESPACE,)

    with pytest.raises(NoResourceError) as raised:
        await getattr(reader, look)(*arguments)

    assert lack(verb, "applications") in str(raised.value)
    assert lack(verb, "maskinportenclients") in str(raised.value)


async def test_what_isnt_found_may_be_of_the_kind_that_may_not_be_read():
    with pytest.raises(NoResourceError, match=r"there is no .* But you may not get maskinportenclients\.nais\.io"):
        await StatusReader(Api("maskinportenclients")).read_one(NAMESPACE, NAME)
