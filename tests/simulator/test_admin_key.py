"""The admin client's key in a Secret, by an API server that knows one Secret; a real one is in tests/e2e."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from digdir_simulator import admin_key, jws
from digdir_simulator.__main__ import admin_jwk

PATH = "/api/v1/namespaces/trial/secrets/admin"


class ApiServer(ThreadingHTTPServer):
    """An API server with one Secret, or none; `before_write` happens between a read and a write."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.secret = {"metadata": {"name": "admin", "resourceVersion": "1"}}
        self.writes = 0
        self.before_write = lambda: None

    @property
    def jwk(self):
        return json.loads(base64.b64decode(self.secret["data"]["jwk.json"]))

    def put(self, text):
        self.secret["data"] = {"jwk.json": base64.b64encode(text.encode()).decode()}
        self.secret["metadata"]["resourceVersion"] = "2"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(*((200, self.server.secret) if self.path == PATH and self.server.secret else (404, {})))

    def do_PATCH(self):
        patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        self.server.before_write()
        if patch["metadata"]["resourceVersion"] != self.server.secret["metadata"]["resourceVersion"]:
            self.answer(409, {"message": json.dumps(patch)})
            return
        self.server.secret["data"] = self.server.secret.get("data", {}) | patch["data"]
        self.server.writes += 1
        self.answer(200, self.server.secret)

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def run(server, tmp_path, monkeypatch):
    """Run the command against the server; give its exit code, what it said, and the file's JWK if there is one."""
    kubeconfig = {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "clusters": [{"name": "one", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "one", "user": {"token": "token"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    file = tmp_path / "admin.jwk"

    def invoke():
        file.unlink(missing_ok=True)
        options = ["--namespace=trial", "--secret=admin", f"--public-jwk-file={file}"]
        done = CliRunner().invoke(admin_key.main, options)
        return done.exit_code, done.output, json.loads(file.read_text()) if file.exists() else None

    return invoke


def test_the_key_is_made_once_and_the_simulator_gets_its_public_part_alone(server, run, tmp_path):
    code, said, public = run()

    assert code == 0, said
    assert public == jws.public_jwk(server.jwk) != server.jwk
    assert admin_jwk(tmp_path / "admin.jwk") == public
    assert not any(server.jwk[member] in said for member in jws.PRIVATE_MEMBERS & server.jwk.keys())

    assert run() == (code, said, public)
    assert server.writes == 1


def test_what_else_is_in_the_secret_is_left_there(server, run):
    server.secret["data"] = {"other": "YQ=="}

    assert run()[0] == 0

    assert server.secret["data"].keys() == {"other", "jwk.json"}


def test_a_key_that_somebody_else_makes_at_the_same_time_is_not_overwritten(server, run):
    other = jws.new_private_jwk()
    server.before_write = lambda: server.put(json.dumps(other))

    code, said, public = run()
    assert (code, public) == (1, None)
    assert said == "Error: Secret trial/admin: 409 Conflict\n"

    assert run()[2] == jws.public_jwk(other)


@pytest.mark.parametrize("text", ["hunter2", "[]", "{}", json.dumps({"kty": "RSA", "n": "hunter2", "e": "AQAB"})])
def test_a_secret_that_has_something_else_is_refused_without_a_quote(server, run, text):
    server.put(text)

    code, said, public = run()

    assert (code, public) == (1, None)
    assert said == "Error: jwk.json of Secret trial/admin is no private RSA JWK: remove it\n"


def test_a_secret_that_isnt_there_is_named(server, run):
    server.secret = None

    assert run() == (1, "Error: Secret trial/admin: 404 Not Found\n", None)


def test_an_api_server_that_doesnt_answer_is_named_after_a_few_tries(server, run, monkeypatch):
    monkeypatch.setattr(admin_key, "RETRY", admin_key.RETRY.new(connect=1, backoff_factor=0))
    server.shutdown()
    server.server_close()

    code, said, _ = run()

    assert code == 1
    assert said.startswith("Error: Secret trial/admin: MaxRetryError")


def test_without_an_api_server_it_says_so(run, monkeypatch):
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    code, said, _ = run()

    assert code == 1
    assert said.startswith("Error: no API server is configured")
