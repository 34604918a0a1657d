"""The simulator as a process, over a real socket."""

import json
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from jose import jwt

from tests.certificates import authority

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEADLINE = 60
"""Seconds for what takes one or two: the machine may be busy with something else."""


class Process:
    def __init__(self, directory, *arguments, cert_file=None, port=0):
        self.jwk_file = directory / "admin.jwk"
        credentials = ["--admin-cert-file", cert_file] if cert_file else ["--admin-jwk-file", self.jwk_file]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "digdir_simulator", "--port", str(port), *credentials, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self._process.stdout.readline()
        assert line.startswith("digdir-simulator listening on http://127.0.0.1:"), line
        self.url = line.split()[-1]
        self.http = httpx.Client(base_url=self.url)

    def stop(self):
        """Stop it as Kubernetes would; return what it had to say, as of calls that it had to cancel at last."""
        self.http.close()
        self._process.send_signal(signal.SIGTERM)
        return "".join(self._process.communicate(timeout=DEADLINE))

    def kill(self):
        self.http.close()
        if not self._process.stdout.closed:
            self._process.kill()
            self._process.communicate()

    def authorise(self, key=None, **header):
        jwk = key or json.loads(self.jwk_file.read_text())
        now = int(time.time())
        claims = {"iss": "admin-client", "aud": f"{self.url}/", "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}
        claims["scope"] = "idporten:dcr.read idporten:dcr.write"
        assertion = jwt.encode(claims, jwk, algorithm="RS256", headers=header or {"kid": jwk["kid"]})
        response = self.http.post("/token", data={"grant_type": JWT_BEARER, "assertion": assertion})
        self.http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    def create(self):
        request = {"client_name": "NAV", "description": "d", "integration_type": "maskinporten"}
        request |= {"scopes": ["skatt:some.scope"], "token_endpoint_auth_method": "private_key_jwt"}
        return self.http.post("/api/v1/clients", json=request | {"grant_types": [JWT_BEARER]})

    def count(self):
        return len(self.http.get("/api/v1/clients").json())


@pytest.fixture(scope="module")
def process(tmp_path_factory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("simulator"))
    process.authorise()
    yield process
    assert process.stop() == ""


def test_the_admin_key_is_made_for_its_owner_only(process):
    assert stat.S_IMODE(process.jwk_file.stat().st_mode) == 0o600
    assert json.loads(process.jwk_file.read_text())["d"]


def test_the_issuer_is_the_address_that_was_printed(process):
    metadata = process.http.get("/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] == f"{process.url}/"


def test_an_answer_dropped_after_the_operation_leaves_a_client(process):
    before = process.count()
    process.http.post("/control/faults", json={"kind": "drop", "when": "after", "method": "POST", "path": "/clients$"})
    with pytest.raises(httpx.TransportError):
        process.create()
    assert process.count() == before + 1


def test_an_answer_dropped_before_the_operation_leaves_none(process):
    before = process.count()
    process.http.post("/control/faults", json={"kind": "drop", "method": "POST", "path": "/clients$"})
    with pytest.raises(httpx.TransportError):
        process.create()
    assert process.count() == before


def test_answers_on_one_connection_are_not_held_back_by_nagle(process):
    durations = []
    for _ in range(20):
        begin = time.monotonic()
        process.http.get("/api/v1/scopes/all")
        durations.append(time.monotonic() - begin)
    assert min(durations[10:]) < 0.03  # held back, each takes 0.04


def test_a_held_call_is_dropped_when_the_simulator_stops(tmp_path):
    process = Process(tmp_path)
    try:
        process.authorise()
        process.http.post("/control/faults", json={"kind": "hold", "method": "POST", "path": "/clients$"})
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(process.create)
            deadline = time.monotonic() + DEADLINE
            while not process.http.get("/control/faults/1").json()["held"]:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process._process.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.TransportError):
                call.result(timeout=DEADLINE)
        assert process.stop() == ""
    finally:
        process.kill()


def test_an_existing_key_a_seed_and_settings_are_used(tmp_path, jwk):
    (tmp_path / "admin.jwk").write_text(json.dumps(jwk))
    (tmp_path / "seed.yaml").write_text("generate_clients: 20\n")
    process = Process(tmp_path, "--seed", tmp_path / "seed.yaml", "--set", "created_status=200")
    try:
        process.authorise()
        assert process.count() == 21
        assert process.create().status_code == 200
    finally:
        process.stop()


def test_a_certificate_serves_instead_of_a_key(tmp_path):
    root = authority()
    certified = root.issue()
    (tmp_path / "trusted.pem").write_text(root.chain_pem)
    process = Process(tmp_path, cert_file=tmp_path / "trusted.pem")
    try:
        process.authorise(certified.key_pem, x5c=certified.x5c)
        assert process.count() == 1
        assert not process.jwk_file.exists()
    finally:
        process.stop()


def test_a_client_that_was_answered_is_there_after_a_kill(tmp_path):
    state_file = tmp_path / "state"
    ids = set()
    for _ in range(3):
        process = Process(tmp_path, "--state-file", state_file)
        try:
            process.authorise()
            assert ids <= {client["client_id"] for client in process.http.get("/api/v1/clients").json()}
            ids.add(process.create().json()["client_id"])
        finally:
            process.kill()
    assert len(ids) == 3


def test_of_a_burst_all_that_was_answered_is_there_after_a_kill(tmp_path):
    process = Process(tmp_path, "--state-file", tmp_path / "state")
    answered = []

    def create(_number):
        try:
            answered.append(process.create().json()["client_id"])
        except httpx.TransportError:
            return
        if len(answered) == 30:
            process._process.kill()

    try:
        process.authorise()
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(create, range(200)))
    finally:
        process.kill()
    assert 30 <= len(answered) < 200
    process = Process(tmp_path, "--state-file", tmp_path / "state")
    try:
        process.authorise()
        assert set(answered) <= {client["client_id"] for client in process.http.get("/api/v1/clients").json()}
    finally:
        process.kill()


