"""What /livez depends on: signs of life, and a queue that isn't stuck."""

import asyncio

import httpx
import pytest

from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT
from maskinporten_operator.plan.outcomes import DONE
from maskinporten_operator.runtime import workers as module
from maskinporten_operator.runtime.health import AddressError, serve_endpoints
from maskinporten_operator.runtime.metrics import Metrics
from maskinporten_operator.runtime.queue import Key, WorkQueue
from maskinporten_operator.runtime.store import WatchedResourceStore
from maskinporten_operator.runtime.vitals import SILENCE, Vitals
from maskinporten_operator.runtime.workers import Controller, Workers, mark_alive
from tests.unit.fakes import NAMESPACE, resource_body

PATHS = frozenset({MASKINPORTEN_CLIENT.path(), APPLICATION.path()})
DEADLINE = 5.0


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def vitals(clock):
    return Vitals(lambda: clock[0])


def test_who_gives_signs_is_well_and_who_gives_none_for_long_is_named(vitals, clock):
    one = vitals.expect("one")
    vitals.expect("two")
    for _ in range(3):
        clock[0] += SILENCE * 0.4
        one.note()

    assert vitals.find_faults() == ["no sign of two for 60 s"]


def test_a_request_is_a_sign_of_its_own_watch_only(vitals, clock):
    paths = vitals.expect_paths(PATHS)
    clock[0] += SILENCE + 1
    paths.on_request(APPLICATION.path())

    assert [MASKINPORTEN_CLIENT.path() in fault for fault in vitals.find_faults()] == [True]


def test_a_request_before_the_watches_is_a_sign_of_all(vitals, clock):
    paths = vitals.expect_paths(PATHS)
    clock[0] += SILENCE + 1
    paths.on_request("/apis/nais.io/v1")

    assert vitals.find_faults() == []


def test_a_watch_works_from_its_beginning_to_a_failure_and_from_the_next_one_on(vitals):
    part = vitals.expect("one")
    assert vitals.find_idle() == ["one"]
    part.begin()
    assert vitals.find_idle() == []
    part.fail()
    part.note()
    assert vitals.find_idle() == ["one"]
    part.begin()

    assert vitals.find_idle() == []


def test_watches_of_one_session_work_each_by_itself_and_end_together(vitals):
    paths = vitals.expect_paths(PATHS)
    for path in ("/apis/nais.io/v1", *PATHS):
        paths.on_request(path)
        paths.on_watch(path)
    assert vitals.find_idle() == []

    paths.on_failure(APPLICATION.path(), "HTTP 503")
    assert vitals.find_idle() == [APPLICATION.path()]

    paths.on_end()
    assert set(vitals.find_idle()) == PATHS


# The queue


class Work:
    """Two workers whose passes go on for as long as the test wants, and a clock."""

    def __init__(self):
        self.now = 1000.0
        self.ended = asyncio.Event()
        self.call = asyncio.Event()
        self.queue = WorkQueue()
        self.store = WatchedResourceStore(MASKINPORTEN_CLIENT, "some-finalizer", lambda: 0.0, lambda *_: None)
        controller = Controller(self.store, self._pass, lambda *_: None)
        self.workers = Workers(2, self.queue, {MASKINPORTEN_CLIENT: controller}, Metrics(), lambda: self.now)

    async def _pass(self, *_):
        while not self.ended.is_set():
            await asyncio.sleep(0)
            if self.call.is_set():
                self.call.clear()
                mark_alive()
        return DONE

    async def add(self, count):
        for number in range(count):
            name = f"app-{number}"
            self.store.offer(resource_body(metadata={"name": name, "uid": name}))
            self.queue.add(Key(MASKINPORTEN_CLIENT, NAMESPACE, name))
        for _ in range(10):
            await asyncio.sleep(0)

    def wait(self, seconds):
        self.now += seconds
        for key in self.queue._since:
            self.queue._since[key] -= seconds


@pytest.fixture
async def work():
    work = Work()
    task = asyncio.create_task(work.workers.run())
    yield work
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_queue_is_stuck_when_keys_wait_and_no_pass_gets_on(work):
    await work.add(3)
    work.wait(module.STUCK - 1)
    assert work.workers.check_stuck() is None
    work.wait(2)

    assert work.workers.check_stuck() == "the queue is stuck for 51 s"


async def test_a_queue_isnt_stuck_while_a_pass_makes_calls(work):
    await work.add(3)
    for _ in range(4):
        work.wait(module.STUCK - 1)
        work.call.set()
        async with asyncio.timeout(DEADLINE):
            while work.call.is_set():
                await asyncio.sleep(0)

    assert work.workers.check_stuck() is None


async def test_long_passes_are_no_stuck_queue_while_nothing_waits(work):
    await work.add(2)
    work.wait(1000)

    assert work.workers.check_stuck() is None
    assert (work.workers.active, work.workers.longest_run) == (2, 1000)


async def test_a_queue_that_was_empty_for_long_isnt_stuck_at_the_first_key(work):
    work.wait(1000)
    await work.add(3)

    assert work.workers.check_stuck() is None


async def test_a_queue_that_nobody_takes_from_is_stuck():
    work = Work()
    await work.add(1)
    work.wait(module.STUCK + 1)

    assert work.workers.check_stuck()


# The endpoint


@pytest.mark.parametrize(("faults", "status", "text"), [([], 200, "ok\n"), (["one", "two"], 500, "one\ntwo\n")])
async def test_livez_says_what_is_wrong(faults, status, text, unused_tcp_port):
    address = f"127.0.0.1:{unused_tcp_port}"
    async with (
        serve_endpoints(Metrics(), "", address, list, lambda: faults),
        httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http,
    ):
        answer = await http.get("/livez")

    assert (answer.status_code, answer.text) == (status, text)


async def test_readyz_says_what_is_missing(unused_tcp_port):
    address, missing = f"127.0.0.1:{unused_tcp_port}", ["one", "two"]
    async with (
        serve_endpoints(Metrics(), "", address, lambda: missing, list),
        httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http,
    ):
        before = await http.get("/readyz")
        missing.clear()
        after = await http.get("/readyz")

    assert (before.status_code, before.text) == (503, "waiting for one\nwaiting for two\n")
    assert (after.status_code, after.text) == (200, "ok\n")


async def test_prometheus_reads_whether_it_is_ready(unused_tcp_port):
    metrics, missing = Metrics(), ["one"]
    async with serve_endpoints(metrics, "", f"127.0.0.1:{unused_tcp_port}", lambda: missing, list):
        before = metrics.render().decode()
        missing.clear()
        after = metrics.render().decode()

    assert "maskinporten_operator_ready 0.0" in before
    assert "maskinporten_operator_ready 1.0" in after


async def test_an_address_that_somebody_else_has_is_named(unused_tcp_port):
    address = f"127.0.0.1:{unused_tcp_port}"
    async with serve_endpoints(Metrics(), "", address, list, list):
        with pytest.raises(AddressError, match=f"HEALTH_ADDRESS.*{unused_tcp_port}.*address already in use"):
            await serve_endpoints(Metrics(), "", address, list, list).__aenter__()
