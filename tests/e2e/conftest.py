"""A real control plane for the tests in this folder, started once."""

import pytest

from tools.cluster import Cluster
from tools.generate.__main__ import ROOT

CRDS = ROOT / "deploy" / "crds"


@pytest.fixture(scope="session")
def cluster():
    with Cluster.create(name="mpo", nodes=0) as cluster:
        cluster.kubectl("apply", "-f", CRDS)
        cluster.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
        yield cluster
