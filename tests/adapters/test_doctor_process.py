"""`maskinporten-operator doctor` as somebody runs it, against the simulator as a process."""

import json
import os
import signal
import subprocess

import pytest

from tests.manners import LAX, STRICT
from tools.kube import wait_for
from tools.stack import BIN, Simulator

DEADLINE = 60.0
PRIVATE = ("d", "p", "q", "dp", "dq", "qi")


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def doctor(simulator):
    """Start the command with these arguments and other settings."""
    processes = []

    def doctor(*arguments, **settings):
        values = {
            "cluster_name": "some-cluster",
            "digdir_base_url": simulator.url,
            "maskinporten_well_known_url": simulator.well_known_url,
            "admin_client_id": "admin-client",
            "admin_jwk_file": str(simulator.admin_jwk_file),
            "log_level": "DEBUG",
            **settings,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MASKINPORTEN_OPERATOR_")}
        environment = {f"MASKINPORTEN_OPERATOR_{name.upper()}": value for name, value in values.items()}
        processes.append(
            subprocess.Popen(
                # A shell that starts the tests in the background has them ignore Ctrl-C.
                ["env", "--default-signal=HUP,INT", BIN / "maskinporten-operator", "doctor", *arguments],
                env=kept | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    before = simulator.control("GET", "settings")
    yield doctor
    for process in processes:
        process.kill()
        process.communicate()
    simulator.control("DELETE", "faults")
    simulator.control("PATCH", "settings", before)
    assert simulator.control("GET", "violations") == []


def active_trials(simulator):
    return [one for one in simulator.clients() if one["active"] and "doctor" in one["description"]]


@pytest.mark.parametrize("manner", [STRICT, LAX], ids=["strict", "lax"])
def test_people_get_a_line_for_each_check_and_exit_code_0(simulator, doctor, manner):
    simulator.control("PATCH", "settings", manner)
    process = doctor("--write")
    output, errors = process.communicate(timeout=DEADLINE)

    assert process.returncode == 0, output + errors
    lines = output.splitlines()
    assert lines[0].startswith("✓ credentials ")
    assert all(line.startswith("✓ ") for line in lines[:-2])
    assert lines[-1].endswith("0 wrong. The operator can work with this.")
    assert active_trials(simulator) == []
    private = json.loads(simulator.admin_jwk_file.read_text())
    assert [name for name in PRIVATE if private[name] in output + errors] == []
    assert "eyJ" not in output + errors


def test_the_report_is_json_alone_and_has_no_secret(simulator, doctor):
    process = doctor("--write", "-o", "json")
    output, errors = process.communicate(timeout=DEADLINE)

    report = json.loads(output)
    assert process.returncode == report["summary"]["failed"] == 0
    assert report["settings"]["digdirBaseUrl"] == f"{simulator.url}/api/v1"
    assert {one["operation"] for one in report["answers"]} >= {"list-clients", "create-client", "delete-client"}
    assert "eyJ" not in output + errors


def test_what_is_wrong_is_told_with_exit_code_1(doctor):
    process = doctor("-o", "text", admin_client_id="somebody-else")
    output, errors = process.communicate(timeout=DEADLINE)

    assert process.returncode == 1
    assert "✗ token " in output
    assert "→ A cluster admin must check ADMIN_CLIENT_ID" in output
    assert "Traceback" not in output + errors


def test_an_admin_key_that_cant_be_used_ends_with_exit_code_2(doctor, tmp_path):
    wrong = tmp_path / "wrong.jwk"
    wrong.write_text('{"kty": "RSA", "kid": "some-kid"}')
    process = doctor(admin_jwk_file=str(wrong))
    output, errors = process.communicate(timeout=DEADLINE)

    assert (process.returncode, output) == (2, "")
    assert errors == f"Error: the configuration can't be used:\n  {wrong} holds no private RSA JWK with a kid\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_once_its_client_is_deleted(simulator, doctor, number):
    fault = simulator.control("POST", "faults", {"kind": "hold", "method": "POST", "path": "/jwks$"})["id"]
    process = doctor("--write")
    wait_for(lambda: simulator.control("GET", f"faults/{fault}")["held"], DEADLINE, "a held call")
    assert len(active_trials(simulator)) == 1
    process.send_signal(number)
    _, errors = process.communicate(timeout=DEADLINE)

    assert process.returncode == 1
    assert errors.endswith("Interrupted.\n")
    assert "Traceback" not in errors
    assert active_trials(simulator) == []


def test_help_teaches_with_an_example():
    output = subprocess.check_output([BIN / "maskinporten-operator", "doctor", "--help"], text=True)

    assert "$ maskinporten-operator doctor --cluster-name my-cluster" in output
    assert "$ kubectl exec" in output
    assert "--workers" not in output
