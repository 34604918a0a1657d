import os
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.e2e.stage import PATIENCE
from tools.kube import wait_for
from tools.stack import BIN

pytestmark = pytest.mark.e2e

SETTINGS = {"log_level": "DEBUG"}
SECONDS_TO_STOP = 10
REQUIRED = ("CLUSTER_NAME", "DIGDIR_BASE_URL", "MASKINPORTEN_WELL_KNOWN_URL", "ADMIN_CLIENT_ID", "ADMIN_JWK_FILE")


def run(cluster, *arguments, **settings):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MASKINPORTEN_OPERATOR_")}
    values = {f"MASKINPORTEN_OPERATOR_{name}": value for name, value in settings.items()}
    return subprocess.run(
        [BIN / "maskinporten-operator", "run", *arguments],
        env={**kept, **values, "KUBECONFIG": str(cluster.admin_kubeconfig)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_one_message_names_every_missing_value(cluster):
    done = run(cluster)

    assert done.returncode == 2
    assert done.stdout == ""
    for name in REQUIRED:
        assert f"MASKINPORTEN_OPERATOR_{name} (or --{name.lower().replace('_', '-')}) is missing" in done.stderr
    assert done.stderr.count("the configuration can't be used") == 1


def test_one_message_names_wrong_and_missing_values_together(cluster):
    done = run(
        cluster,
        "--resync-interval=soon",
        CLUSTER_NAME="a:b",
        DIGDIR_BASE_URL="not a url",
        KEY_GRACE="-1s",
        METRICS_ADDRESS="nowhere",
        ADMIN_JWK_FILE="/nonexistent/admin.jwk",
    )

    assert done.returncode == 2
    for name in (*REQUIRED, "RESYNC_INTERVAL", "KEY_GRACE", "METRICS_ADDRESS"):
        assert f"MASKINPORTEN_OPERATOR_{name} " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_is_none_is_a_wrong_value_and_isnt_shown(cluster, tmp_path):
    file = tmp_path / "admin.jwk"
    file.write_text('{"kty": "RSA", "d": "very-private"}')
    done = run(
        cluster,
        CLUSTER_NAME="test",
        DIGDIR_BASE_URL="http://127.0.0.1:9",
        MASKINPORTEN_WELL_KNOWN_URL="http://127.0.0.1:9/w",
        ADMIN_CLIENT_ID="admin-client",
        ADMIN_JWK_FILE=str(file),
        HEALTH_ADDRESS="",
        METRICS_ADDRESS="",
    )

    assert done.returncode == 2
    assert "holds no private RSA JWK" in done.stderr
    assert "very-private" not in done.stderr


def test_a_signal_ends_an_operator_that_waits_for_digdir_in_order(stage, namespace):
    number = stage.fault("hold", when="after", method="POST", path="/clients$")
    stage.create(namespace)
    stage.wait_for_held(number)

    stage.operator.popen.terminate()
    assert stage.operator.popen.wait(SECONDS_TO_STOP) == 0

    stage.clear_faults()
    stage.start_ready()
    stage.wait_ready(namespace)
    assert len(stage.registrations(namespace)) == 1


def test_a_pass_under_way_is_ended_before_the_process_is(stage, namespace):
    number = stage.fault("hold", when="after", method="POST", path="/jwks$")
    stage.create(namespace)
    stage.wait_for_held(number)

    stage.operator.popen.terminate()
    stage.clear_faults()
    assert stage.operator.popen.wait(SECONDS_TO_STOP) == 0

    stage.wait_for_reason(namespace, "app", "Synchronized")
    assert len(stage.kids(namespace)) == 1
    stage.start_ready()


def test_a_signal_right_at_the_start_ends_it_in_order(bare_stage, stage):
    stage.operator.stop()
    operator = stage.start()
    wait_for(lambda: is_alive(operator), PATIENCE, "/livez")

    operator.popen.terminate()
    assert operator.popen.wait(SECONDS_TO_STOP) == 0
    stage.start_ready()


def test_a_signal_ends_an_idle_operator_in_order_and_leaves_no_process_behind(stage):
    workers = wait_for(lambda: children(stage.operator.popen.pid), PATIENCE, "the process that mints keys")

    stage.operator.popen.terminate()
    assert stage.operator.popen.wait(SECONDS_TO_STOP) == 0

    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), PATIENCE, "the workers' end")
    stage.start_ready()


def test_it_tells_how_it_is_and_what_it_did(stage, namespace):
    stage.create_ready(namespace)
    address = f"http://127.0.0.1:{stage.operator.health_port}"
    with httpx.Client(base_url=address, trust_env=False) as http:
        assert (http.get("/livez").status_code, http.get("/readyz").status_code) == (200, 200)
        metrics = http.get("/metrics").text

    assert 'maskinporten_operator_reconcile_total{kind="MaskinportenClient",result="Synchronized"}' in metrics
    assert namespace not in metrics


def test_only_the_configured_namespaces_are_managed(stage, namespace):
    stage.kube.create_namespace(f"{namespace}-elsewhere")
    stage.restart(namespaces=f"{namespace}")
    stage.create(f"{namespace}-elsewhere")
    stage.create_ready(namespace)

    assert not stage.find_condition(f"{namespace}-elsewhere")
    assert stage.registrations(f"{namespace}-elsewhere") == []
    stage.restart()
    stage.wait_ready(f"{namespace}-elsewhere")
    stage.sweep(f"{namespace}-elsewhere")


def test_no_credential_is_ever_logged(stage, namespace):
    stage.create_ready(namespace)
    values = stage.read_secret(namespace)
    output = stage.operator.output()

    jwk = values["MASKINPORTEN_CLIENT_JWK"]
    assert jwk not in output
    assert jwk[-100:-10] not in output
    assert "Bearer " not in output


def is_alive(operator):
    try:
        return httpx.get(f"http://127.0.0.1:{operator.health_port}/livez", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