def test_an_operation_whose_answer_was_dropped_is_there_after_a_kill(tmp_path):
    process = Process(tmp_path, "--state-file", tmp_path / "state")
    try:
        process.authorise()
        process.http.post("/control/faults", json={"kind": "drop", "when": "after", "path": "/clients$"})
        with pytest.raises(httpx.TransportError):
            process.create()
    finally:
        process.kill()
    process = Process(tmp_path, "--state-file", tmp_path / "state")
    try:
        process.authorise()
        assert process.count() == 2
    finally:
        process.kill()


def test_a_stop_leaves_the_state_file_alone_in_its_folder(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    process = Process(tmp_path, "--state-file", folder / "state.db")
    process.authorise()
    process.create()
    assert process.stop() == ""
    assert [file.name for file in folder.iterdir()] == ["state.db"]


@pytest.mark.parametrize(
    ("content", "arguments", "complaint"),
    [
        ('{"d": "secret"}', [], "has no RSA JWK"),
        ('"d-secret', [], "has no RSA JWK"),
        (None, ["--set", "latency=5"], "latency"),
        ('{"d": "secret"}', ["--admin-cert-file", __file__], "exclude each other"),
        (None, ["--host", "203.0.113.1"], "can't listen"),
        (None, ["--state-file", "/proc/state"], "/proc/state: it can't be opened"),
        (None, ["--state-file", __file__], "isn't a state file"),
    ],
)
def test_a_wrong_option_is_explained_without_giving_the_key_away(tmp_path, content, arguments, complaint):
    jwk_file = tmp_path / "admin.jwk"
    if content is not None:
        jwk_file.write_text(content)
    command = [sys.executable, "-m", "digdir_simulator", "--port", "0", "--admin-jwk-file", jwk_file, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert run.returncode != 0
    assert complaint in run.stderr
    assert "secret" not in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("content", ["secret", "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----", "é"])
def test_a_file_without_certificates_is_refused_without_giving_it_away(tmp_path, content):
    cert_file = tmp_path / "trusted.pem"
    cert_file.write_text(content)
    command = [sys.executable, "-m", "digdir_simulator", "--port", "0", "--admin-cert-file", cert_file]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert run.returncode != 0
    assert "has no certificates in PEM" in run.stderr
    assert "secret" not in run.stderr
    assert "Traceback" not in run.stderr
