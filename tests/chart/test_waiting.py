"""The pod of `helm test`, its command run here: it waits until it is let through, and no longer than it was told."""

import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.chart.rendered import NAME


class Ready(BaseHTTPRequestHandler):
    """Ready after so many calls; to those before it says that no pod is."""

    def do_GET(self):
        self.server.calls += 1
        self.send_response(200 if self.server.calls > self.server.unready else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def start(render):
    """Start the command as the chart has it, but for its address and the seconds that it is given."""
    (pod,) = render().all("Pod")
    (container,) = pod["spec"]["containers"]
    script, url, seconds = container["args"]
    assert (container["command"], seconds) == (["python3", "-c"], "60")
    assert url == f"http://{NAME}.{NAME}.svc:8081/readyz"

    def run(port, seconds):
        command = [sys.executable, "-c", script, f"http://127.0.0.1:{port}/readyz", str(seconds)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run


@pytest.fixture
def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_it_waits_until_it_is_let_through_to_a_pod_that_is_ready(start, port):
    with start(port, 60) as process:
        refused = process.stdout.readline()
        with HTTPServer(("127.0.0.1", port), Ready) as server:
            server.calls, server.unready = 0, 2
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            rest, errors = process.communicate(timeout=30)
            server.shutdown()
            thread.join()

    assert refused.startswith(
        f"waiting until http://127.0.0.1:{port}/readyz answers and this pod is let through to it: "
    )
    assert "refused" in refused
    assert rest.count("503") == 1
    assert rest.splitlines()[-1] == f"http://127.0.0.1:{port}/readyz 200"
    assert (process.returncode, errors) == (0, "")


def test_it_gives_up_in_the_end_and_says_why(start, port):
    with start(port, 0.1) as process:
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert errors.startswith(f"http://127.0.0.1:{port}/readyz didn't answer as it should within 0.1 s: ")
