"""What only a restart mends is told by /livez within a minute."""

import os
import signal
import time

import pytest

from tests.e2e.stage import PATIENCE
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

# Python imports a module of this name at its start. On a signal it does to its process what a fault of the worst kind
# would: it blocks the main event loop, or that of kopf's thread, or lets no pass come to an end.
SABOTEUR = """
import asyncio, gc, signal, threading, time

def strike(number, frame):
    if number == signal.SIGUSR1:
        time.sleep(1000)
    elif number == signal.SIGUSR2:
        main = threading.main_thread().ident
        loops = [one for one in gc.get_objects() if isinstance(one, asyncio.BaseEventLoop) and one.is_running()]
        (other,) = [one for one in loops if one._thread_id != main]
        other.call_soon_threadsafe(time.sleep, 1000)
    else:
        from maskinporten_operator.runtime.workers import Workers
        async def hang(*_):
            await asyncio.Event().wait()
        Workers._pass = hang

for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
    signal.signal(number, strike)
"""
FAULTS = {"loop": signal.SIGUSR1, "watch": signal.SIGUSR2, "queue": signal.SIGHUP}
WITHIN = 60.0


def test_a_stuck_loop_a_dead_watch_and_a_stuck_queue_are_each_noticed(bare_stage, tmp_path, monkeypatch):
    stage = bare_stage
    (tmp_path / "sitecustomize.py").write_text(SABOTEUR)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    operators = {}
    for name in FAULTS:  # each with a namespace of its own, so that they are in nobody's way
        stage.kube.create_namespace(name)
        operators[name] = stage.start_another(namespaces=name, workers="1")
        operators[name].wait_ready(PATIENCE)
        stage.create_ready(name, "before")
        assert operators[name].is_alive()

    started = time.monotonic()
    for name, number in FAULTS.items():
        os.kill(operators[name].popen.pid, number)
    for name in ("first", "second"):  # one for the worker to hang in, and one that waits
        stage.create("queue", name)
    noticed = {}

    def look():
        for name, operator in operators.items():
            if name not in noticed and not operator.is_alive():
                noticed[name] = time.monotonic() - started
        return len(noticed) == len(operators)

    wait_for(look, WITHIN + PATIENCE, "a word of all three")
    assert max(noticed.values()) < WITHIN + PATIENCE / 2, noticed
    assert "no sign of" in operators["watch"].output()
    assert "the queue is stuck" in operators["queue"].output()


def test_ended_by_a_signal_in_the_middle_of_a_stuck_loop_it_ends_all_the_same(bare_stage, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(SABOTEUR)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    bare_stage.kube.create_namespace("stuck")
    operator = bare_stage.start_another(namespaces="stuck")
    operator.wait_ready(PATIENCE)
    os.kill(operator.popen.pid, signal.SIGUSR1)
    wait_for(lambda: not operator.is_alive(), PATIENCE, "the end of answers")
    started = time.monotonic()
    operator.popen.terminate()

    assert operator.popen.wait(PATIENCE) == 1
    assert time.monotonic() - started < 15  # 10 where nothing else is done
