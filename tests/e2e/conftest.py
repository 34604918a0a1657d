"""A real control plane for the tests in this folder, started once, and an operator with its simulator for each file."""

import re

import pytest

from tests.e2e.audit import AuditLog
from tests.e2e.rights import read_rights
from tests.e2e.stage import FOREIGN, NUMBERS, Stage
from tools.cluster import Cluster
from tools.generate.__main__ import ROOT
from tools.install import install
from tools.proxy import ApiServerProxy

AUDIT_POLICY = ROOT / "tests" / "e2e" / "audit-policy.yaml"

LOG_LENGTH = 6000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Show the end of the operator's log with a failure."""
    report = yield
    stage = item.funcargs.get("bare_stage")
    if report.failed and stage and stage.operator:
        report.sections.append(("The operator's log", stage.operator.output()[-LOG_LENGTH:]))
    return report


@pytest.fixture(scope="package")
def cluster():
    with Cluster.create(name="mpo", nodes=1, audit_policy=AUDIT_POLICY) as cluster:
        install(cluster)
        yield cluster
        # Whatever the tests made it do, the operator asked for nothing that the chart doesn't let it do.
        assert read_rights(cluster).refused == set()


@pytest.fixture(scope="module")
def bare_stage(cluster, tmp_path_factory, request):
    """A simulator and no operator yet. A file's SETTINGS are the operator's.

    What others have in the organisation must be at the end as it was at the start, and all that was said to DigDir
    what its published API takes. No key, token or assertion is anywhere but where it belongs.
    """
    settings = getattr(request.module, "SETTINGS", {})
    foreign = getattr(request.module, "FOREIGN", FOREIGN)
    with Stage(cluster, tmp_path_factory.mktemp("stage"), foreign, **settings) as stage:
        yield stage
        assert stage.read_foreign() == stage.foreign
        assert stage.violations == []
        assert stage.find_leaks() == []


@pytest.fixture(scope="module")
def running(bare_stage):
    """The stage with an operator that is ready."""
    bare_stage.start_ready()
    return bare_stage


@pytest.fixture(scope="module")
def proxy(bare_stage, tmp_path_factory):
    """What stands between the operator and the API server, for a file whose `running` asks for it."""
    with ApiServerProxy(bare_stage.kubeconfig, tmp_path_factory.mktemp("proxy")) as proxy:
        bare_stage.kubeconfig = proxy.kubeconfig
        yield proxy


@pytest.fixture
def stage(running, namespace):
    """The stage, for one test: it must leave no fault behind, the operator unharmed, and DigDir's contract kept."""
    yield running
    running.clear_faults()
    assert running.violations == []
    assert running.operator.running
    output = running.operator.output()
    assert "internal error" not in output
    assert "Traceback" not in output


@pytest.fixture(scope="module")
def pool(bare_stage):
    """Namespaces in which a resource `app` is Ready, made several at a time: one alone waits a second for its list."""

    def make():
        while True:
            names = [f"pool-{next(NUMBERS)}" for _ in range(8)]
            for name in names:
                bare_stage.kube.create_namespace(name)
                bare_stage.create(name)
            for name in names:
                bare_stage.wait_ready(name)
            yield from names

    return make()


@pytest.fixture
def app(stage, namespace):
    """The resource `app`, which is Ready, in the test's namespace."""
    return stage.wait_ready(namespace)


@pytest.fixture
def namespace(bare_stage, request):
    """A namespace of the test's own; a test that asks for `app` as well gets one that has it."""
    if "app" in request.fixturenames:
        request.getfixturevalue("running")
        name = next(request.getfixturevalue("pool"))
        yield name
        bare_stage.sweep(name)
        return
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    name = f"{words[:40].strip('-')}-{next(NUMBERS)}"
    bare_stage.kube.create_namespace(name)
    yield name
    bare_stage.sweep(name)


@pytest.fixture
def audit(cluster):
    """The audit log from here on."""
    return AuditLog(cluster)
