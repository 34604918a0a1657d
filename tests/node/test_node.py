"""The node itself: several side by side, and nothing of one on the machine when it has ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node.trial import PATIENCE
from tools.generate.__main__ import ROOT
from tools.host import cache_root
from tools.kube import wait_for
from tools.node import cgroups
from tools.node.keeper import OWNER
from tools.node.node import Node

OWNER_OF_A_NODE = "from tools.node.node import Node; print(Node.create().folder, flush=True); input()"
COUNTERS = (
    "fs.aio-nr", "fs.dentry-state", "fs.file-nr", "fs.inode-nr", "fs.inode-state", "fs.quota.", "kernel.ns_last_pid",
    "kernel.perf_event_max_sample_rate", "kernel.pty.nr", "kernel.random.", "net.netfilter.nf_conntrack_count",
)  # fmt: skip
"""Sysctls that tell what goes on on the machine."""


def describe_machine():
    """What a node could leave behind."""
    sysctls = subprocess.run(["sysctl", "-a"], capture_output=True, text=True, check=False).stdout.splitlines()
    return {
        "mounts": sorted(Path("/proc/self/mounts").read_text().splitlines()),
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "cgroups": sorted(str(path) for own in cgroups.find_own().values() for path in own.glob("mpo-*")),
        "sysctls": sorted(line for line in sysctls if not line.startswith(COUNTERS)),
        "folders": sorted(path.name for path in (cache_root() / "nodes").iterdir()),
    }


def find_processes(name):
    """The command lines that have the node's name in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it ended meanwhile
            continue
        if any(name in word for word in words):
            found.append(words)
    return found


@pytest.fixture
def before(node):
    """The machine as it is with the node of the other tests."""
    return describe_machine()


@pytest.fixture
def owned(before):
    """A node whose owner is another process, and that process."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER_OF_A_NODE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        folder = Path(owner.stdout.readline().strip())
        yield folder, owner
        owner.kill()


def test_two_run_side_by_side_and_one_that_stops_leaves_nothing(node, before):
    with Node.create() as other:
        for one in (node, other):
            assert (
                one.kubectl("get", "nodes", "-o=jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}")
                == "True"
            )
        assert other.address != node.address
        assert describe_machine() != before
        assert find_processes(other.name)

    assert find_processes(other.name) == []
    assert describe_machine() == before


def test_one_ends_with_its_owner(owned, before):
    folder, owner = owned
    owner.kill()

    wait_for(lambda: find_processes(folder.name) == [], PATIENCE, "the end of its processes")
    assert describe_machine() == before


def test_what_is_left_of_one_whose_keeper_was_killed_goes_when_another_starts(owned, before):
    folder, _ = owned
    os.kill(int((folder / OWNER).read_text()), signal.SIGKILL)
    wait_for(lambda: find_processes(folder.name) == [], PATIENCE, "the end of its processes")

    with Node.create():
        pass

    assert describe_machine() == before
