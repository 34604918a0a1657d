"""Every program, without a name, a home, a directory to write to, or an environment: what a strict pod leaves it."""

import base64
import json
import re
import subprocess
import sys

import httpx
import pytest

from digdir_simulator import jws
from tests.certificates import authority
from tools.bare import FILES, UIDS, WAYS, NoNamespacesError, bare, probe
from tools.stack import BIN, Process

LOAD = """
import asyncio, os
os.environ["KUBECONFIG"] = "/run/secrets/kubeconfig"
from maskinporten_operator.adapters.cluster.api import ClusterApi, load_configuration

async def load():
    configuration = await load_configuration()
    await ClusterApi(configuration).close()
    for name in (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file):
        print(open(name).read(), end="")

asyncio.run(load())
"""
MINT = """
import asyncio
from maskinporten_operator.adapters.key_pool import ProcessKeyPool

async def take():
    async with ProcessKeyPool(1) as pool:
        print(len((await pool.take('ns')).n))

asyncio.run(take())
"""
SETTINGS = {
    "CLUSTER_NAME": "test",
    "DIGDIR_BASE_URL": "http://127.0.0.1:9",
    "MASKINPORTEN_WELL_KNOWN_URL": "http://127.0.0.1:9/w",
    "ADMIN_CLIENT_ID": "admin-client",
    "ADMIN_JWK_FILE": f"{FILES}/admin.jwk",
}
DEADLINE = 60.0


class Bare:
    """Runs commands with a uid and a kind of /tmp, and a folder of files."""

    def __init__(self, uid, tmp, files):
        self.uid = uid
        self.tmp = tmp
        self.files = files

    def command(self, *command):
        return bare(self.uid, self.tmp, self.files, command)

    def run(self, *command, code=0):
        settings = {f"MASKINPORTEN_OPERATOR_{name}": value for name, value in SETTINGS.items()}
        done = subprocess.run(
            self.command(*command), env=settings, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture(params=WAYS, ids=lambda one: f"{one[0]}, {one[1]} /tmp")
def process(request, tmp_path):
    uid, tmp = request.param
    (tmp_path / "admin.jwk").write_text(json.dumps(jws.new_private_jwk()))
    try:
        found = probe(uid, tmp, tmp_path)
    except NoNamespacesError as error:
        pytest.skip(str(error))
    assert found == f"{uid} {UIDS[uid]}"  # no name, no home, nothing that could be written to
    return Bare(uid, tmp, tmp_path)


@pytest.mark.parametrize("program", ["maskinporten-operator", "digdir-simulator", "digdir-simulator-admin-key"])
def test_help_and_version_are_told(process, program):
    assert "Usage:" in process.run(BIN / program, "--help")


@pytest.mark.parametrize("command", ["run", "inventory"])
def test_what_is_missing_is_told(process, command):
    assert "no API server is configured" in process.run(BIN / "maskinporten-operator", command, code=2)


def test_what_doctor_finds_is_told(process):
    result = process.run(BIN / "maskinporten-operator", "doctor", code=1)

    assert "✗ discovery" in result
    assert "nothing listens there" in result


def test_the_simulators_key_asks_for_an_api_server_too(process):
    options = ["--namespace=trial", "--secret=admin", "--public-jwk-file=/nowhere"]

    assert "no API server is configured" in process.run(BIN / "digdir-simulator-admin-key", *options, code=1)


def test_keys_are_minted(process):
    assert process.run(sys.executable, "-c", MINT) == "342\n"


def test_a_kubeconfig_that_holds_its_certificates_is_read(process):
    ca = authority()
    client = ca.issue()
    texts = (ca.chain_pem, client.chain_pem, client.key_pem)
    ca_data, certificate, key = (base64.b64encode(text.encode()).decode() for text in texts)
    cluster = {"server": "https://127.0.0.1:9", "certificate-authority-data": ca_data}
    user = {"client-certificate-data": certificate, "client-key-data": key}
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (process.files / "kubeconfig").write_text(json.dumps(kubeconfig))

    assert process.run(sys.executable, "-c", LOAD) == "".join(texts)


def test_the_simulator_works(process):
    command = [BIN / "digdir-simulator", "--port", "0", "--admin-jwk-file", SETTINGS["ADMIN_JWK_FILE"]]
    with Process(process.command(*command), {}, process.files / "simulator.log") as simulator:
        url = simulator.wait_for_output("listening on").split()[-1]
        form = {"grant_type": "none"}
        with httpx.Client(base_url=url, trust_env=False) as http:
            answers = [http.get("/api/v1/scopes/all"), http.post("/token", data=form)]
            # Longer than what is kept in memory of a file that is sent in a form
            answers.append(http.post("/token", data=form, files={"assertion": bytes(2_000_000)}))

    assert [answer.status_code for answer in answers] == [200, 400, 400]
    assert not re.search("Traceback|Error", simulator.output())
