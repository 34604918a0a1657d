"""The first process of the node's namespaces: lays the mounts, starts the programs, and takes leave of those that end.

Only `keeper.py` starts it. It tells on standard output how far it is, as `messages.py` says; when it is killed, the
kernel ends everything else in here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.node import configuration, messages
from tools.node.identities import write_identities
from tools.node.images import write_image
from tools.node.layout import HOSTNAME, IMAGES, Layout

SECONDS_TO_ANSWER = 60.0
DEVICE = "eth0"
LINES_OF_LOG = 8


class Node:
    """What runs in here."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._environment = dict(configuration.environment(layout))
        self._programs: dict[int, str] = {}

    def start(self) -> None:
        """Start everything, and return when the node is ready for pods.

        Raises:
            RuntimeError: Something doesn't start; the text says what, and its last lines.
        """
        layout = self._layout
        messages.say(step="Preparing the node's files")
        lay_mounts(layout)
        messages.say(inside=True)
        write_identities(layout)
        configuration.write_configuration(layout)
        bring_up_network(layout)
        with ThreadPoolExecutor() as pool:
            importing = pool.submit(self._start_runtime)
            messages.say(step="Starting the control plane")
            for name, command in configuration.control_plane_commands(layout).items():
                self._start(name, command)
                if name == "kube-apiserver":
                    self._wait_for(
                        "kube-apiserver", "kubectl", f"--kubeconfig={layout.kubeconfig}", "get", "--raw=/readyz"
                    )
            messages.say(step="Importing images")
            importing.result()
        messages.say(step="Starting the kubelet")
        self._start("kubelet", configuration.kubelet_command(layout))
        kubectl = ("kubectl", f"--kubeconfig={layout.kubeconfig}", "wait", f"node/{HOSTNAME}", "--timeout=5s")
        self._wait_for("kubelet", *kubectl, "--for=condition=Ready")
        for name, command in configuration.network_commands(layout).items():
            self._start(name, command)

    def reap(self) -> None:
        """Take leave of every process that ends in here, without end; tell of programs of ours, which shouldn't."""
        while True:
            pid, status = os.waitpid(-1, 0)
            if name := self._programs.pop(pid, None):
                messages.say(ended=name, code=os.waitstatus_to_exitcode(status), log=self._last_lines(name))

    def _start_runtime(self) -> None:
        layout = self._layout
        own = layout.memory / "images"
        own.mkdir()
        for program, name in IMAGES.items():
            write_image(own / f"{program}.tar", name, layout.programs / program)
        self._start("containerd", configuration.containerd_command(layout))
        ctr = ("ctr", f"--address={configuration.CONTAINERD}", "--namespace=k8s.io")
        self._wait_for("containerd", *ctr, "version")
        for archive in (*sorted(own.iterdir()), *layout.images):
            self._run(*ctr, "images", "import", "--local", str(archive))
        shutil.rmtree(own)

    def _start(self, name: str, command: list[str]) -> None:
        with (self._layout.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._layout.folder,
            )
        self._programs[process.pid] = name
        # The last that is heard of it is heard by `reap`.
        process.returncode = 0

    def _wait_for(self, program: str, *command: str) -> None:
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        while True:
            try:
                self._run(*command)
            except RuntimeError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{program} isn't ready after {SECONDS_TO_ANSWER:.0f} s: {error}\n{self._last_lines(program)}"
                    ) from None
                time.sleep(0.1)
            else:
                return

    def _last_lines(self, program: str) -> str:
        log = (self._layout.logs / f"{program}.log").read_text(errors="replace")
        return "\n".join(log.splitlines()[-LINES_OF_LOG:])

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:4])} …: {(done.stderr or done.stdout).strip()}")


def lay_mounts(layout: Layout) -> None:
    """Mount what the node must have of its own; the namespace's end unmounts it."""
    run("hostname", HOSTNAME)
    run("mount", "-t", "sysfs", "-o", "nosuid,nodev,noexec", "sysfs", "/sys")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/sys/fs/cgroup")
    for hierarchy, _ in layout.cgroups:
        target = Path("/sys/fs/cgroup", hierarchy.removeprefix("name="))
        target.mkdir()
        options = f"none,{hierarchy}" if hierarchy.startswith("name=") else hierarchy
        run("mount", "-t", "cgroup", "-o", options, "cgroup", str(target))
    # Images, containers and etcd in memory: a disk is slow where many files come and go.
    layout.memory.mkdir()
    run("mount", "-t", "tmpfs", "-o", "mode=711,size=6g", "tmpfs", str(layout.memory))
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for name in ("lib", "log"):
        own = layout.memory / "var" / name
        own.mkdir(parents=True)
        run("mount", "--bind", str(own), f"/var/{name}")
    # The kubelet finds its own values there, and sets nothing for the machine.
    for name, value in configuration.SYSCTLS.items():
        own = layout.memory / name.replace("/", "_")
        own.write_text(f"{value}\n")
        run("mount", "--bind", str(own), f"/proc/sys/{name}")
    run("mount", "--make-rshared", "/")


def bring_up_network(layout: Layout) -> None:
    """Take the node's end of the link, which the keeper puts here; there is no way further than to its other end."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while not Path("/sys/class/net", DEVICE).exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{DEVICE} didn't come")
        time.sleep(0.01)
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{layout.address}/24", "dev", DEVICE)
    run("ip", "link", "set", DEVICE, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def run(*command: str) -> None:
    """Run a program of the machine's.

    Raises:
        RuntimeError: It failed; the text is what it said.
    """
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def main(folder: Path) -> None:
    """Be the first process of the namespaces."""
    node = Node(Layout.load(folder))
    try:
        node.start()
    except (RuntimeError, OSError) as error:
        messages.say(failed=str(error))
        sys.exit(1)
    messages.say(ready=True)
    node.reap()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
