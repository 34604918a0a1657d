"""A real node for the tests in this folder, with the chart installed on it once."""

import os

import pytest

from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from tests.node.trial import Trial, measured
from tools.image.archive import image_archive
from tools.kube import KubeClient
from tools.node.node import Node, require_node
from tools.node.workload.image import workload_archive
from tools.programs import MissingToolError

FIGURES = pytest.StashKey[dict[str, str]]()


def pytest_configure(config):
    config.stash[FIGURES] = {}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_terminal_summary(terminalreporter, config):
    if figures := config.stash[FIGURES]:
        terminalreporter.section("measured on the node")
        for name, figure in figures.items():
            terminalreporter.write_line(f"{name}: {figure}")


@pytest.fixture(scope="session")
def figures(request):
    """What was measured, by name; printed at the end."""
    return request.config.stash[FIGURES]


@pytest.fixture(scope="session")
def machine():
    """A machine that a node can run on."""
    try:
        require_node()
    except MissingToolError as error:
        if os.environ.get("ALL_TESTS") == "required":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def node(machine):
    with Node.create(images=[image_archive(), workload_archive()]) as node:
        yield node
        node.check()


@pytest.fixture(scope="session")
def kube(node):
    with KubeClient(node.admin_kubeconfig) as kube:
        yield kube


@pytest.fixture(scope="session")
def installed(node, kube, figures):
    """The release as `helm install` leaves it, with two replicas, and a resource that was made at once."""
    trial = Trial(node, kube)
    kube.create_namespace("first")
    with measured(figures, "helm install --wait, two replicas and the simulator"):
        trial.install()
    trial.first_pods = trial.operators()
    with measured(figures, "first resource, made when the pods are Ready, until it is Ready"):
        trial.create_clients("first", ["first"])
        trial.wait_ready("first", "first", MASKINPORTEN_CLIENT)
    return trial


@pytest.fixture(scope="session")
def trial(installed):
    """The release with the simulator's address as Maskinporten's, so that policies open the way to it."""
    installed.list_lag = {"listLag": "1s"}  # the simulator's lists don't lag
    installed.maskinporten = [f"{installed.simulator_pod().ip}/32"]
    installed.upgrade()
    return installed
