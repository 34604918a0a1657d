"""What only a restart fixes is told by /livez within a minute, and what not even that fixes ends the process."""

import time

import httpx
import pytest

from tests.e2e.stage import PATIENCE
from tools.kube import wait_for
from tools.sabotage import SECRET, SabotagedOperator

pytestmark = pytest.mark.e2e

WITHIN = 60.0
STUCK = ("a stuck loop", "a dead watch", "a stuck queue")


def test_a_stuck_loop_a_dead_watch_and_a_stuck_queue_are_each_noticed(bare_stage):
    stage = bare_stage
    operators = {}
    for number, fault in enumerate(STUCK):  # each with a namespace of its own, so that they are in nobody's way
        namespace = f"struck-{number}"
        stage.kube.create_namespace(namespace)
        operators[fault] = stage.start_another(kind=SabotagedOperator, namespaces=namespace, workers="1")
        operators[fault].wait_ready(PATIENCE)
        stage.create_ready(namespace, "before")
        assert operators[fault].is_alive()

    started = time.monotonic()
    for number, (fault, operator) in enumerate(operators.items()):
        operator.strike(fault)
        for name in ("first", "second"):  # one for the worker to hang in, and one that waits
            stage.create(f"struck-{number}", name)
    noticed = {}

    def look():
        for fault, operator in operators.items():
            if fault not in noticed and not operator.is_alive():
                noticed[fault] = time.monotonic() - started
        return len(noticed) == len(operators)

    wait_for(look, WITHIN + PATIENCE, "a word of all three")
    assert max(noticed.values()) < WITHIN + PATIENCE / 2, noticed  # WITHIN where nothing else is done
    assert all(operator.running for operator in operators.values())
    assert "no sign of" in operators["a dead watch"].output()
    assert "the queue is stuck" in operators["a stuck queue"].output()


def test_ended_by_a_signal_in_the_middle_of_a_stuck_loop_it_ends_all_the_same(bare_stage):
    bare_stage.kube.create_namespace("stuck")
    operator = bare_stage.start_another(kind=SabotagedOperator, namespaces="stuck")
    operator.wait_ready(PATIENCE)
    operator.strike("a stuck loop")
    wait_for(lambda: not operator.is_alive(), PATIENCE, "the end of answers")
    started = time.monotonic()
    operator.popen.terminate()

    assert operator.popen.wait(PATIENCE) == 1
    assert time.monotonic() - started < 15  # 10 where nothing else is done


def wait_for_end(operator, seconds):
    """Wait until it has ended, and give whether it ever was ready meanwhile."""
    ready = []

    def look():
        ready.append(operator.is_ready())
        return not operator.running

    wait_for(look, seconds, "the process's end")
    return any(ready)


def assert_told(operator, part):
    assert operator.popen.returncode == 1
    *_, last = operator.output().splitlines()
    assert last.startswith(f"Error: {part} can't work (KeyError in _fail (sabotage.py:")
    assert SECRET not in operator.output()
    assert operator.output().count("internal error") == 1


@pytest.mark.parametrize(
    ("fault", "part"),
    [("a failing watch", "the watch of resources"), ("a failing watch of Secrets", "the operator")],
)
def test_a_watch_that_always_fails_is_never_ready_and_ends_the_process_within_a_minute(bare_stage, fault, part):
    started = time.monotonic()
    operator = bare_stage.start_another(kind=SabotagedOperator.of(fault))

    assert not wait_for_end(operator, WITHIN + PATIENCE)
    assert time.monotonic() - started < WITHIN + PATIENCE / 2  # WITHIN where nothing else is done
    assert_told(operator, part)


def test_an_operator_that_cant_mint_keys_isnt_ready_and_says_so(bare_stage):
    bare_stage.kube.create_namespace("keyless")
    operator = bare_stage.start_another(kind=SabotagedOperator.of("no new keys"), namespaces="keyless")
    address = f"http://127.0.0.1:{operator.health_port}/readyz"
    only = "waiting for keys, which can't be minted\n"

    wait_for(lambda: operator.is_alive() and httpx.get(address, trust_env=False).text == only, PATIENCE, only)
    assert not operator.is_ready()
    assert operator.running


def test_a_watch_that_begins_to_fail_is_not_ready_any_more_and_ends_the_process(bare_stage):
    bare_stage.kube.create_namespace("failing")
    operator = bare_stage.start_another(kind=SabotagedOperator, namespaces="failing")
    operator.wait_ready(PATIENCE)
    operator.strike("a failing watch")
    wait_for(lambda: not operator.is_ready(), PATIENCE, "the end of readiness")  # at the latest when it is opened anew
    began = time.monotonic()

    assert not wait_for_end(operator, WITHIN + PATIENCE)
    assert time.monotonic() - began < WITHIN
    assert_told(operator, "the watch of resources")
