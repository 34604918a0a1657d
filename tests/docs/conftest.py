"""A cluster for those who follow the pages, with a simulator in the place of DigDir's test environment."""

import pytest

from tests.docs.kubelet import Kubelet
from tests.docs.reader import Reader
from tools.cluster import Cluster
from tools.kube import KubeClient
from tools.stack import BIN, Simulator

ADMIN_CLIENT = "0f0b3a46-5f60-4bd0-a5a3-b9a6a4b4c1f2"
"""The operator's own client at DigDir, as the pages name it."""


@pytest.fixture(scope="module")
def digdir(tmp_path_factory):
    with Simulator(tmp_path_factory.mktemp("digdir"), "--admin-client-id", ADMIN_CLIENT) as digdir:
        yield digdir


@pytest.fixture(scope="module")
def kubelet(digdir, tmp_path_factory):
    with (
        Cluster.create(name="mpo-docs", exec_from=BIN) as cluster,
        KubeClient(cluster.admin_kubeconfig) as kube,
    ):
        hosts = {"https://api.test.samarbeid.digdir.no": digdir.url, "https://test.maskinporten.no": digdir.url}
        kubelet = Kubelet(cluster, kube, tmp_path_factory.mktemp("pods"), hosts)
        yield kubelet
        kubelet.stop()


@pytest.fixture(scope="module")
def make_reader(digdir, kubelet, tmp_path_factory):
    """A reader, each with a folder of its own, in which the operator's key is."""
    return lambda: Reader(kubelet, tmp_path_factory.mktemp("reader") / "checkout", digdir.admin_jwk_file)


@pytest.fixture
def reader(make_reader):
    return make_reader()
