"""The operator on a real API server as a strict pod has it: no name, no home, nothing to write to, no environment."""

import pytest

from tests.e2e.stage import PATIENCE
from tools.bare import UIDS, WAYS, BareOperator, NoNamespacesError, probe
from tools.replicas import SETTINGS as LEASE_SETTINGS
from tools.replicas import free_lease

pytestmark = pytest.mark.e2e

SETTINGS = LEASE_SETTINGS


@pytest.mark.parametrize(("uid", "tmp"), WAYS)
def test_it_registers_a_client_and_writes_its_secret(bare_stage, namespace, tmp_path, uid, tmp):
    stage = bare_stage
    try:
        assert probe(uid, tmp, tmp_path) == f"{uid} {UIDS[uid]}"
    except NoNamespacesError as error:
        pytest.skip(str(error))
    free_lease(stage.kube)
    settings = {**stage.settings, "namespaces": namespace}
    operator = BareOperator(tmp_path, stage.kubeconfig, stage.simulator, "operator.log", uid=uid, tmp=tmp, **settings)
    with operator:
        operator.wait_ready(PATIENCE)
        stage.create_ready(namespace)

        assert stage.registration(namespace)["client_id"] == stage.read_secret(namespace)["MASKINPORTEN_CLIENT_ID"]
        assert f"test:{namespace}:app" in operator.run_command("inventory").stdout
    assert operator.popen.returncode == 0
    assert "Traceback" not in operator.output()
