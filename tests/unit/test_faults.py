"""What ends the watch: outages, which pass, and faults, which end the process when they come again and again."""

import asyncio
import gc
import json
import socket
import ssl

import aiohttp
import kopf
import pytest
from kopf._cogs.clients.errors import APIClientError, APIServerError
from kopf._cogs.clients.watching import WatchingError
from structlog.testing import capture_logs

from maskinporten_operator.runtime.faults import FaultError, Restarts, describe_fault, log_unawaited
from maskinporten_operator.runtime.shell import EndlessBackoffs, is_outage
from tests.unit.virtual_time import run_in_virtual_time

MINUTE = 60.0
OUTAGES = [
    APIServerError(None, status=500, headers={}),
    APIClientError(None, status=400, headers={}),
    WatchingError("the server is going away"),
    kopf.LoginError("nobody is let in"),
    aiohttp.ClientPayloadError("cut off"),
    json.JSONDecodeError("a gateway's page", "<html>", 0),
    ConnectionResetError(),
    TimeoutError(),
    socket.gaierror(),
    ssl.SSLError(),
]
FAULTS = [KeyError("uid"), RuntimeError("no home"), FileNotFoundError("no /tmp"), PermissionError(), TypeError()]


class Ends:
    """Ends each time as it is told, after a time, and the last time by itself."""

    def __init__(self, *ends, after=0.0):
        self.ends = list(ends)
        self.after = after
        self.runs = 0
        self.unsteady = []
        self.restarts = Restarts("the watch", is_outage, EndlessBackoffs())

    async def run(self):
        self.runs += 1
        self.unsteady.append(self.restarts.is_unsteady)
        if not self.ends:
            return
        end = self.ends.pop(0)
        await asyncio.sleep(self.after)
        raise end.with_traceback(None)


def watch(ends):
    """Let it run to its end; give when that was."""

    async def main(clock):
        async def on_end():
            pass

        try:
            await ends.restarts.run(ends.run, on_end)
        except FaultError as error:
            return clock(), str(error)
        return clock(), None

    return run_in_virtual_time(main)


@pytest.mark.parametrize("error", FAULTS, ids=lambda one: type(one).__name__)
def test_a_fault_that_stays_ends_it_within_a_minute(error):
    ends = Ends(*[error] * 100)
    seconds, message = watch(ends)

    assert seconds < MINUTE
    assert ends.runs > 3
    assert f"the watch can't work ({type(error).__name__} in run (test_faults.py:" in message


@pytest.mark.parametrize("after", [0.1, 5, 15, 29])
def test_however_long_a_fault_takes_to_come_the_process_ends_within_a_minute(after):
    seconds, message = watch(Ends(*[KeyError("uid")] * 100, after=after))

    assert seconds <= MINUTE
    assert message


@pytest.mark.parametrize("error", OUTAGES, ids=lambda one: type(one).__name__)
def test_an_outage_of_hours_ends_nothing(error):
    ends = Ends(*[error] * 1000)
    seconds, message = watch(ends)

    assert message is None
    assert seconds > 9000
    assert not any(ends.unsteady)


def test_an_outage_that_another_error_was_made_of_is_one():
    error = RuntimeError("processing failed")
    error.__cause__ = ConnectionResetError()

    assert is_outage(error)


def test_faults_that_went_by_end_nothing():
    ends = Ends(*[KeyError("uid")] * 2)

    assert watch(ends)[1] is None
    assert ends.unsteady == [False, True, True]


def test_a_fault_now_and_then_ends_nothing():
    ends = Ends(*[KeyError("uid")] * 50, after=31)

    assert watch(ends)[1] is None


def test_after_an_outage_nothing_is_unsteady_because_of_a_fault_that_was_mended_long_ago():
    ends = Ends(KeyError("uid"), ConnectionResetError(), ConnectionResetError(), after=31)

    assert watch(ends)[1] is None
    assert ends.unsteady == [False, True, False, False]


def test_a_fault_that_comes_late_and_stays_ends_it_within_a_minute_too():
    ends = Ends(*[ConnectionResetError()] * 100, *[KeyError("uid")] * 100)
    seconds, message = watch(ends)
    alone = watch(Ends(*[ConnectionResetError()] * 100))[0]

    assert message
    assert seconds - alone < MINUTE


def test_faults_of_different_kinds_count_together():
    assert watch(Ends(*FAULTS * 20))[1]


def test_outages_in_between_dont_hide_a_fault():
    assert watch(Ends(*[KeyError("uid"), ConnectionResetError()] * 50))[1]


def test_after_a_fault_it_is_unsteady_until_it_has_run_for_a_while():
    async def main(_):
        ends, seen = Ends(KeyError("uid")), []

        async def run():
            if ends.ends:
                raise ends.ends.pop()
            for _ in range(5):
                seen.append(ends.restarts.is_unsteady)
                await asyncio.sleep(10)

        async def on_end():
            pass

        await ends.restarts.run(run, on_end)
        return seen

    assert run_in_virtual_time(main) == [True, True, True, False, False]


def test_what_on_end_raises_ends_it():
    async def main(_):
        async def gone():
            raise FaultError("the CRD is gone")

        with pytest.raises(FaultError, match="the CRD is gone"):
            await Restarts("the watch", is_outage, EndlessBackoffs()).run(Ends(ConnectionResetError()).run, gone)

    run_in_virtual_time(main)


async def test_a_fault_is_described_by_its_first_cause_and_never_by_its_text():
    def quote():
        raise ValueError("eyJhbGciOi.secret")

    async def wrap():
        try:
            quote()
        except ValueError as error:
            raise RuntimeError("secret") from error

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(wrap())

    assert describe_fault(caught.value).startswith("ValueError in quote (test_faults.py:")
    assert "secret" not in describe_fault(caught.value)


async def test_an_error_that_nobody_waits_for_is_told_without_its_text():
    async def quote():
        raise ValueError("eyJhbGciOi.secret")

    asyncio.get_running_loop().set_exception_handler(log_unawaited)
    task = asyncio.create_task(quote())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        del task
        gc.collect()

    (line,) = logs
    assert line["error"].startswith("ValueError in quote (test_faults.py:")
    assert "secret" not in str(line)


def test_when_its_loop_has_ended_nobody_is_told_of_it_any_more():
    async def quote():
        raise ValueError("eyJhbGciOi.secret")

    async def leave():
        asyncio.get_running_loop().set_exception_handler(log_unawaited)
        task = asyncio.create_task(quote())
        await asyncio.sleep(0)
        return task

    task = asyncio.run(leave())
    with capture_logs() as logs:
        del task
        gc.collect()

    assert logs == []
