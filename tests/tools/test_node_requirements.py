"""What a node takes of a machine, and what is said where that isn't there."""

import shutil

import pytest

from tools.generate.__main__ import ROOT
from tools.node import cgroups, requirements
from tools.node.node import require_node
from tools.node.requirements import PACKAGES, find_missing
from tools.programs import MissingToolError


@pytest.fixture
def capable(monkeypatch):
    """A machine on which a node can run, as far as can be asked."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda program, path=None: f"/usr/sbin/{program}")
    monkeypatch.setattr(cgroups, "find_missing", list)
    monkeypatch.setattr(requirements, "_try_namespaces", lambda: "")
    monkeypatch.setattr(requirements, "find_plugin", lambda: True)
    return monkeypatch


def test_nothing_is_missing_on_a_machine_that_can(capable):
    assert find_missing() == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("sys.platform", "darwin", "Linux, and this is darwin"),
        ("os.geteuid", lambda: 1000, "root"),
        ("shutil.which", lambda program, path=None: program != "nft" or None, "Debian's package nftables"),
        ("tools.node.requirements.find_plugin", lambda: False, "Debian's package containernetworking-plugins"),
        ("tools.node.cgroups.find_missing", lambda: ["memory"], "cgroups of version 1 with memory"),
        (
            "tools.node.requirements._try_namespaces",
            lambda: "unshare failed: Operation not permitted",
            "namespaces of its own (unshare failed: Operation not permitted)",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(capable, name, value, said):
    capable.setattr(name, value)

    with pytest.raises(MissingToolError) as caught:
        require_node()

    assert str(caught.value) == f"A node with real pods needs {said}."
    assert caught.value.exit_code == 2


def test_a_controller_without_a_hierarchy_of_version_1_is_missing(monkeypatch, tmp_path):
    for name in ("cpu", "memory"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(
        cgroups,
        "find_own",
        lambda: {"cpu,cpuacct": tmp_path / "cpu", "memory": tmp_path / "memory", "pids": tmp_path / "pids"},
    )

    assert cgroups.find_missing() == ["cpuset", "devices", "freezer", "pids"]


def test_every_debian_package_that_a_node_needs_is_installed_by_ci():
    lines = (ROOT / "tools" / "node" / "debian-packages.txt").read_text().splitlines()
    listed = {line.partition("#")[0].strip() for line in lines}

    assert {*PACKAGES.values(), "containernetworking-plugins"} <= listed
