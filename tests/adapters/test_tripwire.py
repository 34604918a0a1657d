"""The end of a process that was stopped in the middle of something, seen with processes that are stopped."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from maskinporten_operator.adapters.tripwire import EXIT_CODE

PREAMBLE = """
import os, signal, threading, time
from contextlib import ExitStack
from maskinporten_operator.adapters.clock import boottime
from maskinporten_operator.adapters.tripwire import Tripwire

tripwire = Tripwire()

def within(seconds):
    return tripwire.until(boottime() + seconds)

def stop():
    os.kill(os.getpid(), signal.SIGSTOP)

def tell(text):
    os.write(1, text.encode())  # at once: what is in a buffer when a process ends is lost

"""


def run(script, stopped=0.0):
    """Run a script with a tripwire, let it go on so long after it has stopped, and give its exit code and output."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if stopped:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        time.sleep(stopped)
        process.send_signal(signal.SIGCONT)
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors


def read_all(output):
    found = b""
    while True:
        try:
            if not (more := os.read(output, 65536)):
                return found
        except BlockingIOError:
            return found
        found += more


def test_a_process_that_stood_still_past_its_time_does_nothing_more():
    code, output, errors = run("with within(0.2):\n    stop()\n    tell('sent')", stopped=0.5)

    assert (code, output, errors) == (EXIT_CODE, "", "")


def test_no_other_thread_takes_the_alarm_and_lets_the_main_thread_go_on_meanwhile():
    """A race that one of forty processes or so lost when any thread could take it."""
    script = """
def poll():
    while True:
        time.sleep(0.002)

for _ in range(12):
    threading.Thread(target=poll, daemon=True).start()
with within(0.2):
    stop()
    tell('sent')
"""
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: run(script, stopped=0.4)[:2], range(40)))

    assert set(results) == {(EXIT_CODE, "")}


def test_a_stop_while_the_main_thread_waits_for_the_interpreter_is_one_too():
    """It then goes on in the middle of a call, where Python looks for no signals: a handler in Python would be late."""
    script = """
import sys

about_to_send = False

def strike():
    while not about_to_send:
        pass
    stop()
    time.sleep(20)

def send():
    tell('sent')

sys.setswitchinterval(1e-6)
threading.Thread(target=strike, daemon=True).start()
with within(0.3):
    time.sleep(0.05)
    about_to_send = True
    send()
    time.sleep(20)
"""

    def run_and_see(_):
        with subprocess.Popen([sys.executable, "-c", PREAMBLE + script], stdout=subprocess.PIPE) as process:
            output = process.stdout.fileno()
            os.set_blocking(output, False)
            while os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG) == (0, 0):
                read_all(output)
            read_all(output)
            time.sleep(0.5)
            process.send_signal(signal.SIGCONT)
            return process.wait(30), read_all(output)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run_and_see, range(12)))

    assert set(results) == {(EXIT_CODE, b"")}


def test_a_stop_between_the_check_and_the_alarm_counts():
    script = """
from maskinporten_operator.adapters import fence

fence.MIN_TIME_LEFT, fence.GRACE = 0.1, 0.1

def time_left():
    stop()
    return 0.2  # as it was before the stop

with fence.Fence(time_left).hold("POST"):
    time.sleep(0.01)
    tell('sent')
"""

    assert run(script, stopped=0.5)[:2] == (EXIT_CODE, "")


def test_one_that_stood_still_for_a_shorter_time_goes_on():
    assert run("with within(20):\n    stop()\n    tell('sent')", stopped=0.2) == (0, "sent", "")


def test_what_is_done_in_time_leaves_no_alarm():
    script = "with within(0.1):\n    pass\ntime.sleep(0.3)\ntell('goes on')"

    assert run(script) == (0, "goes on", "")


def test_what_failed_leaves_no_alarm():
    script = """
try:
    with within(0.1):
        raise OSError
except OSError:
    time.sleep(0.3)
tell('goes on')
"""

    assert run(script) == (0, "goes on", "")


@pytest.mark.parametrize("order", ["0.2, 20", "20, 0.2"])
def test_of_several_at_once_the_first_to_be_over_counts(order):
    script = f"""
first, second = ({order})
with within(first), within(second):
    time.sleep(5)
    tell('goes on')
"""

    assert run(script)[:2] == (EXIT_CODE, "")


def test_the_others_hold_when_one_is_done():
    script = """
one, other = ExitStack(), ExitStack()
one.enter_context(within(0.3))
other.enter_context(within(20))
other.close()
time.sleep(5)
tell('goes on')
"""

    assert run(script)[:2] == (EXIT_CODE, "")


def test_a_time_that_is_over_when_it_begins_counts_too():
    assert run("with within(-1):\n    time.sleep(5)\n    tell('goes on')")[:2] == (EXIT_CODE, "")


def test_a_process_that_is_the_first_of_its_container_ends_too():
    """The kernel keeps from such a process every signal that it has no handler for, even SIGKILL of its own."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    unshare = ["unshare", *as_root, "--pid", "--fork"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespace can be made here")
    script = "assert os.getpid() == 1\nwith within(0.2):\n    time.sleep(5)\n    tell('goes on')"
    done = subprocess.run(
        [*unshare, sys.executable, "-c", PREAMBLE + script], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (EXIT_CODE, ""), done.stderr


def test_where_there_is_no_such_alarm_the_process_runs_without_one_and_says_so():
    script = """
import ctypes
from maskinporten_operator.adapters import tripwire

class Refusing:
    def timer_create(self, *_):
        ctypes.set_errno(1)
        return -1

for libc in (Refusing(), object()):
    ctypes.CDLL = lambda *_, **__: libc
    with tripwire.Tripwire().until(0.1):
        time.sleep(0.3)
"""
    code, output, errors = run(script)

    assert (code, errors) == (0, "")
    assert output.count("can't be ended in time") == 2
    assert "timer_create: Operation not permitted" in output
